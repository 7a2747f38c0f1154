//! `cargo xtask bench`: this project and its peers, measured in turns in one run. A machine that
//! is now faster and now slower is so for all of them, and the ratios stay.

mod contender;
mod machine;
mod peers;
mod report;
mod work;

use std::{fs, path::PathBuf, thread};

use self::{
    contender::{Contender, Turns},
    machine::Machine,
    peers::{Peers, Selection},
    report::{Entry, Report, Row},
    work::{Task, Wanted, Work},
};
use crate::Failure;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Measure peers in turns with this project: those in Python that are installed, or those that
    /// are named (python, rten, burn, all, or one such as torch-compile)
    #[arg(long, value_name = "PEER,…", value_delimiter = ',', num_args = 0..=1, default_missing_value = "python")]
    peers: Vec<Selection>,
    /// Measure these networks instead of all: resnet18, or resnet18:4 for a batch of 4
    #[arg(long, value_name = "MODEL[:BATCH],…", value_delimiter = ',')]
    models: Vec<Wanted>,
    /// Measure inference or training only
    #[arg(long, value_enum)]
    only: Option<Task>,
    /// Turns of each contender
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Threads that compute [default: all cores]; one thread is measured besides
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Measure this earlier build of the `residual` command besides, in turns with the present one
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// The Python that has the peers
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Write the figures as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures what is selected and prints it.
pub(crate) fn run(root: PathBuf, options: Options) -> Result<(), Failure> {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = options.threads.map_or(cores, usize::from);
    let works = work::selected(&options.models, options.only)?;
    let peers = Peers::prepare(&root, &options.peers, options.before, options.python, threads)?;
    let machine = Machine::measure(threads, &peers.residual())?;
    report::print_machine(&machine);
    let mut report = Report { machine, works: Vec::new() };
    for work in works {
        report.machine.measure_peaks_again();
        let row = measure(&work, &peers, options.rounds, &report.machine)?;
        report::print_row(&row);
        report.works.push(row);
    }
    report::print_summary(&report);
    if let Some(path) = options.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&path, text + "\n").map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Lets all contenders for a work make their turns.
fn measure(work: &Work, peers: &Peers, rounds: u32, machine: &Machine) -> Result<Row, Failure> {
    anstream::eprintln!("measuring {work}");
    let mut contenders: Vec<Contender> = Vec::new();
    for launch in peers.launches(work)? {
        let name = launch.name.clone();
        match launch.start() {
            Ok(contender) => contenders.push(contender),
            // Without this project itself there is nothing to compare.
            Err(failure) if launch.is_ours() => return Err(format!("{name}: {failure}").into()),
            Err(failure) => anstream::eprintln!("  {name} is left out: {failure}"),
        }
    }
    let mut turns: Vec<Turns> = contenders.iter().map(|_| Turns::default()).collect();
    for _ in 0..rounds {
        for (contender, turns) in contenders.iter_mut().zip(&mut turns) {
            turns.add(contender.turn()?);
        }
    }
    let ours = turns[0].clone();
    let entries = contenders.into_iter().zip(&turns).map(|(contender, turns)| {
        let peak = machine.peak(contender.threads);
        Entry::new(work, contender, turns, &ours, peak)
    });
    Ok(Row::new(work, entries.collect()))
}
