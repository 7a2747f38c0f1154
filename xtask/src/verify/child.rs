//! `verify` in another process: of another program, or under another environment.

use std::{path::Path, process::Command};

use serde_json::Value;

use super::Failure;

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

/// The first check that failed, with its reason.
pub(super) fn first_failure(result: &Value) -> Option<String> {
    let suites = result["suites"].as_array()?.iter();
    let mut checks = suites.flat_map(|suite| {
        let checks = suite["checks"].as_array().into_iter().flatten();
        checks.map(move |check| (suite["name"].as_str().unwrap_or_default(), check))
    });
    let (suite, check) = checks.find(|(_, check)| check["failed"] != 0)?;
    let text = |key: &str| check[key].as_str().unwrap_or_default();
    let reason = text("detail").lines().next().unwrap_or_default();
    Some(format!("{suite}, {}: {reason}", text("name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_found_in_json() {
        let result = serde_json::json!({"suites": [
            {"name": "facts", "checks": [{"name": "a", "failed": 0, "detail": ""}]},
            {"name": "style", "checks": [{"name": "b", "failed": 2, "detail": "why\nmore"}]},
        ]});
        assert_eq!(first_failure(&result).unwrap(), "style, b: why");
        assert_eq!(first_failure(&serde_json::json!({"suites": []})), None);
    }
}
