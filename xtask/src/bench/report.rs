//! The figures: as tables, and as JSON.

use comfy_table::{CellAlignment, Table, presets};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::{
    contender::{BEFORE, Contender, OURS, SINGLE, Turns},
    machine::Machine,
    work::{Task, Work},
};

/// A whole run.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) works: Vec<Row>,
}

/// A work and how it went for each contender, this project first.
#[derive(Serialize)]
pub(super) struct Row {
    #[serde(skip)]
    title: String,
    model: String,
    mode: Task,
    batch: usize,
    input: [usize; 4],
    contenders: Vec<Entry>,
    /// The peer that takes the least time.
    best_peer: Option<String>,
}

/// A contender's figures.
#[derive(Serialize)]
pub(super) struct Entry {
    name: String,
    version: String,
    threads: usize,
    median_ms: f64,
    min_ms: f64,
    images_per_second: f64,
    gflops: f64,
    /// Of the multiply-adds that the machine could do on these threads.
    share_of_peak: f64,
    /// Nothing where the system does not say it.
    peak_rss_bytes: Option<u64>,
    /// Per step. Nothing if the contender does not count.
    page_faults: Option<f64>,
    /// How many times as long as this project takes on all threads.
    time_ratio: f64,
}

impl Entry {
    pub(super) fn new(work: &Work, contender: Contender, turns: &Turns, ours: &Turns, peak: f64) -> Self {
        let median_ms = turns.median();
        let gflops = work.operations / median_ms / 1e6;
        Self {
            median_ms,
            min_ms: turns.least(),
            images_per_second: 1e3 * work.batch as f64 / median_ms,
            gflops,
            share_of_peak: gflops / peak,
            peak_rss_bytes: contender.peak_memory(),
            page_faults: turns.page_faults(),
            time_ratio: turns.ratio(ours),
            threads: contender.threads,
            version: contender.version.clone(),
            name: contender.name.clone(),
        }
    }

    fn is_peer(&self) -> bool {
        !self.name.starts_with(OURS)
    }
}

impl Row {
    pub(super) fn new(work: &Work, contenders: Vec<Entry>) -> Self {
        let peers = contenders.iter().filter(|entry| entry.is_peer());
        let best_peer = peers.min_by(|a, b| a.time_ratio.total_cmp(&b.time_ratio));
        Self {
            title: work.to_string(),
            model: work.model.clone(),
            mode: work.task,
            batch: work.batch,
            input: work.input,
            best_peer: best_peer.map(|peer| peer.name.clone()),
            contenders,
        }
    }

    fn best(&self) -> Option<&Entry> {
        self.contender(self.best_peer.as_ref()?)
    }

    fn contender(&self, name: &str) -> Option<&Entry> {
        self.contenders.iter().find(|entry| entry.name == name)
    }
}

/// Prints what the machine can do.
pub(super) fn print_machine(machine: &Machine) {
    let residual_report::Machine { processor, cores, system } = &machine.about;
    anstream::println!("{}, {cores} cores, {system}\n", processor.bold());
    let mut table = table(&["limit", "threads"], &["GFLOPS", "GB/s"]);
    for limits in &machine.limits {
        let threads = limits.threads.to_string();
        for peak in &limits.fma_peaks {
            let name = format!("multiply-adds in f32, {}", peak.isa);
            table.add_row([name, threads.clone(), format!("{:.0}", peak.gflops), String::new()]);
        }
        let memory = &limits.memory;
        let rates =
            [("read", memory.read), ("write", memory.write), ("copy", memory.copy), ("triad", memory.triad)];
        for (name, rate) in rates {
            let rate = format!("{:.1}", rate / 1e9);
            table.add_row([format!("memory, {name}"), threads.clone(), String::new(), rate]);
        }
    }
    anstream::println!("{table}\n");
}

/// Prints the figures of a work.
pub(super) fn print_row(row: &Row) {
    anstream::println!("{}", row.title.bold());
    let columns =
        ["median ms", "least ms", "images/s", "GFLOPS", "of peak", "peak memory", "faults", "time, ours = 1"];
    let mut table = table(&["contender", "version"], &columns);
    for entry in &row.contenders {
        let is_best = row.best_peer.as_ref() == Some(&entry.name);
        table.add_row([
            format!("{}{}", entry.name, if is_best { " ◂ best peer" } else { "" }),
            entry.version.clone(),
            format!("{:.2}", entry.median_ms),
            format!("{:.2}", entry.min_ms),
            format!("{:.1}", entry.images_per_second),
            format!("{:.0}", entry.gflops),
            format!("{:.0} %", 100.0 * entry.share_of_peak),
            entry.peak_rss_bytes.map_or_else(String::new, mebibytes),
            entry.page_faults.map_or_else(String::new, |faults| format!("{faults:.0}")),
            format!("{:.2}", entry.time_ratio),
        ]);
    }
    anstream::println!("{table}\n");
}

/// Prints a line per work: against the best peer and an earlier build, and one thread against all.
pub(super) fn print_summary(report: &Report) {
    let columns = [
        "best peer / ours, time",
        "before / now, time",
        "ours / best peer, memory",
        "one thread / all, time",
    ];
    let mut table = table(&["work", "best peer"], &columns);
    for row in &report.works {
        let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let ours = &row.contenders[0];
        let memory = row.best().and_then(|best| Some((ours.peak_rss_bytes?, best.peak_rss_bytes?)));
        let time = |name: &str| row.contender(name).map(|entry| entry.time_ratio);
        table.add_row([
            row.title.clone(),
            row.best_peer.clone().unwrap_or_default(),
            ratio(row.best().map(|best| best.time_ratio)),
            ratio(time(BEFORE)),
            ratio(memory.map(|(ours, best)| ours as f64 / best as f64)),
            ratio(time(SINGLE)),
        ]);
    }
    anstream::println!("{table}");
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A table with columns of text and, behind them, of numbers.
fn table(texts: &[&str], numbers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([texts, numbers].concat());
    for column in table.column_iter_mut().skip(texts.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
