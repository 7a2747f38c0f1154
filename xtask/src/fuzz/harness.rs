//! The program that libFuzzer drives: built with instrumentation, and run as a process of its own,
//! because it ends at its first finding. What it says is text, of which the few numbers are read
//! here.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use residual_fuzz::Target;

use crate::{Failure, cargo};

/// What `cargo fuzz` has rustc do: count edges of the control flow, and show libFuzzer the
/// operands of comparisons.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
     -Zsanitizer=address";

/// The built program.
pub(super) struct Harness(PathBuf);

/// What a process has come to.
#[derive(Default)]
pub(super) struct Run {
    pub(super) executions: u64,
    /// Edges of the control flow that were reached.
    pub(super) edges: u64,
    /// What ended it early: what happened, and the input's file.
    pub(super) finding: Option<(String, PathBuf)>,
}

impl Harness {
    /// Builds the program. Gives it back with the seconds that took.
    ///
    /// # Errors
    /// If the platform has no address sanitizer, there is no C++ compiler, or it does not compile.
    pub(super) fn build(root: &Path) -> Result<Self, Failure> {
        let host = cargo::sanitized_host()?;
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let quiet =
            Command::new(&compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !quiet.is_ok_and(|status| status.success()) {
            return Err(format!(
                "libFuzzer is compiled by a C++ compiler, and '{compiler}' does not run; install clang or g++, \
                 or name one in the environment variable CXX"
            )
            .into());
        }
        let target = root.join("target/fuzz/build");
        let mut lines = Vec::new();
        let built = cargo::run(
            root,
            &["build", "--release", "--manifest-path", "xtask/fuzz/libfuzzer/Cargo.toml", "--target", &host],
            &[
                ("RUSTC_BOOTSTRAP", "1"),
                ("RUSTFLAGS", COVERAGE),
                ("CARGO_TARGET_DIR", target.to_str().ok_or("the target folder's name is not Unicode")?),
            ],
            |line| lines.push(line.to_owned()),
        )?;
        match built {
            true => Ok(Self(target.join(host).join("release/residual-libfuzzer"))),
            false => Err(format!("libFuzzer's program does not compile\n{}", lines.join("\n")).into()),
        }
    }

    fn command(&self, target: &Target, place: &Path) -> Command {
        let mut command = Command::new(&self.0);
        // One thread: what a finding is must not depend on how the machine divides the work.
        command.env("RESIDUAL_FUZZ", target.name).env("RAYON_NUM_THREADS", "1").current_dir(place);
        command
    }

    /// Fuzzes for some time, or until there is a finding. New inputs are added to `corpus`.
    pub(super) fn fuzz(
        &self,
        target: &Target,
        corpus: &Path,
        findings: &Path,
        time: Duration,
    ) -> Result<Run, Failure> {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
        let log = place.path().join("log");
        let mut prefix = OsString::from("-artifact_prefix=");
        prefix.push(findings.join(""));
        let mut command = self.command(target, place.path());
        command.args(["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=4096", "-use_value_profile=0"]);
        command.arg(format!("-max_total_time={}", time.as_secs().max(1))).arg(prefix).arg(corpus);
        let started = Instant::now();
        let status = command.stdout(Stdio::null()).stderr(File::create(&log)?).status()?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let mut run = read(&said);
        if !status.success() && run.finding.is_none() {
            let after = started.elapsed().as_secs();
            let last: Vec<&str> = said.lines().rev().take(20).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            return Err(format!("{} ended after {after} s, {status}\n{last}", target.name).into());
        }
        run.finding = run.finding.map(|(what, file)| (what, findings.join(file)));
        Ok(run)
    }

    /// As few of these inputs as reach the same code, in `to`.
    pub(super) fn minimize(&self, target: &Target, to: &Path, corpus: &Path) -> Result<(), Failure> {
        let place = tempfile::tempdir()?;
        let mut command = self.command(target, place.path());
        command.args(["-set_cover_merge=1", "-timeout=20", "-rss_limit_mb=4096"]).arg(to).arg(corpus);
        let output = command.output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    }
}

/// Reads what libFuzzer says: `#1024 pulse cov: 315 ft: 402 …`, `stat::number_of_executed_units: 1024`,
/// and at a finding what Rust or the sanitizer says about it and where the input is.
fn read(said: &str) -> Run {
    let mut run = Run::default();
    let (mut what, mut file) = (None, None);
    let mut lines = said.lines();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |word: &str| words.iter().position(|&it| it == word).and_then(|at| words.get(at + 1));
        if line.starts_with('#') {
            run.edges = after("cov:").and_then(|edges| edges.parse().ok()).unwrap_or(run.edges);
        } else if let Some(executions) = after("stat::number_of_executed_units:") {
            run.executions = executions.parse().unwrap_or(0);
        } else if let Some(at) = line.split_once("panicked at ").map(|(_, at)| at) {
            let message = lines.next().unwrap_or_default();
            what = what.or(Some(format!("panics at {at} {message}")));
        } else if let Some(error) = line.split_once("ERROR: ").map(|(_, error)| error) {
            what = what.or(Some(error.to_owned()));
        } else if let Some(path) = line.split_once("Test unit written to ").map(|(_, path)| path) {
            // An input that only took long is written, too, and fuzzing goes on.
            let name = Path::new(path)
                .file_name()
                .filter(|name| !name.as_encoded_bytes().starts_with(b"slow-unit-"));
            file = name.map(PathBuf::from).or(file);
        }
    }
    run.finding = file.map(|file| (what.unwrap_or_else(|| "ends".to_owned()), file));
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let quiet = "INFO: seed corpus: files: 3\n#4\tINITED cov: 120 ft: 130 corp: 3/1Kb\n#99\tDONE   cov: 201 \
                     ft: 300 corp: 9/2Kb\nstat::number_of_executed_units: 99\nstat::average_exec_per_sec:     3\n";
        let run = read(quiet);
        assert_eq!((run.executions, run.edges), (99, 201));
        assert!(run.finding.is_none());
        let panicked = "#2\tNEW    cov: 7 ft: 9 corp: 1/1b\nthread '<unnamed>' (12) panicked at src/a.rs:3:9:\nno \
                        such byte\nnote: run with\n==12== ERROR: libFuzzer: deadly signal\nartifact_prefix='/x/'; \
                        Test unit written to /x/crash-01\nstat::number_of_executed_units: 3\n";
        let run = read(panicked);
        assert_eq!((run.executions, run.edges), (3, 7));
        let (what, file) = run.finding.unwrap();
        assert_eq!((what.as_str(), file), ("panics at src/a.rs:3:9: no such byte", "crash-01".into()));
        let slow = read(
            "Slowest unit: 11 s:\nartifact_prefix='/x/'; Test unit written to /x/slow-unit-03\n#9\tDONE   cov: 2\n\
             stat::number_of_executed_units: 9\n",
        );
        assert!(slow.finding.is_none() && slow.executions == 9);
        let hangs =
            read("==1== ERROR: libFuzzer: timeout after 21 seconds\nTest unit written to ./timeout-02\n");
        assert_eq!(hangs.finding.unwrap().0, "libFuzzer: timeout after 21 seconds");
    }
}
