//! `residual bench`: how fast a network runs here. What a step is, is in `workload.rs`; what
//! reading pictures costs it, in `loading.rs`; how fast memory is, in `memory.rs`.

mod loading;
mod memory;
mod workload;

use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use owo_colors::OwoColorize;
use residual_data::{DataSpec, ImageShape};
use residual_kernels::{isa::InstructionSet, machine};
use residual_model::ModelSpec;
use residual_report::profile_svg;
use residual_train::{Profile, TrainConfig, profile::Work};
use residual_weights::replace_file;
use serde::Serialize;
use serde_json::json;

use self::{
    loading::{Cost, Loading},
    workload::{Task, Workload, median},
};
use crate::{
    Context,
    error::{Error, Result},
    output::{self, bytes, line, percent, table},
    process,
};

/// Measure how fast a network runs or trains.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual bench resnet50
  residual bench resnet50 --mode train --batch 16 --profile step.svg
  residual bench --memory

GFLOPS count 2 operations per multiply-add of the network for inference and 6 for a training step
(forward, loss, backward, SGD with momentum), whatever the algorithms really execute.")]
pub(crate) struct Args {
    /// A name (`residual summary --list`) or a TOML file that describes a network.
    #[arg(value_name = "MODEL", required_unless_present = "memory")]
    model: Option<String>,
    /// Measure how fast memory is read and written, and no network.
    #[arg(long, conflicts_with = "model")]
    memory: bool,
    /// What to measure.
    #[arg(long, value_enum, default_value_t = Task::Infer)]
    mode: Task,
    /// Pictures in a batch.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// The input [default: what the network is made for]. The pictures are random.
    #[arg(long, value_name = "CxHxW", value_parser = super::shape)]
    input: Option<[usize; 3]>,
    /// Measure for so long, but at least three steps.
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Measure so many steps, however long they take.
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Measure, too, what reading this data set costs a training step.
    #[arg(long, value_name = "SPEC", conflicts_with = "input")]
    data: Option<DataSpec>,
    /// Take a training step apart, and draw where its time goes.
    #[arg(long, value_name = "FILE.svg", conflicts_with = "data")]
    profile: Option<PathBuf>,
    /// Wait for lines `go N` on standard input, make N steps for each and print their times:
    /// to be one of several programs that are measured in turns.
    #[arg(long, hide = true, conflicts_with_all = ["repeat", "data", "profile"])]
    serve: bool,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok();
    seconds.filter(|s| (0.0..=86_400.0).contains(s)).ok_or_else(|| "write seconds like 2.5".to_owned())
}

/// Steps before those that count: threads start, buffers are made.
const WARM_UP: u32 = 2;

/// At least so many steps count, if their number is not given.
const LEAST: usize = 3;

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let Some(model) = &args.model else {
        memory::run(context);
        return Ok(());
    };
    let of_training = [(args.data.is_some(), "--data"), (args.profile.is_some(), "--profile")];
    if let Some((_, option)) = of_training.iter().find(|(given, _)| *given && args.mode == Task::Infer) {
        return Err(Error::Usage(format!("{option} is about training; add --mode train")));
    }
    let model = ModelSpec::open(model)?;
    let mut config = model.config()?;
    let batch = args.batch as usize;
    let mut input = args.input.map(|[channels, height, width]| ImageShape::new(channels, height, width));
    let mut loading = None;
    if let Some(data) = args.data.clone().map(|data| context.settings.locate(data)) {
        let opened = Loading::open(&TrainConfig { data, model, batch, ..TrainConfig::default() })?;
        config.classes = opened.classes();
        input = Some(opened.input());
        loading = Some(opened);
    }
    let mut workload = Workload::new(args.mode, config, batch, input)?;
    if args.serve {
        return serve(&mut workload);
    }
    if let Some(file) = &args.profile {
        return take_apart(&workload, args.repeat.map_or(LEAST, |n| n as usize), file, context);
    }

    for _ in 0..WARM_UP {
        workload.step()?;
    }
    let enough = args.enough();
    let faults = process::page_faults();
    let mut times = Vec::new();
    while !enough(times.len()) {
        times.push(timed(&mut workload)?);
    }
    let faults = process::page_faults().zip(faults).map(|(after, before)| after - before);
    let reading = loading.map(|mut loading| loading.measure(&mut workload, args.enough())).transpose()?;
    let measured = Measured::new(&workload, &mut times, faults, reading)?;
    if context.json {
        output::json(&measured);
    } else {
        print(&measured, &workload);
    }
    Ok(())
}

impl Args {
    /// Whether so many steps will do. Time counts from now on.
    fn enough(&self) -> impl Fn(usize) -> bool {
        let (repeat, seconds) = (self.repeat, Duration::from_secs_f64(self.seconds));
        let started = Instant::now();
        move |steps| match repeat {
            Some(repeat) => steps >= repeat as usize,
            None => steps >= LEAST && started.elapsed() >= seconds,
        }
    }
}

/// The milliseconds that a step takes.
fn timed(workload: &mut Workload) -> Result<f64> {
    let start = Instant::now();
    workload.step()?;
    Ok(1e3 * start.elapsed().as_secs_f64())
}

