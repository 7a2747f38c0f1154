//! A program that takes part: started once per work, it makes steps when it is its turn, and
//! waits for its standard input while others have theirs.
//!
//! It prints a line of JSON when it is warm, and one for each line `go N`: `{"ms": […]}`, the
//! milliseconds of each step. What it says besides, it says to standard error.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::Failure;

/// How to start a contender.
pub(super) struct Launch {
    pub(super) name: String,
    pub(super) threads: usize,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Variables of its environment.
    pub(super) variables: Vec<(&'static str, String)>,
    /// Where standard error goes.
    pub(super) log: PathBuf,
}

/// What this project is called among the contenders.
pub(super) const OURS: &str = "residual";
/// The project on one thread.
pub(super) const SINGLE: &str = "residual, 1 thread";
/// An earlier build of the project.
pub(super) const BEFORE: &str = "residual, before";

impl Launch {
    /// Whether this is the project itself, on all threads.
    pub(super) fn is_ours(&self) -> bool {
        self.name == OURS
    }

    /// Starts it and waits until it is warm.
    ///
    /// # Errors
    /// With the last thing that it said.
    pub(super) fn start(&self) -> Result<Contender, Failure> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&self.log)?)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        let (tell, hear) = (child.stdin.take(), child.stdout.take());
        let (tell, hear) = tell.zip(hear).ok_or("no pipes")?;
        let mut contender = Contender {
            name: self.name.clone(),
            version: String::new(),
            threads: self.threads,
            child,
            tell,
            hear: BufReader::new(hear),
            log: self.log.clone(),
            steps: 1,
        };
        let ready = contender.answer()?;
        let warm = ready.ms.iter().copied().fold(f64::INFINITY, f64::min);
        contender.steps = (TURN_MS / warm).clamp(1.0, MOST_STEPS) as usize;
        contender.version = ready.version.unwrap_or_default();
        contender.wait_until_idle();
        Ok(contender)
    }
}

/// How long a turn should take, unless a single step takes longer.
const TURN_MS: f64 = 500.0;

/// Steps in a turn, so that they can all be told in one line.
const MOST_STEPS: f64 = 100.0;

/// A program that runs.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) threads: usize,
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
    log: PathBuf,
    /// Steps in a turn that count.
    steps: usize,
}

/// What a contender prints.
#[derive(Deserialize)]
pub(super) struct Answer {
    version: Option<String>,
    ms: Vec<f64>,
    page_faults: Option<u64>,
}

impl Contender {
    /// Lets it make its steps. The first does not count if there are more: its data is not in the
    /// caches any more, and its threads are asleep.
    pub(super) fn turn(&mut self) -> Result<Answer, Failure> {
        let lead = usize::from(self.steps > 1);
        writeln!(self.tell, "go {}", self.steps + lead)?;
        let mut answer = self.answer()?;
        answer.ms.drain(..lead.min(answer.ms.len()));
        self.wait_until_idle();
        Ok(answer)
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let mut line = String::new();
        // Whatever a library prints is not an answer.
        while !line.starts_with('{') {
            line.clear();
            if self.hear.read_line(&mut line)? == 0 {
                return Err(self.last_words().into());
            }
        }
        let answer: Answer = serde_json::from_str(&line)?;
        if answer.ms.is_empty() {
            return Err(format!("made no step: {}", line.trim_end()).into());
        }
        Ok(answer)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("ended without a word").trim().to_owned()
    }

    /// Waits until its threads, which may spin for a while in the hope of more work, sleep. The
    /// contender itself is left as it is: told not to spin, some get slower.
    fn wait_until_idle(&self) {
        const PAUSE: Duration = Duration::from_millis(50);
        const LONGEST: Duration = Duration::from_secs(2);
        let started = Instant::now();
        let mut before = self.processor_time();
        while started.elapsed() < LONGEST {
            thread::sleep(PAUSE);
            let now = self.processor_time();
            if now == before {
                break;
            }
            before = now;
        }
    }

