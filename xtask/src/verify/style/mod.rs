//! Formatting, lints and documentation by cargo's tools, and the rules of the house by reading
//! the sources.

mod rules;

use std::{fs, path::Path};

use super::{Difference, Failure, Outcome, Settings, recorder::Recorder, tree};
use crate::cargo;

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    let sources = sources(&settings.root)?;
    for (name, rule) in rules::ALL {
        recorder.check(*name, || {
            let offences: Vec<String> = sources.iter().flat_map(rule).collect();
            if offences.is_empty() { Ok(String::new()) } else { Err(Difference::found(offences.join("\n"))) }
        });
    }
    let cargo = |arguments: &[&str], variables: &[(&str, &str)]| -> Outcome {
        let mut lines = Vec::new();
        let passed = cargo::run(&settings.root, arguments, variables, |line| lines.push(line.to_owned()))?;
        if passed { Ok(String::new()) } else { Err(lines.join("\n").into()) }
    };
    recorder.check("formatting", || cargo(&["fmt", "--all", "--check"], &[]));
    let clippy = ["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    recorder.check("lints", || cargo(&clippy, &[]));
    let doc = ["doc", "--quiet", "--locked", "--workspace", "--no-deps"];
    recorder.check("documentation", || cargo(&doc, &[("RUSTDOCFLAGS", "-D warnings")]));
    Ok(())
}

/// A text file of the workspace.
struct Source {
    /// Where it is in the workspace.
    path: String,
    text: String,
}

fn sources(root: &Path) -> Result<Vec<Source>, Failure> {
    const TEXT: [&str; 9] = ["rs", "toml", "md", "html", "py", "sh", "yml", "yaml", "run"];
    let mut paths = tree::files(root)?;
    paths.retain(|path| TEXT.iter().any(|kind| path.rsplit(['.', '/']).next() == Some(kind)));
    let read = |path: String| Ok(Source { text: fs::read_to_string(root.join(&path))?, path });
    paths.into_iter().map(read).collect()
}
