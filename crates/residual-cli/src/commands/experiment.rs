//! `residual experiment`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use owo_colors::OwoColorize;
use residual_data::DataSpec;
use residual_report::experiment::{ALL, Effort, Experiment, Setting};
use serde_json::json;

use crate::{
    Context,
    error::{Error, Result},
    output::{self, duration, line, note, table},
};

/// Measure a claim of the papers, and leave a page that says what was reproduced.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual experiment
  residual experiment gradients
  residual experiment degradation --full --data cifar10:DIR --out degradation

Without a name, the experiments are listed. Each leaves report.html, its drawings as SVG and its tables as
CSV. The same command gives the same numbers, but for times. With --full, what has been trained is kept in
DIR/trainings/NAME until the page is complete: after an interruption, the same command goes on from there.")]
pub(crate) struct Args {
    /// The experiment [default: list them].
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Small networks and few pictures: less than two minutes on two cores (the default).
    #[arg(long, requires = "name")]
    quick: bool,
    /// The papers' networks and all pictures (depth-1000: 6,000 of them): up to hours. Add --data cifar10:DIR for the
    /// papers' data.
    #[arg(long, conflicts_with = "quick", requires = "name")]
    full: bool,
    /// The pictures: faces, cifar10:DIR, cifar100:DIR, fer2013:PATH, folder:DIR or idx:DIR [default: the
    /// built-in faces].
    #[arg(long, value_name = "SPEC", requires = "name")]
    data: Option<DataSpec>,
    /// Random seed: initial weights and the order of pictures.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "name")]
    seed: u64,
    /// The folder to write to [default: experiments/NAME].
    #[arg(long, value_name = "DIR", requires = "name")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let Some(name) = &args.name else {
        list(context);
        return Ok(());
    };
    let experiment = Experiment::named(name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|experiment| experiment.name).collect();
        Error::Usage(format!(
            "there is no experiment '{}'; write one of {}",
            name.escape_debug(),
            names.join(", ")
        ))
    })?;
    let folder = args.out.unwrap_or_else(|| Path::new("experiments").join(experiment.name));
    // Better now than after hours.
    fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
    let kept = folder.join("trainings");
    let trainings = args.full.then(|| kept.join(experiment.name));
    let setting = Setting {
        effort: if args.full { Effort::Full } else { Effort::Quick },
        data: args.data.map_or_else(DataSpec::default, |data| context.settings.locate(data)),
        seed: args.seed,
        trainings: trainings.clone(),
    };
    let started = Instant::now();
    let mut watch =
        |what: &str| note(format_args!("{:>8}  {what}", duration(started.elapsed().as_secs_f64())));
    let findings = experiment.run(&setting, &mut watch).map_err(Box::new)?;
    let seconds = started.elapsed().as_secs_f64();
    findings.write(experiment, &setting, seconds, &folder).map_err(Box::new)?;
    if let Some(trainings) = trainings.filter(|trainings| trainings.exists()) {
        // They were for going on; the page says what they gave.
        fs::remove_dir_all(&trainings).map_err(|source| Error::Write { path: trainings, source })?;
        // Perhaps another experiment's are there, too.
        let _ = fs::remove_dir(kept);
    }

    let page = folder.join("report.html");
    if context.json {
        output::json(&json!({
            "experiment": experiment.name,
            "effort": setting.effort,
            "data": setting.data,
            "seed": setting.seed,
            "seconds": seconds,
            "verdict": findings.verdict(),
            "statements": findings.statements,
            "report": page.to_string_lossy(),
        }));
        return Ok(());
    }
    line(format_args!("{}\n", experiment.title.bold()));
    for statement in &findings.statements {
        let mark = match statement.holds {
            Some(true) => "✓".green().to_string(),
            Some(false) => "✗".yellow().to_string(),
            None => "·".to_owned(),
        };
        line(format_args!("{mark} {}", statement.text));
    }
    line(format_args!("\n{}", findings.verdict()));
    line(page.display());
    Ok(())
}

fn list(context: &Context) {
    if context.json {
        let row = |experiment: &Experiment| json!({ "name": experiment.name, "about": experiment.about });
        return output::json(&json!({ "experiments": ALL.iter().map(row).collect::<Vec<_>>() }));
    }
    let rows = ALL.iter().map(|experiment| vec![experiment.name.to_owned(), experiment.about.to_owned()]);
    line(table(&["experiment", "what is measured"], 2, rows));
}
