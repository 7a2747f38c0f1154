//! Damages files at random and reads them, to find what makes a reader panic, hang or use memory
//! beyond its bound. `cargo run --release -p residual-weights --example fuzz -- --executions 1000000`
//!
//! A mutational fuzzer without coverage feedback, so that it runs on stable Rust with nothing
//! installed. It starts from the files in `tests/data`, keeps damaged files that are still read
//! (they reach deeper), and damages those further. The same `--seed` gives the same files on
//! each of the threads. Exits with 1 and writes the files if there are findings.

#[path = "../tests/damage/mod.rs"]
mod damage;

use std::{
    panic::catch_unwind,
    process::ExitCode,
    time::{Duration, Instant},
};

use damage::{Damage, NUMBERS, READERS, intact, measure, most_memory};
use residual_tensor::Generator;

/// Reading a file of a few kilobytes takes a fraction of a millisecond.
const SLOW: Duration = Duration::from_secs(1);

/// What one thread has done.
#[derive(Default)]
struct Report {
    executions: [u64; READERS.len()],
    accepted: [u64; READERS.len()],
    slowest: Duration,
    /// What went wrong, and with which file.
    findings: Vec<(String, Vec<u8>)>,
}

fn main() -> ExitCode {
    let option = |name: &str, default: u64| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
        arguments.next().map_or(default, |number| number.parse().expect("a number after the option"))
    };
    let (executions, seed) = (option("--executions", 1_000_000), option("--seed", 0));
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    std::panic::set_hook(Box::new(|_| {})); // panics are reported with the file that caused them

    let started = Instant::now();
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let share = |thread| executions / threads + u64::from(thread < executions % threads);
        let run = |thread| move || fuzz(share(thread), Generator::new(seed).split(thread));
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("only readers panic")).collect()
    });
    for (index, (name, _)) in READERS.iter().enumerate() {
        let executions: u64 = reports.iter().map(|report| report.executions[index]).sum();
        let accepted: u64 = reports.iter().map(|report| report.accepted[index]).sum();
        println!("{name:<12} {executions:>10} executions, {accepted:>9} of damaged files still read");
    }
    let slowest = reports.iter().map(|report| report.slowest).max().unwrap_or_default();
    let findings: Vec<_> = reports.into_iter().flat_map(|report| report.findings).collect();
    println!("{} findings in {:.0?}; the slowest read took {slowest:.1?}", findings.len(), started.elapsed());
    for (index, (what, bytes)) in findings.iter().enumerate() {
        let path = std::env::temp_dir().join(format!("residual-weights-finding-{index}"));
        std::fs::write(&path, bytes).expect("a temporary folder to write to");
        println!("{what}: {}", path.display());
    }
    ExitCode::from(u8::from(!findings.is_empty()))
}

fn fuzz(executions: u64, mut random: Generator) -> Report {
    /// Damaged files that are kept to be damaged further.
    const KEPT: usize = 1000;
    let mut report = Report::default();
    let intact: Vec<_> = intact().into_iter().map(|(name, bytes)| (reader_of(&name), bytes)).collect();
    let mut kept = Vec::new();
    for _ in 0..executions {
        let from = if random.chance(0.5) || kept.is_empty() { &intact } else { &kept };
        let (own_reader, mut bytes) = from[random.below(from.len())].clone();
        for _ in 0..=random.below(4) {
            random_damage(bytes.len(), &mut random).apply(&mut bytes);
        }
        let index = if random.chance(0.8) { own_reader } else { random.below(READERS.len()) };

        let started = Instant::now();
        let outcome = catch_unwind(|| measure(READERS[index], &bytes));
        let took = started.elapsed();
        report.executions[index] += 1;
        report.slowest = report.slowest.max(took);
        let name = READERS[index].0;
        match outcome {
            Err(_) => report.findings.push((format!("{name} panicked"), bytes)),
            Ok(_) if took > SLOW => report.findings.push((format!("{name} took {took:?}"), bytes)),
            Ok((_, used)) if used > most_memory(bytes.len()) => {
                report.findings.push((format!("{name} used {used} bytes of memory"), bytes));
            }
            Ok((false, _)) => {}
            Ok((true, _)) => {
                report.accepted[index] += 1;
                if kept.len() < KEPT {
                    kept.push((own_reader, bytes));
                } else {
                    kept[random.below(KEPT)] = (own_reader, bytes);
                }
            }
        }
    }
    report
}

/// The reader whose name is the file's extension.
fn reader_of(name: &str) -> usize {
    READERS.iter().position(|(reader, _)| name.ends_with(reader)).expect("a reader for each of the files")
}

fn random_damage(length: usize, random: &mut Generator) -> Damage {
    /// Operations of pickle, by which damage gets past its first bytes.
    const OPERATIONS: &[u8] = b"()]}.NJKMGXUtaesu0qrhjcRbQ\x80\x81\x85\x86\x87\x88\x8a\x8c\x90\x93\x94";
    let at = random.below(length.max(1));
    let content = match random.below(3) {
        0 => vec![OPERATIONS[random.below(OPERATIONS.len())]],
        1 => NUMBERS[random.below(NUMBERS.len())].to_le_bytes()[..1 << random.below(4)].to_vec(),
        _ => (0..=random.below(8)).map(|_| random.below(256) as u8).collect(),
    };
    match random.below(16) {
        0 => Damage::Truncate(at),
        1..=5 => Damage::Flip(at, random.below(8) as u8),
        6..=10 => Damage::Overwrite(at, content),
        11..=12 => Damage::Insert(at, content),
        13 => Damage::Remove(at, random.below(64)),
        _ => Damage::Repeat(at, random.below(64)),
    }
}
