//! A test program under a sanitizer: a process with a limit on its time, and what it said at the
//! end.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use crate::Failure;

/// A test program that cargo has built.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) executable: PathBuf,
    /// The package's folder, in which cargo runs tests.
    pub(super) folder: PathBuf,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) passed: usize,
    pub(super) seconds: f64,
    /// What sanitizers reported, shortened to a line each.
    reports: Vec<String>,
    /// What it printed, unless all was well.
    pub(super) failure: Option<String>,
    timed_out: bool,
}

impl Program {
    /// Runs it, at most this long.
    pub(super) fn run(&self, (name, value): (&str, &str), limit: Duration) -> Result<Ended, Failure> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let file = File::create(&log)?;
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env(name, value).env("RUST_BACKTRACE", "0");
        let mut child = command.stdout(file.try_clone()?).stderr(file).spawn()?;
        let started = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if started.elapsed() > limit => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                None => thread::sleep(Duration::from_millis(50)),
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        Ok(Ended::of(status, &String::from_utf8_lossy(&fs::read(&log)?), seconds))
    }
}

impl Ended {
    fn of(status: Option<ExitStatus>, said: &str, seconds: f64) -> Self {
        let passed = said.lines().filter_map(|line| line.strip_prefix("test result: ok. ")?.split_once(' '));
        let passed = passed.filter_map(|(count, _)| count.parse::<usize>().ok()).sum();
        let reports = said.lines().filter_map(|line| line.split_once("SUMMARY: "));
        let mut reports: Vec<String> = reports.map(|(_, report)| report.to_owned()).collect();
        reports.sort();
        reports.dedup();
        let well = status.is_some_and(|status| status.success()) && reports.is_empty();
        let failure = (!well).then(|| last_lines(said, 120));
        Self { passed, seconds, reports, failure, timed_out: status.is_none() }
    }

    /// In a few words.
    pub(super) fn outcome(&self) -> String {
        match (&self.failure, &self.reports[..]) {
            (None, _) => "ok".to_owned(),
            (Some(_), []) if self.timed_out => "did not end, stopped".to_owned(),
            (Some(_), []) => "tests failed".to_owned(),
            (Some(_), [report, ..]) => report.clone(),
        }
    }
}

fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell in the place of a test program.
    #[cfg(unix)]
    fn run(script: &str) -> Ended {
        let folder = tempfile::tempdir().unwrap();
        let executable = folder.path().join("program");
        fs::write(&executable, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&executable, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let program = Program { name: "p".into(), executable, folder: folder.path().into() };
        program.run(("TSAN_OPTIONS", "x=1"), Duration::from_secs(1)).unwrap()
    }

    #[test]
    #[cfg(unix)]
    fn whatever_is_wrong_is_a_failure() {
        let well = run("echo 'test result: ok. 12 passed; 0 failed; 1 ignored'");
        assert_eq!((well.outcome().as_str(), well.passed, well.failure.is_none()), ("ok", 12, true));
        let failed = run("echo 'test result: FAILED. 3 passed; 1 failed'; exit 101");
        assert_eq!((failed.outcome().as_str(), failed.passed), ("tests failed", 0));
        // Reported, though the program went on and passed.
        let race =
            run("echo 'SUMMARY: ThreadSanitizer: data race a.rs:1'; echo 'test result: ok. 2 passed; 0'");
        assert_eq!(race.outcome(), "ThreadSanitizer: data race a.rs:1");
        assert!(race.failure.is_some());
        let hangs = run("echo begun; exec sleep 60");
        assert_eq!(hangs.outcome(), "did not end, stopped");
        assert_eq!(hangs.failure.as_deref(), Some("begun"));
        assert!(hangs.seconds < 30.0);
    }
}
