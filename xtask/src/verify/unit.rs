//! Unit, integration and documentation tests of every crate, by cargo's own runner: all of them
//! as a developer builds them, with debug assertions and checked arithmetic, and those of the
//! numeric crates a second time as they ship, optimised. What the runner prints is read as it
//! goes, because there is no stable format for machines.
//!
//! A test that lacks something on this machine prints `not covered: REASON`, and is listed as that
//! instead of as passed; so is a test that is ignored.

use std::time::Instant;

use cargo_metadata::MetadataCommand;

use super::{
    Failure, Settings,
    recorder::{Check, Kind, Recorder},
};
use crate::cargo;

/// Crates whose tests also run optimised, without debug assertions.
const OPTIMISED: [&str; 5] =
    ["residual-tensor", "residual-kernels", "residual-autograd", "residual-nn", "residual-infer"];

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    let manifest = settings.root.join("Cargo.toml");
    let packages = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?.packages;
    let mut selected: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    selected.retain(|name| recorder.selects(name));
    let all = Build { packages: &selected, ..Build::default() };
    all.run(settings, recorder)?;
    selected.retain(|name| OPTIMISED.contains(name));
    let options = &["--release", "--tests"];
    Build { packages: &selected, mark: " optimised", options }.run(settings, recorder)
}

/// Tests that are built in one way and run together.
#[derive(Clone, Copy, Default)]
pub(super) struct Build<'a> {
    pub(super) packages: &'a [&'a str],
    /// Tells the checks of this build from those of others: stands behind every name.
    pub(super) mark: &'static str,
    /// What cargo is told besides.
    pub(super) options: &'a [&'a str],
}

impl Build<'_> {
    /// Builds the tests and runs them.
    pub(super) fn run(self, settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
        if self.packages.is_empty() {
            return Ok(());
        }
        let mut arguments = vec!["test", "--locked", "--no-fail-fast"];
        arguments.extend(self.options);
        arguments.extend(self.packages.iter().flat_map(|name| ["--package", name]));
        let cargo =
            |arguments: &[&str], line: &mut dyn FnMut(&str)| cargo::run(&settings.root, arguments, &[], line);
        let built = recorder.require(format!("build{}", self.mark), || {
            let mut lines = Vec::new();
            let arguments = [&arguments[..], &["--quiet", "--no-run"]].concat();
            let built = cargo(&arguments, &mut |line| lines.push(line.to_owned()))?;
            if built { Ok(String::new()) } else { Err(lines.join("\n").into()) }
        });
        if !built {
            return Ok(());
        }
        arguments.extend(["--", "--show-output"]);
        let mut programs = Programs::new(recorder, &self);
        let mut last_lines = Vec::new();
        let passed = cargo(&arguments, &mut |line| {
            last_lines.push(line.to_owned());
            programs.read(line);
        })?;
        programs.finish(passed, &last_lines[last_lines.len().saturating_sub(20)..]);
        Ok(())
    }
}

/// Makes a check of each test program in cargo's output.
struct Programs<'a> {
    recorder: &'a mut Recorder,
    build: &'a Build<'a>,
    /// Whose tests are running: integration tests follow the package's unit tests.
    package: String,
    open: Option<Program>,
    /// Tests that failed so far, in all programs.
    failed: usize,
}

/// A test program that has started.
struct Program {
    name: String,
    started: Instant,
    /// Whether it has said how it ended.
    ended: bool,
    passed: usize,
    failed: usize,
    /// Tests that were ignored or could not run, with the reason.
    not_covered: Vec<(String, String)>,
    /// The test whose output is shown now, of those that passed.
    shown: Shown,
    output: Vec<String>,
}

/// Where in a program's output we are.
enum Shown {
    /// Not among the outputs of tests that passed.
    Other,
    /// Among them; of this test.
    Passed(String),
}

impl<'a> Programs<'a> {
    fn new(recorder: &'a mut Recorder, build: &'a Build<'a>) -> Self {
        Self { recorder, build, package: String::new(), open: None, failed: 0 }
    }

    fn read(&mut self, line: &str) {
        if let Some(name) = self.started_by(line) {
            self.close();
            self.open = Some(Program::new(name + self.build.mark));
        } else if let Some(program) = &mut self.open {
            program.read(line);
        }
    }

    /// The name of the program that cargo announces with this line.
    fn started_by(&mut self, line: &str) -> Option<String> {
        let line = line.trim_start();
        if let Some(name) = line.strip_prefix("Doc-tests ") {
            return Some(format!("{} documentation", name.replace('_', "-")));
        }
        // Running unittests src/lib.rs (…/residual_nn-0a1b2c), Running tests/laws.rs (…)
        let (source, program) = line.strip_prefix("Running ")?.split_once(" (")?;
        let Some(unit) = source.strip_prefix("unittests ") else {
            return Some(format!("{} {source}", self.package));
        };
        let program = program.rsplit(['/', '\\']).next()?;
        self.package = program.rsplit_once('-').map_or(program, |(name, _)| name).replace('_', "-");
        Some(format!("{} {unit}", self.package))
    }

