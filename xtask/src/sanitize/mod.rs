//! `cargo xtask sanitize`: unit and integration tests, optimized and instrumented by rustc's
//! sanitizers. The address sanitizer sees what unsafe code reads and writes outside of its memory,
//! the thread sanitizer what two threads touch without agreeing on an order. A test program that
//! has not ended after some minutes is stopped, and has failed.
//!
//! The standard library comes without instrumentation. The address sanitizer does not mind. The
//! thread sanitizer does not see how its locks and threads order accesses, and takes nearly
//! everything for a race; for it, the standard library is compiled, too.
//!
//! Not here: documentation tests, which are small and build for long.

mod program;

use std::{collections::BTreeMap, path::Path, time::Duration};

use cargo_metadata::Message;
use comfy_table::{CellAlignment, Table, presets};

use crate::{Failure, cargo};
use program::{Ended, Program};

/// What to run under which sanitizer.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Which sanitizers [default: all]
    sanitizers: Vec<Sanitizer>,
    /// Only the tests of these packages [default: those with unsafe code or threads of their own]
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
    /// Minutes after which a test program has failed
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
}

/// Crates with unsafe code, and crates that start threads or divide work among them.
const PACKAGES: [&str; 4] = ["residual-tensor", "residual-kernels", "residual-data", "residual-infer"];

/// A sanitizer of rustc's.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sanitizer {
    /// Memory that is out of bounds, freed, or never freed
    Address,
    /// Data races
    Thread,
}

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Thread => "thread",
        }
    }

    /// What rustc is told.
    fn flags(self) -> &'static str {
        match self {
            Self::Address => "-Zsanitizer=address -Cforce-frame-pointers=yes",
            Self::Thread => "-Zsanitizer=thread -Cforce-frame-pointers=yes",
        }
    }

    /// What the sanitizer itself is told.
    fn variable(self) -> (&'static str, &'static str) {
        // Tests ask for more memory than there is, and expect to be refused.
        match self {
            Self::Address => ("ASAN_OPTIONS", "detect_stack_use_after_return=1:allocator_may_return_null=1"),
            Self::Thread => ("TSAN_OPTIONS", "second_deadlock_stack=1:allocator_may_return_null=1"),
        }
    }
}

/// Runs what is selected. Gives whether all of it passed.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool, Failure> {
    let host = cargo::sanitized_host()?;
    let sanitizers = match &options.sanitizers[..] {
        [] => &[Sanitizer::Address, Sanitizer::Thread],
        some => some,
    };
    let sources = cargo::sysroot()?.join("lib/rustlib/src/rust/library/std");
    if sanitizers.contains(&Sanitizer::Thread) && !sources.is_dir() {
        let reason = "the thread sanitizer needs the sources of the standard library; run `rustup component add \
                      rust-src`, or `cargo xtask sanitize address` without them";
        return Err(reason.into());
    }
    let packages: Vec<&str> = match &options.package[..] {
        [] => PACKAGES.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let mut rows = Vec::new();
    for &sanitizer in sanitizers {
        anstream::eprintln!(
            "building tests with the {} sanitizer; the first time takes minutes",
            sanitizer.name()
        );
        for program in build(root, sanitizer, &host, &packages)? {
            anstream::eprint!("{} {}: ", sanitizer.name(), program.name);
            let ended = program.run(sanitizer.variable(), Duration::from_secs(60 * options.minutes))?;
            anstream::eprintln!("{}", ended.outcome());
            ended.failure.iter().for_each(|output| anstream::eprintln!("{output}"));
            rows.push((sanitizer, program.name, ended));
        }
    }
    anstream::println!("{}", table(&rows));
    Ok(rows.iter().all(|(_, _, ended)| ended.failure.is_none()))
}

/// Builds the test programs of these packages.
fn build(root: &Path, sanitizer: Sanitizer, host: &str, packages: &[&str]) -> Result<Vec<Program>, Failure> {
    // With a platform named, even if it is this one, flags are not for build scripts and macros.
    let mut arguments = vec!["test", "--locked", "--release", "--no-run"];
    arguments.extend(["--lib", "--bins", "--tests", "--target", host]);
    arguments.extend(["--message-format", "json-render-diagnostics"]);
    if sanitizer == Sanitizer::Thread {
        arguments.push("-Zbuild-std");
    }
    arguments.extend(packages.iter().flat_map(|package| ["--package", package]));
    // A folder of its own, so that ordinary builds stay as they are.
    let folder = root.join("target/sanitize").join(sanitizer.name());
    let folder = folder.to_str().ok_or("the target folder's name is not Unicode")?;
    let variables =
        [("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", sanitizer.flags()), ("CARGO_TARGET_DIR", folder)];
    let (mut programs, mut rest) = (BTreeMap::new(), Vec::new());
    let built =
        cargo::run(root, &arguments, &variables, |line| match serde_json::from_str::<Message>(line) {
            Ok(Message::CompilerArtifact(artifact)) => {
                let Some(executable) = artifact.executable.filter(|_| artifact.profile.test) else { return };
                let Some(folder) = artifact.manifest_path.parent() else { return };
                let kind = if artifact.target.is_test() { "tests" } else { "unit tests of" };
                let package = folder.file_name().unwrap_or_default();
                let name = format!("{package} {kind} {}", artifact.target.name);
                programs.insert(
                    name.clone(),
                    Program { name, executable: executable.into(), folder: folder.into() },
                );
            }
            Ok(_) => {}
            Err(_) => rest.push(line.to_owned()),
        })?;
    match built {
        true => Ok(programs.into_values().collect()),
        false => Err(rest.join("\n").into()),
    }
}

fn table(rows: &[(Sanitizer, String, Ended)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["sanitizer", "program", "outcome", "passed", "seconds"]);
    for (sanitizer, name, ended) in rows {
        let (passed, seconds) = (ended.passed.to_string(), format!("{:.1}", ended.seconds));
        table.add_row([sanitizer.name(), name, &ended.outcome(), &passed, &seconds]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
