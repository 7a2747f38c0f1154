//! Unit, integration and documentation tests of every crate, by cargo's own runner. What it
//! prints is read as it goes, because there is no stable format for machines.

use std::time::Instant;

use cargo_metadata::MetadataCommand;

use super::{
    Failure, Settings,
    recorder::{Check, Recorder},
};
use crate::cargo;

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    let manifest = settings.root.join("Cargo.toml");
    let packages = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?.packages;
    let selected = packages.iter().map(|package| package.name.as_str()).filter(|name| recorder.selects(name));
    let mut arguments = vec!["test", "--no-fail-fast"];
    arguments.extend(selected.flat_map(|name| ["--package", name]));
    if arguments.len() == 2 {
        return Ok(());
    }
    let built = recorder.require("build", || {
        let mut lines = Vec::new();
        let arguments = [&arguments[..], &["--quiet", "--no-run"]].concat();
        let built = cargo::run(&settings.root, &arguments, &[], |line| lines.push(line.to_owned()))?;
        if built { Ok(String::new()) } else { Err(lines.join("\n").into()) }
    });
    if built {
        let mut programs = Programs { recorder, package: String::new(), open: None };
        cargo::run(&settings.root, &arguments, &[], |line| programs.read(line))?;
        programs.close();
    }
    Ok(())
}

/// Makes a check of each test program in cargo's output.
struct Programs<'a> {
    recorder: &'a mut Recorder,
    /// Whose tests are running: integration tests follow the package's unit tests.
    package: String,
    open: Option<Program>,
}

/// A test program that has started.
struct Program {
    name: String,
    started: Instant,
    /// Whether it has said how it ended.
    ended: bool,
    passed: usize,
    failed: usize,
    ignored: usize,
    output: Vec<String>,
}

impl Programs<'_> {
    fn read(&mut self, line: &str) {
        if let Some(name) = self.started_by(line) {
            self.close();
            let (passed, failed, ignored, output) = (0, 0, 0, Vec::new());
            let started = Instant::now();
            self.open = Some(Program { name, started, ended: false, passed, failed, ignored, output });
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
        let Program { name, passed, failed, ignored, .. } = program;
        let mut detail = match (failed, ignored) {
            (0, 0) => format!("{passed} tests"),
            (0, _) => format!("{passed} tests, {ignored} ignored"),
            _ => format!("{failed} of {} tests failed", passed + failed),
        };
        if failed > 0 {
            detail = format!("{detail}\n{}", program.output.join("\n"));
        }
        let seconds = program.started.elapsed().as_secs_f64();
        self.recorder.record(Check { name, passed, failed, detail, seconds });
    }
}

impl Program {
    fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            // ok. 5 passed; 0 failed; 1 ignored; …
            let count = |what: &str| {
                let words: Vec<&str> = counts.split([' ', ';']).collect();
                let at = words.iter().position(|word| *word == what);
                at.and_then(|at| words[at - 1].parse().ok()).unwrap_or(0)
            };
            self.ended = true;
            self.passed += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        } else if !line.trim().is_empty() && !line.ends_with("... ok") {
            self.output.push(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{SUITES, recorder::RunResult};

    fn read(text: &str) -> RunResult {
        let mut recorder = Recorder::new(Vec::new(), true);
        recorder.begin(&SUITES[0]);
        let mut programs = Programs { recorder: &mut recorder, package: String::new(), open: None };
        text.lines().for_each(|line| programs.read(line));
        programs.close();
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
        let result = read("     Running unittests src/lib.rs (target/debug/deps/x-0a)\nrunning 2 tests\n");
        assert_eq!((result.passed, result.failed), (0, 1));
    }
}
