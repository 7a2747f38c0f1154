//! What the checks have given so far: shown as they finish, and summed up at the end. What could
//! not be checked is listed beside them, with the reason; it counts as neither passed nor failed.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use comfy_table::{CellAlignment, Table, presets};
use owo_colors::OwoColorize;
use serde::Serialize;

use super::{Difference, Failure, Outcome, Selection, Suite};

/// One check, or all tests of one test program.
#[derive(Serialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// In which way it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Kind>,
    /// What was seen, or why it failed. The first line says it in short.
    pub(super) detail: String,
    pub(super) seconds: f64,
}

/// In which way a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Two things were held against each other and are not the same: a [`Difference`].
    Difference,
    /// Something that the check needs did not work, so that nothing was compared.
    Error,
    /// The check panicked.
    Panic,
    /// Tests of a test program failed.
    Tests,
}

/// Something that this run could not check.
#[derive(Serialize)]
pub(super) struct NotCovered {
    suite: &'static str,
    what: String,
    reason: String,
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
    not_covered: Vec<NotCovered>,
}

/// Runs checks, shows a line for each, and keeps what they gave.
pub(super) struct Recorder {
    only: Vec<Selection>,
    /// For each selection whether it has selected a check.
    selected: Vec<bool>,
    /// Every check of the suites that ran, selected or not, by suite.
    offered: Vec<(&'static str, String)>,
    not_covered: Vec<NotCovered>,
    /// Whether stdout is for the JSON object, so that lines go to stderr.
    json: bool,
    started: Instant,
    suites: Vec<SuiteResult>,
}

impl Recorder {
    pub(super) fn new(only: Vec<Selection>, json: bool) -> Self {
        Self {
            selected: vec![false; only.len()],
            only,
            offered: Vec::new(),
            not_covered: Vec::new(),
            json,
            started: Instant::now(),
            suites: Vec::new(),
        }
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
    pub(super) fn selects(&mut self, name: &str) -> bool {
        let suite = self.suite();
        self.offered.push((suite, name.to_owned()));
        let mut selects = self.only.is_empty();
        for (selection, selected) in self.only.iter().zip(&mut self.selected) {
            if selection.suite == suite && name.contains(&selection.text) {
                (*selected, selects) = (true, true);
            }
        }
        selects
    }

    /// The name of the suite that runs now; before the first, of the whole.
    fn suite(&self) -> &'static str {
        self.suites.last().map_or("verify", |suite| suite.name)
    }

    /// Notes something that this run cannot check, or not on this machine.
    pub(super) fn not_covered(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        let (what, reason) = (what.into(), reason.into());
        self.print(format!("  {} {what}: {reason}", "not covered".yellow()));
        self.not_covered.push(NotCovered { suite: self.suite(), what, reason });
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
        let seconds = started.elapsed().as_secs_f64();
        let (failure, detail) = match outcome {
            Ok(Ok(detail)) => (None, detail),
            Ok(Err(failure)) if failure.is::<Difference>() => (Some(Kind::Difference), failure.to_string()),
            Ok(Err(failure)) => (Some(Kind::Error), failure.to_string()),
            Err(panic) => (Some(Kind::Panic), format!("panicked: {}", message(&*panic))),
        };
        let failed = usize::from(failure.is_some());
        self.record(Check { name: name.into(), passed: 1 - failed, failed, failure, detail, seconds });
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
    /// If nothing has run, or a selection has selected nothing: that must not pass for success.
    pub(super) fn finish(self) -> Result<RunResult, Failure> {
        let sum = |of: fn(&SuiteResult) -> usize| self.suites.iter().map(of).sum();
        let (passed, failed) = (sum(|suite| suite.passed), sum(|suite| suite.failed));
        if let Some(index) = self.selected.iter().position(|selected| !selected) {
            let Selection { suite, text } = &self.only[index];
            let there = self.offered.iter().filter(|(of, _)| of == suite).map(|(_, name)| name.as_str());
            let there: Vec<&str> = there.collect();
            let there = there.join(", ");
            return Err(format!("no check of the suite {suite} contains '{text}'; there are: {there}").into());
        }
        if passed + failed == 0 {
            return Err("nothing was checked".into());
        }
        let seconds = self.started.elapsed().as_secs_f64();
        self.print(format!("\n{}", self.table(passed, failed, seconds)));
        for suite in &self.suites {
            for check in suite.checks.iter().filter(|check| check.failed > 0) {
                let reason = check.detail.lines().next().unwrap_or_default();
                self.print(format!("{} {}/{}: {reason}", "FAIL".red().bold(), suite.name, check.name));
            }
        }
        for NotCovered { suite, what, reason } in &self.not_covered {
            self.print(format!("{} {suite}/{what}: {reason}", "not covered".yellow()));
        }
        let not_covered = self.not_covered.len();
        self.print(format!("{passed} passed, {failed} failed, {not_covered} not covered"));
        Ok(RunResult { passed, failed, seconds, suites: self.suites, not_covered: self.not_covered })
    }

    fn table(&self, passed: usize, failed: usize, seconds: f64) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["suite", "passed", "failed", "not covered", "seconds"]);
        let not_covered = |name: &str| self.not_covered.iter().filter(|item| item.suite == name).count();
        let suites = self
            .suites
            .iter()
            .map(|suite| (suite.name, suite.passed, suite.failed, not_covered(suite.name), suite.seconds));
        let all = ("all", passed, failed, self.not_covered.len(), seconds);
        for (name, passed, failed, not_covered, seconds) in suites.chain([all]) {
            let numbers = [passed, failed, not_covered].map(|number| number.to_string());
            let [passed, failed, not_covered] = numbers.each_ref().map(String::as_str);
            table.add_row([name, passed, failed, not_covered, &format!("{seconds:.1}")]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{SUITES, Selection};

    fn recorder(only: &[&str]) -> Recorder {
        let only = only.iter().map(|text| Selection { suite: SUITES[0].name, text: (*text).to_owned() });
        let mut recorder = Recorder::new(only.collect(), true);
        assert!(recorder.begin(&SUITES[0]));
        recorder
    }

    #[test]
    fn a_selection_that_selects_nothing_is_an_error() {
        for (only, error) in
            [(&["one"][..], None), (&["one", "typo"], Some("'typo'")), (&["typo"], Some("one"))]
        {
            let mut recorder = recorder(only);
            recorder.check("one", || Ok(String::new()));
            let message = recorder.finish().err().map(|error| error.to_string());
            assert_eq!(message.is_some(), error.is_some(), "{message:?}");
            assert!(message.unwrap_or_default().contains(error.unwrap_or_default()));
        }
        assert!(recorder(&[]).finish().is_err(), "nothing has run");
    }

    #[test]
    fn failures_say_in_which_way() {
        let mut recorder = recorder(&[]);
        recorder.check("difference", || Err(Difference("1 is not 2".into()).into()));
        recorder.check("error", || Err("no such file".into()));
        recorder.check("panic", || panic!("index"));
        let kinds = [Kind::Difference, Kind::Error, Kind::Panic].map(Some);
        assert_eq!(recorder.suites[0].checks.iter().map(|check| check.failure).collect::<Vec<_>>(), kinds);
    }

    #[test]
    fn what_is_not_covered_is_listed_and_has_not_passed() {
        let mut recorder = recorder(&[]);
        recorder.check("one", || Ok(String::new()));
        recorder.not_covered("another", "no data");
        let result = serde_json::to_value(recorder.finish().unwrap()).unwrap();
        assert_eq!((&result["passed"], &result["not_covered"][0]["reason"]), (&1.into(), &"no data".into()));
    }
}