    fn close(&mut self) {
        let Some(mut program) = self.open.take() else { return };
        if !program.ended {
            program.failed += 1;
            program.output.insert(0, "ended without a result".to_owned());
        }
        let Program { name, passed, failed, not_covered, started, output, .. } = program;
        let mut detail = match failed {
            0 => format!("{passed} tests"),
            _ => format!("{failed} of {} tests failed", passed + failed),
        };
        if failed > 0 {
            detail = format!("{detail}\n{}", output.join("\n"));
        }
        self.failed += failed;
        for (test, reason) in not_covered {
            self.recorder.not_covered(format!("{name} {test}"), reason);
        }
        let (failure, seconds) = ((failed > 0).then_some(Kind::Tests), started.elapsed().as_secs_f64());
        self.recorder.record(Check { name, passed, failed, failure, detail, seconds });
    }

    /// Ends the last program. Cargo's word counts: where it `passed` nothing although no test is
    /// seen to have failed, its `last_lines` say why.
    fn finish(mut self, passed: bool, last_lines: &[String]) {
        self.close();
        if !passed && self.failed == 0 {
            let lines = last_lines.join("\n");
            let reason = format!("cargo test failed, although no test did; its last lines:\n{lines}");
            self.recorder.require(format!("cargo test{}", self.build.mark), || Err(reason.into()));
        }
    }
}

impl Program {
    fn new(name: String) -> Self {
        Self {
            name,
            started: Instant::now(),
            ended: false,
            passed: 0,
            failed: 0,
            not_covered: Vec::new(),
            shown: Shown::Other,
            output: Vec::new(),
        }
    }

    fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            // ok. 5 passed; 0 failed; 1 ignored; …
            let count = |what: &str| {
                let words: Vec<&str> = counts.split([' ', ';']).collect();
                let at = words.iter().position(|word| *word == what);
                at.and_then(|at| words[at - 1].parse().ok()).unwrap_or(0)
            };
            self.ended = true;
            self.shown = Shown::Other;
            self.passed += count("passed");
            self.failed += count("failed");
            // Tests that passed without doing their work; those ignored are not counted as passed.
            self.passed -= self.not_covered.iter().filter(|(_, reason)| !reason.starts_with(IGNORED)).count();
            return;
        }
        let ignored = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ignored"));
        if let Some((test, reason)) = ignored {
            self.not_covered.push((test.to_owned(), format!("{IGNORED}{reason}")));
        } else if line == "successes:" {
            self.shown = Shown::Passed(String::new());
        } else if line == "failures:" {
            self.shown = Shown::Other;
        } else if let Shown::Passed(test) = &mut self.shown {
            let header = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" ----"));
            if let Some(header) = header {
                *test = header.trim_end_matches(" stdout").to_owned();
            } else if let Some(reason) = line.strip_prefix("not covered: ")
                && !self.not_covered.iter().any(|(other, _)| other == test)
            {
                self.not_covered.push((test.clone(), reason.to_owned()));
            }
        } else if !line.trim().is_empty() && !line.ends_with("... ok") {
            self.output.push(line.to_owned());
        }
    }
}

/// How the reason of an ignored test begins.
const IGNORED: &str = "ignored";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{SUITES, recorder::RunResult};

    fn read(text: &str, passed: bool) -> RunResult {
        let mut recorder = Recorder::new(Vec::new(), true);
        recorder.begin(&SUITES[0]);
        let build = Build::default();
        let mut programs = Programs::new(&mut recorder, &build);
        text.lines().for_each(|line| programs.read(line));
        programs.finish(passed, &["error: no space left".to_owned()]);
        recorder.finish().unwrap()
    }

    #[test]
    fn tests_are_counted_by_program() {
        let result = read(
            "    Finished `test` profile\n     Running unittests src/lib.rs (target/debug/deps/residual_nn-0a)\n\
             running 2 tests\ntest a ... ok\ntest b ... ok\n\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
             \x20    Running tests/layers.rs (target/debug/deps/layers-0b)\n\
             test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured\n\
             \x20  Doc-tests residual_nn\ntest result: ok. 1 passed; 0 failed; 0 ignored\n",
            false,
        );
        assert_eq!((result.passed, result.failed), (6, 2));
        let json = serde_json::to_value(&result).unwrap();
        let names: Vec<_> =
            json["suites"][0]["checks"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
        assert_eq!(
            names,
            ["residual-nn src/lib.rs", "residual-nn tests/layers.rs", "residual-nn documentation"]
        );
    }

    #[test]
    fn a_program_that_is_cut_off_has_failed() {
        let result =
            read("     Running unittests src/lib.rs (target/debug/deps/x-0a)\nrunning 2 tests\n", false);
        assert_eq!((result.passed, result.failed), (0, 1));
    }

    const ONE: &str = "     Running tests/real.rs (target/debug/deps/real-0a)\nrunning 3 tests\n";

    #[test]
    fn cargos_exit_status_counts() {
        let text = format!("{ONE}test a ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored\n");
        assert_eq!(read(&text, true).failed, 0);
        assert_eq!(read(&text, false).failed, 1);
    }

    #[test]
    fn what_did_not_run_has_not_passed() {
        let result = read(
            &format!(
                "{ONE}test a ... ok\ntest b ... ok\ntest c ... ignored, slow\n\nsuccesses:\n\n\
                 ---- a stdout ----\nnot covered: no data\n\n\nsuccesses:\n    a\n    b\n\n\
                 test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured\n"
            ),
            true,
        );
        assert_eq!((result.passed, result.failed), (1, 0));
        let json = serde_json::to_value(&result).unwrap();
        let listed: Vec<_> =
            json["not_covered"].as_array().unwrap().iter().map(|item| &item["reason"]).collect();
        assert_eq!(listed, ["ignored, slow", "no data"]);
    }
}
