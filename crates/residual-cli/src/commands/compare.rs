//! `residual compare`.

use std::path::PathBuf;

use owo_colors::OwoColorize;
use residual_report::comparison_svg;
use residual_train::{RunFolder, RunRecord};
use residual_weights::{replace_file, shown};
use serde::Serialize;

use crate::{
    Context,
    error::{Error, Result},
    output::{self, duration, line, percent, table, warning},
};

/// Put runs beside each other: what they reached, in which settings they differ, and their curves.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual compare runs/*
  residual compare runs/plain56 runs/resnet56 --svg degradation.svg

Runs that go on can be looked at as well.")]
pub(crate) struct Args {
    /// Folders of runs.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Draw error and loss over the epochs: training dashed, validation solid.
    #[arg(long, value_name = "SVG")]
    svg: Option<PathBuf>,
}

/// A run in what `--json` prints.
#[derive(Serialize)]
struct Compared<'a> {
    #[serde(serialize_with = "output::path_as_text")]
    run: &'a PathBuf,
    model: &'a str,
    epochs: u64,
    best_epoch: Option<u64>,
    best_accuracy: Option<f64>,
    last_accuracy: Option<f64>,
    last_training_accuracy: Option<f64>,
    seconds: f64,
    settings: &'a std::collections::BTreeMap<String, String>,
}

impl<'a> Compared<'a> {
    fn new(run: &'a RunRecord) -> Self {
        let (best, last) = (run.best(), run.history.last());
        Self {
            run: &run.path,
            model: run.model(),
            epochs: last.map_or(0, |last| last.epoch),
            best_epoch: best.map(|best| best.epoch),
            best_accuracy: best.map(|best| best.val_accuracy),
            last_accuracy: last.map(|last| last.val_accuracy),
            last_training_accuracy: last.map(|last| last.train_accuracy),
            // `sum` of nothing is −0.
            seconds: run.history.iter().map(|epoch| epoch.seconds).fold(0.0, |sum, seconds| sum + seconds),
            settings: &run.settings,
        }
    }
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let mut runs = Vec::new();
    for folder in args.runs.iter().map(RunFolder::open) {
        // Whoever names `runs/*` means the runs.
        if args.runs.len() > 1 && !folder.config().exists() {
            warning(format_args!("{} holds no run and is left out", folder.path().display()));
            continue;
        }
        runs.push(RunRecord::read(&folder)?);
    }
    if runs.is_empty() {
        return Err(Error::Usage("none of these folders holds a run".into()));
    }
    let compared: Vec<Compared<'_>> = runs.iter().map(Compared::new).collect();
    if let Some(svg) = &args.svg {
        replace_file(svg, comparison_svg(&runs).map_err(Box::new)?.as_bytes())?;
    }
    if context.json {
        output::json(
            &serde_json::json!({ "runs": compared, "svg": args.svg.as_ref().map(|svg| svg.to_string_lossy()) }),
        );
        return Ok(());
    }
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    let rows = compared.iter().map(|run| {
        vec![
            run.run.display().to_string(),
            run.model.to_owned(),
            run.epochs.to_string(),
            share(run.best_accuracy),
            run.best_epoch.map_or_else(|| "–".to_owned(), |epoch| epoch.to_string()),
            share(run.last_accuracy),
            share(run.last_training_accuracy),
            duration(run.seconds),
        ]
    });
    line(table(&["run", "model", "epochs", "best", "in epoch", "last", "training", "time"], 2, rows));

    let differences = RunRecord::differences(&runs);
    if !differences.is_empty() {
        let names: Vec<String> = runs.iter().map(|run| run.path.display().to_string()).collect();
        let header: Vec<&str> = ["setting"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let rows = differences.iter().map(|(name, values)| {
            let values = values.iter().map(|value| value.unwrap_or("–").to_owned());
            [(*name).to_owned()].into_iter().chain(values).collect()
        });
        line(format_args!("\n{}\n", "Settings that differ".bold()));
        line(table(&header, header.len(), rows));
    }
    if let Some(svg) = &args.svg {
        line(format_args!("\n{}", shown(&svg.display().to_string())));
    }
    Ok(())
}
