//! `cargo xtask fuzz`: libFuzzer, guided by coverage and under the address sanitizer, against
//! everything that takes bytes from outside. What that is and what has to hold is in the crate
//! `residual-fuzz`; how the program is built and what it says in `harness`. Here: which targets
//! run when, and what came of it.

mod harness;

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use comfy_table::{CellAlignment, Table, presets};
use residual_fuzz::{Target, corpus};

use crate::Failure;
use harness::Harness;

/// What to fuzz, and how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these targets
    #[arg(value_name = "TARGET", value_parser = target)]
    targets: Vec<&'static str>,
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Processes at a time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Afterwards, replace the inputs that `verify` runs by as few as reach all code that was reached
    #[arg(long)]
    minimize: bool,
}

/// The targets, for `--help`.
pub(crate) fn targets_help() -> String {
    let width = residual_fuzz::targets().map(|target| target.name.len()).max().unwrap_or(0);
    let lines =
        residual_fuzz::targets().map(|target| format!("  {:width$}  {}\n", target.name, target.about));
    format!(
        "Targets:\n{}\nWhat is found and learned stays in target/fuzz/TARGET. Needs a C++ compiler, on Linux or macOS.",
        lines.collect::<String>()
    )
}

fn target(name: &str) -> Result<&'static str, String> {
    residual_fuzz::find(name).map(|target| target.name).ok_or_else(|| format!("there is no target '{name}'"))
}

/// Findings after which a target is given up.
const MOST_FINDINGS: usize = 5;

/// What has come of one target.
#[derive(Default)]
struct Report {
    executions: u64,
    edges: u64,
    /// Seconds of all its processes.
    seconds: f64,
    /// What went wrong, and the input's file.
    findings: BTreeMap<String, PathBuf>,
}

/// Fuzzes what is selected. Gives whether there was nothing to find.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool, Failure> {
    let selected = |target: &&Target| options.targets.is_empty() || options.targets.contains(&target.name);
    let targets: Vec<&Target> = residual_fuzz::targets().filter(selected).collect();
    anstream::eprintln!(
        "building libFuzzer's program with the address sanitizer; the first time takes minutes"
    );
    let harness = Harness::build(root)?;
    for target in &targets {
        prepare(root, target)?;
    }

    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.map_or_else(cores, usize::from);
    // Several processes of one target add to the same inputs and learn from each other.
    let each = (jobs / targets.len()).max(1);
    let queue: Mutex<VecDeque<&Target>> =
        Mutex::new(targets.iter().flat_map(|&target| std::iter::repeat_n(target, each)).collect());
    let reports: Mutex<BTreeMap<&str, Report>> = Mutex::default();
    let work = || {
        while let Some(target) = { lock(&queue).pop_front() } {
            let report = fuzz(root, &harness, target, Duration::from_secs(options.seconds))?;
            let found = report.findings.keys().map(|what| format!("\n    {what}")).collect::<String>();
            anstream::eprintln!("{}: {} executions{found}", target.name, report.executions);
            lock(&reports).entry(target.name).or_default().add(report);
        }
        Ok::<(), Failure>(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;

    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    if options.minimize {
        targets.iter().try_for_each(|target| minimize(root, &harness, target))?;
    }
    anstream::println!("{}", table(root, &targets, &reports)?);
    for (name, report) in &reports {
        for (what, file) in &report.findings {
            anstream::println!("{name} {what}: {}", file.display());
        }
    }
    Ok(reports.values().all(|report| report.findings.is_empty()))
}

impl Report {
    fn add(&mut self, other: Self) {
        self.executions += other.executions;
        self.edges = self.edges.max(other.edges);
        self.seconds += other.seconds;
        self.findings.extend(other.findings);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a target's inputs are while it is fuzzed.
fn learned(root: &Path, target: &Target) -> PathBuf {
    root.join("target/fuzz").join(target.name).join("corpus")
}

/// Puts the inputs that are known to where libFuzzer finds them, beside what it has learned before.
fn prepare(root: &Path, target: &Target) -> Result<(), Failure> {
    let folder = learned(root, target);
    fs::create_dir_all(&folder)?;
    for (number, (_, bytes)) in corpus::inputs(root, target)?.into_iter().enumerate() {
        fs::write(folder.join(format!("known-{number}")), bytes)?;
    }
    Ok(())
}

/// Fuzzes a target for some time. A process ends at its first finding; another one takes its place.
fn fuzz(root: &Path, harness: &Harness, target: &Target, time: Duration) -> Result<Report, Failure> {
    let findings = root.join("target/fuzz").join(target.name).join("findings");
    fs::create_dir_all(&findings)?;
    let started = Instant::now();
    let mut report = Report::default();
    for _ in 0..MOST_FINDINGS {
        let rest = time.saturating_sub(started.elapsed());
        if rest.is_zero() {
            break;
        }
        let run = harness.fuzz(target, &learned(root, target), &findings, rest)?;
        let findings = run.finding.into_iter().collect();
        report.add(Report { executions: run.executions, edges: run.edges, seconds: 0.0, findings });
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Replaces the target's archive. Files with names of their own stay as they are.
fn minimize(root: &Path, harness: &Harness, target: &Target) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    harness.minimize(target, folder.path(), &learned(root, target))?;
    let files = fs::read_dir(&folder)?.map(|entry| fs::read(entry?.path()));
    corpus::pack(root, target, files.collect::<Result<_, _>>()?)?;
    Ok(())
}

fn table(root: &Path, targets: &[&Target], reports: &BTreeMap<&str, Report>) -> Result<Table, Failure> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["target", "executions", "per second", "edges", "inputs", "findings"]);
    let mut all = Report::default();
    let mut row = |name: &str, report: &Report, edges: String, inputs: String| {
        let rate = report.executions as f64 / report.seconds.max(1e-9);
        let (executions, findings) = (report.executions.to_string(), report.findings.len().to_string());
        table.add_row([name, &executions, &format!("{rate:.0}"), &edges, &inputs, &findings]);
    };
    for target in targets {
        let Some(report) = reports.get(target.name) else { continue };
        let inputs = fs::read_dir(learned(root, target))?.count();
        row(target.name, report, report.edges.to_string(), inputs.to_string());
        all.executions += report.executions;
        all.seconds += report.seconds;
        // The same finding of two targets is two findings.
        let named = |(what, file): (&String, &PathBuf)| (format!("{} {what}", target.name), file.clone());
        all.findings.extend(report.findings.iter().map(named));
    }
    row("all", &all, String::new(), String::new());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Ok(table)
}