/// The figures, as `--json` prints them.
#[derive(Serialize)]
struct Measured {
    model: String,
    mode: Task,
    batch: usize,
    threads: usize,
    precision: &'static str,
    isa: &'static str,
    steps: usize,
    median_ms: f64,
    min_ms: f64,
    images_per_second: f64,
    gflops: f64,
    /// Nothing where the system does not say it.
    peak_rss_bytes: Option<u64>,
    /// In each step, on average.
    page_faults: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reading: Option<Cost>,
}

impl Measured {
    /// Sums up at least one step.
    fn new(
        workload: &Workload,
        times: &mut [f64],
        faults: Option<u64>,
        reading: Option<Cost>,
    ) -> Result<Self> {
        let median_ms = median(times);
        Ok(Self {
            model: workload.name().to_owned(),
            mode: workload.task(),
            batch: workload.batch(),
            threads: rayon::current_num_threads(),
            precision: "f32",
            isa: InstructionSet::active()?.name(),
            steps: times.len(),
            median_ms,
            min_ms: times[0],
            images_per_second: 1e3 * workload.batch() as f64 / median_ms,
            gflops: workload.operations() / median_ms / 1e6,
            peak_rss_bytes: process::peak_memory(),
            page_faults: faults.map(|faults| faults as f64 / times.len() as f64),
            reading,
        })
    }
}

fn print(measured: &Measured, workload: &Workload) {
    let Measured { model, threads, precision, isa, steps, .. } = measured;
    let doing = if measured.mode == Task::Train { "training" } else { "inference" };
    let pictures = if measured.batch == 1 { "picture" } else { "pictures" };
    line(format_args!(
        "{}, {doing} of {} {pictures} of {} in {precision}, {threads} threads, {isa}\n",
        model.bold(),
        measured.batch,
        workload.input(),
    ));
    let mut row = vec![
        format!("{:.2}", measured.median_ms),
        format!("{:.2}", measured.min_ms),
        format!("{:.1}", measured.images_per_second),
        format!("{:.1}", measured.gflops),
    ];
    let mut header = vec!["median ms", "least ms", "images/s", "GFLOPS"];
    if let Some(peak) = measured.peak_rss_bytes {
        header.push("peak memory");
        row.push(bytes(peak as usize));
    }
    if let Some(faults) = measured.page_faults {
        header.push("page faults");
        row.push(format!("{faults:.1}"));
    }
    line(table(&header, 0, [row]));
    line(format_args!("\n{steps} steps after {WARM_UP} that do not count"));
    if let Some(Cost { steps, wait, cost }) = &measured.reading {
        line(format_args!(
            "reading pictures costs {} of a step, of which waiting for them {} ({steps} steps)",
            percent(*cost),
            percent(*wait),
        ));
    }
}

/// Prints and draws where the time of a training step goes.
fn take_apart(workload: &Workload, steps: usize, file: &Path, context: &Context) -> Result<()> {
    let profile = workload.profile(steps)?;
    let peak = machine::fma_peak(InstructionSet::active()?);
    replace_file(file, profile_svg(&profile, peak).as_bytes())?;
    if context.json {
        output::json(&json!({ "peak_gflops": peak, "profile": profile }));
        return Ok(());
    }
    let Profile { model, batch, milliseconds, parts } = &profile;
    line(format_args!(
        "{}, a training step of {batch}: {milliseconds:.1} ms; the most multiply-adds are {peak:.0} GFLOPS\n",
        model.bold()
    ));
    let rows = parts.iter().map(|part| {
        let gflops = part.gflops();
        let figure = |text: Option<String>| text.unwrap_or_default();
        vec![
            part.operation.clone(),
            if part.work == Work::Rest { String::new() } else { part.work.name().to_owned() },
            part.calls.to_string(),
            format!("{:.1}", part.milliseconds),
            percent(part.milliseconds / milliseconds),
            figure(gflops.map(|gflops| format!("{gflops:.0}"))),
            figure(gflops.map(|gflops| percent(gflops / peak))),
        ]
    });
    line(table(&["operation", "work", "calls", "ms", "of the step", "GFLOPS", "of the peak"], 2, rows));
    line(format_args!("\ndrawn in {}", file.display()));
    Ok(())
}

/// Makes steps when it is told to, until standard input ends.
fn serve(workload: &mut Workload) -> Result<()> {
    let steps = |count: u32, workload: &mut Workload| -> Result<Vec<f64>> {
        (0..count).map(|_| timed(workload)).collect()
    };
    let warm = steps(WARM_UP, workload)?;
    output::json(&json!({ "version": env!("CARGO_PKG_VERSION"), "ms": warm }));
    for told in io::stdin().lock().lines() {
        let told = told.unwrap_or_default();
        let count = told.strip_prefix("go ").and_then(|count| count.trim().parse().ok()).unwrap_or(0);
        let before = process::page_faults();
        let ms = steps(count, workload)?;
        let faults = process::page_faults().zip(before).map(|(after, before)| after - before);
        output::json(&json!({ "ms": ms, "page_faults": faults }));
    }
    Ok(())
}