    /// Ticks of processor time that it has used. Where the system does not say it, it is always
    /// the same.
    fn processor_time(&self) -> u64 {
        let stat = self.proc("stat");
        // The program's name, in parentheses, may contain anything. Behind it, numbers 12 and 13
        // are the times in user and system mode.
        let numbers = stat.rsplit_once(')').map_or("", |(_, numbers)| numbers).split_whitespace();
        numbers.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    /// The most memory that it has had at once, in bytes, if the system says it.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let status = self.proc("status");
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(1024 * kibibytes.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It may be in the middle of anything; nothing that it does is worth waiting for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the turns of a contender gave.
#[derive(Default, Clone)]
pub(super) struct Turns {
    /// Milliseconds of each step of each turn.
    rounds: Vec<Vec<f64>>,
    page_faults: Option<u64>,
    steps: usize,
}

impl Turns {
    pub(super) fn add(&mut self, answer: Answer) {
        // The step that does not count has its faults, too; they are few, or it is like the others.
        self.page_faults = answer.page_faults.map(|faults| faults + self.page_faults.unwrap_or(0));
        self.steps += answer.ms.len() + usize::from(answer.ms.len() > 1);
        self.rounds.push(answer.ms);
    }

    /// The median over all steps.
    pub(super) fn median(&self) -> f64 {
        median(self.rounds.concat())
    }

    pub(super) fn least(&self) -> f64 {
        self.rounds.iter().flatten().copied().fold(f64::INFINITY, f64::min)
    }

    /// Page faults per step, if the contender counts them.
    pub(super) fn page_faults(&self) -> Option<f64> {
        Some(self.page_faults? as f64 / self.steps as f64)
    }

    /// How many times as long this takes as `other`: the median of the rounds' ratios. The turns
    /// of a round are neighbours in time.
    pub(super) fn ratio(&self, other: &Self) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        median(rounds.map(|(ours, theirs)| median(ours.clone()) / median(theirs.clone())).collect())
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len();
    if n == 0 { f64::NAN } else { (numbers[(n - 1) / 2] + numbers[n / 2]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(rounds: &[&[f64]]) -> Turns {
        let mut turns = Turns::default();
        for ms in rounds {
            turns.add(Answer { version: None, ms: ms.to_vec(), page_faults: Some(6) });
        }
        turns
    }

    #[test]
    fn a_machine_that_gets_slower_does_not_change_the_ratio() {
        let ours = turns(&[&[1.0, 1.0, 9.0], &[2.0, 2.0, 2.0], &[4.0, 4.0, 4.0]]);
        let theirs = turns(&[&[3.0], &[6.0], &[12.0]]);
        assert_eq!((theirs.ratio(&ours), ours.ratio(&theirs)), (3.0, 1.0 / 3.0));
        assert_eq!((ours.median(), theirs.median(), ours.least()), (2.0, 6.0, 1.0));
        assert_eq!((ours.page_faults(), theirs.page_faults()), (Some(18.0 / 12.0), Some(6.0)));
    }

    #[cfg(unix)]
    #[test]
    fn a_contender_that_ends_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let launch = |script: &str| Launch {
            name: "script".into(),
            threads: 1,
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            variables: Vec::new(),
            log: folder.path().join("log"),
        };
        let refused = launch("echo 'it is not here' >&2").start().map(|_| ()).unwrap_err();
        assert_eq!(refused.to_string(), "it is not here");
        let obedient = r#"echo loading; echo '{"version": "1", "ms": [250]}'; while read go n; do echo "{\"ms\": [9, 8, $n]}"; done"#;
        let mut contender = launch(obedient).start().unwrap();
        // Two steps of 250 ms are a turn, after one that does not count.
        assert_eq!((contender.turn().unwrap().ms, &*contender.version), (vec![8.0, 3.0], "1"));
    }
}
