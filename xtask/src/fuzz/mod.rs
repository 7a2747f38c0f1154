//! `cargo xtask fuzz`: damages files at random and reads them, to find what makes a reader panic,
//! hang, use memory beyond its bound or answer in more than one line. How files are damaged is in
//! `damage`, what reads them in `targets`.
//!
//! A mutational fuzzer on stable Rust, with nothing to install and no instrumentation. In place of
//! coverage, what a reader answers is the feedback: damaged files that are still read, or that are
//! refused for a reason not seen before, are kept and damaged further. A target's cases follow from
//! the seed alone, whatever the number of threads.

mod damage;
mod targets;

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    fs, panic,
    path::{Path, PathBuf},
    process,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use residual_tensor::Generator;

use crate::Failure;
use targets::{TARGETS, Target};

/// What to damage, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these readers
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = target)]
    target: Vec<&'static str>,
    /// Damaged files for each reader
    #[arg(long, value_name = "N", default_value_t = 70_000)]
    executions: u64,
    /// What the damage follows from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where the files are written that a reader does not survive
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    out: PathBuf,
}

/// The readers, for `--help`.
pub(crate) fn targets_help() -> String {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    format!(
        "Readers: {}\n\nA file that ends the program as a whole (for want of memory or stack) is OUT/NAME/case.",
        names.join(", ")
    )
}

fn target(name: &str) -> Result<&'static str, String> {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.map(|target| target.name).ok_or_else(|| format!("there is no reader '{name}'"))
}

/// Reading a file of some kilobytes takes a fraction of a millisecond.
const SLOW: Duration = Duration::from_secs(3);
/// Later than this, nobody expects an answer.
const HANGS: Duration = Duration::from_secs(120);
/// Findings after which a target is given up.
const MOST_FINDINGS: usize = 10;

/// What has come of one target.
#[derive(Default)]
struct Report {
    executions: u64,
    accepted: u64,
    /// Reasons for refusal that differ in more than numbers.
    reasons: usize,
    slowest: Duration,
    most_memory: u64,
    /// What went wrong, and with which file.
    findings: Vec<(String, Vec<u8>)>,
}

