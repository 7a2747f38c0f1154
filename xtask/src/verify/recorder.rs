//! What the checks have given so far: shown as they finish, and summed up at the end.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use comfy_table::{CellAlignment, Table, presets};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::{Failure, Outcome, Selection, Suite};

/// One check, or all tests of one test program.
#[derive(Serialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// What was seen, or why it failed. The first line says it in short.
    pub(super) detail: String,
    pub(super) seconds: f64,
}

/// The checks of a suite.
#[derive(Serialize)]
pub(super) struct SuiteResult {
    name: &'static str,
    about: &'static str,
    passed: usize,
    failed: usize,
    seconds: f64,
    checks: Vec<Check>,
}

/// Everything that ran.
#[derive(Serialize)]
pub(super) struct RunResult {
    pub(super) passed: usize,
    pub(super) failed: usize,
    seconds: f64,
    suites: Vec<SuiteResult>,
}

/// Runs checks, shows a line for each, and keeps what they gave.
pub(super) struct Recorder {
    only: Vec<Selection>,
    /// Whether stdout is for the JSON object, so that lines go to stderr.
    json: bool,
    started: Instant,
    suites: Vec<SuiteResult>,
}

impl Recorder {
    pub(super) fn new(only: Vec<Selection>, json: bool) -> Self {
        Self { only, json, started: Instant::now(), suites: Vec::new() }
    }

    /// Begins a suite, unless it is not selected.
    pub(super) fn begin(&mut self, suite: &Suite) -> bool {
        let &Suite { name, about, .. } = suite;
        let selected = self.only.is_empty() || self.only.iter().any(|selection| selection.suite == name);
        if selected {
            self.print(format!("\n{} – {about}", name.bold()));
            self.suites.push(SuiteResult { name, about, passed: 0, failed: 0, seconds: 0.0, checks: vec![] });
        }
        selected
    }

    /// Whether the current suite's check of this name is selected.
    pub(super) fn selects(&self, name: &str) -> bool {
        let suite = self.suites.last().map_or("", |suite| suite.name);
        let mut texts = self.only.iter().filter(|selection| selection.suite == suite).peekable();
        texts.peek().is_none() || texts.any(|selection| name.contains(&selection.text))
    }

    /// Runs a check, if it is selected.
    pub(super) fn check(&mut self, name: impl Into<String>, check: impl FnOnce() -> Outcome) {
        let name = name.into();
        debug_assert!(!name.contains(','), "{name} cannot be selected: commas part the selections of --only");
        if self.selects(&name) {
            self.require(name, check);
        }
    }

    /// Runs a check that others depend on, selected or not. Gives whether it passed. A panic is a
    /// failure.
    pub(super) fn require(&mut self, name: impl Into<String>, check: impl FnOnce() -> Outcome) -> bool {
        let started = Instant::now();
        let outcome = panic::catch_unwind(AssertUnwindSafe(check));
        let outcome = outcome.unwrap_or_else(|panic| Err(format!("panicked: {}", message(&*panic)).into()));
        let seconds = started.elapsed().as_secs_f64();
        let (passed, failed, detail) = match outcome {
            Ok(detail) => (1, 0, detail),
            Err(failure) => (0, 1, failure.to_string()),
        };
        self.record(Check { name: name.into(), passed, failed, detail, seconds });
        failed == 0
    }

    /// Adds a check to the current suite and shows it.
    pub(super) fn record(&mut self, check: Check) {
        let Check { name, failed, detail, seconds, .. } = &check;
        let mut lines = detail.lines();
        let first = lines.next().unwrap_or_default();
        let mark = if *failed == 0 { "ok  ".green().to_string() } else { "FAIL".red().bold().to_string() };
        self.print(format!("  {mark} {name:<34} {} {first}", format!("{seconds:>6.2} s").dimmed()));
        if *failed > 0 {
            lines.for_each(|line| self.print(format!("         {line}")));
        }
        let suite = self.suites.last_mut().expect("a suite that has begun");
        suite.passed += check.passed;
        suite.failed += check.failed;
        suite.seconds += check.seconds;
        suite.checks.push(check);
    }

    /// Sums up.
    ///
    /// # Errors
    /// If nothing has run: that must not pass for success.
    pub(super) fn finish(self) -> Result<RunResult, Failure> {
        let sum = |of: fn(&SuiteResult) -> usize| self.suites.iter().map(of).sum();
        let (passed, failed) = (sum(|suite| suite.passed), sum(|suite| suite.failed));
        if passed + failed == 0 {
            return Err("nothing was checked: --only selects no check".into());
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.print(format!("\n{}", self.table(passed, failed, seconds)));
        for suite in &self.suites {
            for check in suite.checks.iter().filter(|check| check.failed > 0) {
                let reason = check.detail.lines().next().unwrap_or_default();
                self.print(format!("{} {}/{}: {reason}", "FAIL".red().bold(), suite.name, check.name));
            }
        }
        self.print(format!("{passed} passed, {failed} failed"));
        Ok(RunResult { passed, failed, seconds, suites: self.suites })
    }

    fn table(&self, passed: usize, failed: usize, seconds: f64) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["suite", "passed", "failed", "seconds"]);
        let suites = self.suites.iter().map(|suite| (suite.name, suite.passed, suite.failed, suite.seconds));
        for (name, passed, failed, seconds) in suites.chain([("all", passed, failed, seconds)]) {
            table.add_row([name, &passed.to_string(), &failed.to_string(), &format!("{seconds:.1}")]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn print(&self, line: String) {
        if self.json {
            anstream::eprintln!("{line}");
        } else {
            anstream::println!("{line}");
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
