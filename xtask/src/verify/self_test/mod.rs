//! Checks of the checks: faults are planted in a copy of the workspace, one at a time, and the
//! suite that owns each of them has to notice, by a comparison that finds a difference. The faults
//! are data, in `faults.toml`; the copy is built optimised, as what ships.
//!
//! All faults in Rust code are compiled into one program: `FROM` becomes
//! `(if planted("name") { TO } else { FROM })`, and a variable of the environment says which one
//! is committed. One build, instead of one for each fault, and an honest control: the same
//! program passes when none is. Faults in what only the sources show are planted in the text.

mod copy;

use std::{collections::BTreeSet, fs};

use copy::WorkspaceCopy;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Failure, Outcome, Settings,
    child::{self, Failed, first_failure},
    recorder::Recorder,
};

/// Names the fault that a program under test commits.
const VARIABLE: &str = "RESIDUAL_FAULT";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    name: String,
    file: String,
    after: Option<String>,
    from: String,
    to: String,
    caught_by: String,
}

impl Fault {
    /// Whether its suite reads sources, and the fault must be in them.
    fn is_of_sources(&self) -> bool {
        ["layering/", "style/"].iter().any(|suite| self.caught_by.starts_with(suite))
    }

    /// The file with the fault in it.
    fn plant(&self, text: &str) -> Result<String, Failure> {
        let Self { name, file, from, to, .. } = self;
        let lost = |what: &str| format!("'{name}' no longer applies: {what} in {file}; update faults.toml");
        let start = match &self.after {
            Some(after) => {
                text.find(after).ok_or_else(|| lost(&format!("there is no `{after}`")))? + after.len()
            }
            None if text.matches(from.trim()).count() > 1 => {
                return Err(lost("the text is there twice").into());
            }
            None => 0,
        };
        // Text in TOML blocks has a line break at its end, which Rust code does not.
        let (from, to) = if self.is_of_sources() { (&from[..], &to[..]) } else { (from.trim(), to.trim()) };
        let at = text[start..].find(from).ok_or_else(|| lost(&format!("there is no `{from}`")))? + start;
        let (before, behind) = (&text[..at], &text[at + from.len()..]);
        if self.is_of_sources() {
            return Ok(format!("{before}{to}{behind}"));
        }
        Ok(format!("{before}(if residual_tensor::planted({name:?}) {{ {to} }} else {{ {from} }}){behind}"))
    }
}

/// What compiled faults ask before they are committed; in the copy, a part of `residual-tensor`,
/// which every crate with a fault depends on.
const PLANTED: &str = r#"
/// Whether this fault is to be committed.
pub fn planted(fault: &str) -> bool {
    static FAULT: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("RESIDUAL_FAULT").ok());
    FAULT.as_deref() == Some(fault)
}
"#;

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    let Faults { fault: faults } = toml::from_str(include_str!("faults.toml"))?;
    let (of_sources, compiled): (Vec<Fault>, Vec<Fault>) = faults.into_iter().partition(Fault::is_of_sources);
    let copy = WorkspaceCopy::new(&settings.root)?;
    let built = recorder.require("a copy with all faults builds", || {
        copy.sync(&settings.root, |path, mut text| {
            for fault in compiled.iter().filter(|fault| fault.file == path) {
                // A fault that does not apply fails by itself, below.
                text = fault.plant(&text).unwrap_or(text);
            }
            if path == "crates/residual-tensor/src/lib.rs" {
                text += PLANTED;
            }
            text
        })?;
        copy.build()?;
        Ok(format!("{} faults in one program", compiled.len()))
    });
    if !built {
        return Ok(());
    }
    recorder.check("without a fault all pass", || {
        let faults = compiled.iter().chain(&of_sources);
        let checks: BTreeSet<&str> = faults.map(|fault| fault.caught_by.as_str()).collect();
        let result = verify(&copy, &Vec::from_iter(checks).join(","), None)?;
        child::outcome(&result, |result| format!("{} checks", result["passed"]))
    });
    for fault in &compiled {
        recorder.check(&fault.name, || {
            fault.plant(&fs::read_to_string(settings.root.join(&fault.file))?)?;
            caught(fault, &verify(&copy, &fault.caught_by, Some(&fault.name))?)
        });
    }
    for fault in &of_sources {
        recorder.check(&fault.name, || {
            let change = |text: &str| fault.plant(text);
            let result = copy.with_changed(&fault.file, change, || verify(&copy, &fault.caught_by, None))?;
            caught(fault, &result?)
        });
    }
    Ok(())
}

/// Runs `verify` in the copy.
fn verify(copy: &WorkspaceCopy, only: &str, fault: Option<&str>) -> Result<Value, Failure> {
    child::verify(&copy.program(), copy.root(), only, (VARIABLE, fault))
}

/// A fault is caught by a comparison that finds a difference. A check that panics or cannot do its
/// work has compared nothing, and would stop at other faults, too.
fn caught(fault: &Fault, result: &Value) -> Outcome {
    match first_failure(result) {
        Some(Failed { text, by_comparison: true }) => Ok(format!("caught by {text}")),
        Some(Failed { text, .. }) => Err(format!("noticed, but not by a comparison: {text}").into()),
        None => Err(format!("{} did not notice", fault.caught_by).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_count_as_noticing() {
        let ended = |failed: u32, failure: &str| {
            let check = serde_json::json!({"name": "c", "failed": failed, "failure": failure, "detail": "d"});
            let result = serde_json::json!({"suites": [{"name": "s", "checks": [check]}]});
            caught(&fault(None, "a", "facts/"), &result)
        };
        assert!(ended(1, "difference").is_ok());
        for (failed, failure) in [(1, "panic"), (1, "error"), (0, "")] {
            assert!(ended(failed, failure).is_err(), "{failure}");
        }
    }

    fn fault(after: Option<&str>, from: &str, caught_by: &str) -> Fault {
        let (after, from, to) = (after.map(str::to_owned), from.to_owned(), "b".to_owned());
        Fault { name: "f".into(), file: "x.rs".into(), after, from, to, caught_by: caught_by.into() }
    }

    /// Without building anything: the sources that the faults are planted in have moved on if not.
    #[test]
    fn every_fault_of_the_list_applies() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let Faults { fault: faults } = toml::from_str(include_str!("faults.toml")).unwrap();
        for fault in faults {
            fault.plant(&fs::read_to_string(root.join(&fault.file)).unwrap()).unwrap();
        }
    }

    #[test]
    fn faults_are_planted_where_they_are_meant() {
        let planted = |fault: Fault| fault.plant("x(a); y(a);").map_err(|failure| failure.to_string());
        let code = "(if residual_tensor::planted(\"f\") { b } else { a })";
        assert_eq!(planted(fault(Some("y("), "a", "facts/")), Ok(format!("x(a); y({code});")));
        assert_eq!(planted(fault(None, "x(a)", "style/")), Ok("b; y(a);".to_owned()));
        for (after, from, reason) in [(None, "a", "twice"), (None, "c", "no `c`"), (Some("z"), "a", "no `z`")]
        {
            assert!(planted(fault(after, from, "facts/")).unwrap_err().contains(reason));
        }
    }
}