/// Runs what is selected. Gives whether there was nothing to find.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool, Failure> {
    let selected = |target: &&Target| options.target.is_empty() || options.target.contains(&target.name);
    let queue: Mutex<VecDeque<&Target>> = Mutex::new(TARGETS.iter().filter(selected).collect());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    remember_panics();

    let started = Instant::now();
    let running: Vec<Mutex<Option<(&str, Instant)>>> = (0..threads).map(|_| Mutex::new(None)).collect();
    let reports: Mutex<Vec<(&str, Report)>> = Mutex::default();
    thread::scope(|scope| {
        let work = |slot| {
            while let Some(target) = lock(&queue).pop_front() {
                let report = fuzz(root, target, options, slot)?;
                anstream::println!("{}", line(target, &report));
                lock(&reports).push((target.name, report));
            }
            Ok::<(), Failure>(())
        };
        let workers: Vec<_> = running.iter().map(|slot| scope.spawn(move || work(slot))).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(200));
            for slot in &running {
                let reading = *lock(slot);
                if let Some((name, _)) = reading.filter(|(_, since)| since.elapsed() > HANGS) {
                    let case = options.out.join(name).join("case");
                    anstream::eprintln!("{name} hangs: {}", case.display());
                    process::exit(1);
                }
            }
        }
        workers.into_iter().try_for_each(|worker| worker.join().expect("readers are caught"))
    })?;

    let reports = reports.into_inner().unwrap_or_default();
    let executions: u64 = reports.iter().map(|(_, report)| report.executions).sum();
    let mut findings = 0;
    for (name, report) in &reports {
        for (what, bytes) in &report.findings {
            let path = options.out.join(format!("{name}-{findings}"));
            fs::write(&path, bytes)?;
            anstream::println!("{name} {what}: {}", path.display());
            findings += 1;
        }
    }
    let took = started.elapsed().as_secs();
    anstream::println!("{executions} executions in {took} s, {findings} findings");
    Ok(findings == 0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn line(target: &Target, report: &Report) -> String {
    let Report { executions, accepted, reasons, slowest, most_memory, findings } = report;
    format!(
        "{:<12} {executions:>8} executions, {accepted:>7} still read, {reasons:>4} reasons to refuse, slowest \
         {slowest:>8.1?}, at most {:>6.1} MiB, {} findings",
        target.name,
        *most_memory as f64 / f64::from(1 << 20),
        findings.len(),
    )
}

fn fuzz(
    root: &Path,
    target: &'static Target,
    options: &Options,
    slot: &Mutex<Option<(&str, Instant)>>,
) -> Result<Report, Failure> {
    /// Damaged files that are kept to be damaged further.
    const KEPT: usize = 1000;
    let place = options.out.join(target.name);
    fs::create_dir_all(&place)?;
    // Memory is counted on this thread alone, so everything must happen here.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();

    let mut random = Generator::new(options.seed).split(target.name);
    let intact = target.files(root)?;
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut report = Report::default();
    let mut reasons = HashSet::new();
    while report.executions < options.executions && report.findings.len() < MOST_FINDINGS {
        let from = if random.chance(0.5) || kept.is_empty() { &intact } else { &kept };
        let mut bytes = from[random.below(from.len())].clone();
        let donor = &intact[random.below(intact.len())];
        for _ in 0..=random.below(4) {
            damage::apply(&mut bytes, donor, &mut random);
        }
        if random.chance(0.7) {
            (target.repair)(&mut bytes);
        }
        fs::write(place.join("case"), &bytes)?;
        *lock(slot) = Some((target.name, Instant::now()));
        let verdict = judge(target, &bytes, &place);
        *lock(slot) = None;

        report.executions += 1;
        report.slowest = report.slowest.max(verdict.took);
        report.most_memory = report.most_memory.max(verdict.memory);
        let is_new = match verdict.outcome {
            Outcome::Read => {
                report.accepted += 1;
                true
            }
            Outcome::Refused(reason) => reasons.insert(reason),
            Outcome::Finding(what) => {
                let is_new = report.findings.iter().all(|(known, _)| *known != what);
                if is_new {
                    report.findings.push((what, bytes));
                }
                continue;
            }
        };
        match (is_new, kept.len() < KEPT) {
            (true, true) => kept.push(bytes),
            (true, false) => kept[random.below(KEPT)] = bytes,
            (false, _) => {}
        }
    }
    report.reasons = reasons.len();
    fs::remove_dir_all(&place)?;
    drop(pool);
    Ok(report)
}

/// How a reader has taken a file.
struct Verdict {
    outcome: Outcome,
    took: Duration,
    /// The most that it used at once, in bytes.
    memory: u64,
}

enum Outcome {
    Read,
    /// Why not, without what varies from file to file.
    Refused(String),
    Finding(String),
}

/// Has a reader read a file. `place` is a folder for it to use.
fn judge(target: &Target, bytes: &[u8], place: &Path) -> Verdict {
    let read = || {
        residual_tensor::pool::trim(); // or recycled blocks would go uncounted
        let started = Instant::now();
        let mut answer = Ok(Ok(()));
        let memory = allocation_counter::measure(|| {
            answer = panic::catch_unwind(|| (target.read)(bytes, place));
        });
        (answer, started.elapsed(), memory.bytes_max)
    };
    let (mut answer, mut took, memory) = read();
    if took > SLOW {
        (answer, took, _) = read(); // perhaps the machine was busy
    }
    let outcome = match answer {
        Err(_) => Outcome::Finding(PANIC.take()),
        Ok(_) if took > SLOW => Outcome::Finding("takes seconds".into()),
        Ok(_) if memory > (target.most_memory)(bytes.len()) => {
            Outcome::Finding(format!("uses {} MiB of memory", memory >> 20))
        }
        Ok(Err(message)) if message.contains('\n') => {
            let start: String = message.escape_debug().take(200).collect();
            Outcome::Finding(format!("answers in more than one line: {start}"))
        }
        Ok(Err(message)) => {
            Outcome::Refused(message.chars().filter(|c| c.is_ascii_alphabetic()).take(100).collect())
        }
        Ok(Ok(())) => Outcome::Read,
    };
    Verdict { outcome, took, memory }
}

thread_local! {
    /// What the last panic of this thread said.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are told with the file that caused them, not as they happen.
fn remember_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or_default().replace('\n', " ");
        PANIC.set(format!("panics at {place}: {what}"));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The regression corpus: every file that a reader once did not survive, and those that the
    /// damage begins with. And a little new damage.
    #[test]
    fn every_reader_survives_its_corpus() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let out = tempfile::tempdir().unwrap();
        for target in TARGETS {
            for bytes in target.files(root).unwrap() {
                if let Outcome::Finding(what) = judge(target, &bytes, out.path()).outcome {
                    panic!("{} {what}", target.name);
                }
            }
            let (target_names, out) = (vec![target.name], out.path().join("damaged"));
            let options = Options { target: target_names, executions: 100, seed: 1, out };
            let report = fuzz(root, target, &options, &Mutex::new(None)).unwrap();
            let findings: Vec<_> = report.findings.iter().map(|(what, _)| what).collect();
            assert!(findings.is_empty(), "{} {findings:?}", target.name);
            assert!(report.accepted > 0 && report.reasons > 0, "{}", line(target, &report));
        }
    }

    /// The fuzzer must be able to find something.
    #[test]
    fn whatever_a_reader_must_not_do_is_noticed() {
        let with = |read: fn(&[u8], &Path) -> Result<(), String>| {
            let target = Target { read, ..TARGETS[0] };
            match judge(&target, b"bytes", Path::new("")).outcome {
                Outcome::Finding(what) => what,
                _ => String::new(),
            }
        };
        remember_panics();
        let panicked = with(|bytes, _| panic!("{} bytes", bytes.len()));
        let _ = panic::take_hook();
        assert!(panicked.starts_with("panics at") && panicked.ends_with("5 bytes"), "{panicked}");
        let hoards = |_: &[u8], _: &Path| {
            std::hint::black_box(vec![1u8; 16 << 20]);
            Ok(())
        };
        assert_eq!(with(hoards), "uses 16 MiB of memory");
        assert!(with(|_, _| Err("two\nlines".into())).starts_with("answers in more than one line"));
        assert_eq!(with(|_, _| Err("no".into())), "");
        assert_eq!(with(|_, _| Ok(())), "");
    }
}
