//! `verify` in another process: of another program, or under another environment.

use std::{path::Path, process::Command};

use serde_json::Value;

use super::{Difference, Failure, Outcome};

/// Runs the selected checks with a variable of the environment set, or not set. Gives the JSON
/// object that they end in, whether they passed or not.
pub(super) fn verify(
    program: &Path,
    folder: &Path,
    only: &str,
    (variable, value): (&str, Option<&str>),
) -> Result<Value, Failure> {
    let mut command = Command::new(program);
    command.current_dir(folder).args(["verify", "--json", "--only", only]);
    match value {
        Some(value) => command.env(variable, value),
        None => command.env_remove(variable),
    };
    let output = command.output()?;
    let cut_off = |_| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("verify ended without a result, {}\n{said}", output.status)
    };
    Ok(serde_json::from_slice(&output.stdout).map_err(cut_off)?)
}

/// A check that failed.
pub(super) struct Failed {
    /// Suite, check and reason, in one line.
    pub(super) text: String,
    /// Whether it had compared something, and found a difference.
    pub(super) by_comparison: bool,
}

/// The first check that failed.
pub(super) fn first_failure(result: &Value) -> Option<Failed> {
    let suites = result["suites"].as_array()?.iter();
    let mut checks = suites.flat_map(|suite| {
        let checks = suite["checks"].as_array().into_iter().flatten();
        checks.map(move |check| (suite["name"].as_str().unwrap_or_default(), check))
    });
    let (suite, check) = checks.find(|(_, check)| check["failed"] != 0)?;
    let text = |key: &str| check[key].as_str().unwrap_or_default();
    let reason = text("detail").lines().next().unwrap_or_default();
    let by_comparison = text("failure") == "difference";
    Some(Failed { text: format!("{suite}, {}: {reason}", text("name")), by_comparison })
}

/// What a child's checks come to as one check of this process: `passed` says in words what passed.
pub(super) fn outcome(result: &Value, passed: impl FnOnce(&Value) -> String) -> Outcome {
    match first_failure(result) {
        None => Ok(passed(result)),
        Some(Failed { text, by_comparison: true }) => Err(Difference::found(text)),
        Some(Failed { text, .. }) => Err(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_found_in_json() {
        let result = serde_json::json!({"suites": [
            {"name": "facts", "checks": [{"name": "a", "failed": 0, "detail": ""}]},
            {"name": "style", "checks": [
                {"name": "b", "failed": 2, "detail": "why\nmore", "failure": "difference"},
            ]},
        ]});
        let failed = first_failure(&result).unwrap();
        assert_eq!((&*failed.text, failed.by_comparison), ("style, b: why", true));
        assert!(first_failure(&serde_json::json!({"suites": []})).is_none());
    }
}
