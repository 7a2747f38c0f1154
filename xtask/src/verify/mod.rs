//! `cargo xtask verify`: every check behind one command. What is checked is in the suites; this
//! file knows which there are, runs them and says how they ended.

mod algorithms;
mod child;
mod corpus;
mod determinism;
mod facts;
mod fused;
mod gradcheck;
mod infer;
mod instruction_sets;
mod layering;
mod models;
mod numbers;
mod parity;
mod publishing;
mod recorder;
mod report;
mod self_test;
mod shapes;
mod style;
mod tree;
mod unit;

use std::{fmt, path::PathBuf, str::FromStr};

use crate::Failure;
use recorder::Recorder;

/// What a check ends with: what was seen, in one line, or why it failed. A [`Difference`] says that
/// the check did its work and found a fault; any other failure, that it could not do its work.
type Outcome = Result<String, Failure>;

/// Two things that were held against each other and are not the same.
#[derive(Debug)]
struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Difference {}

impl Difference {
    /// The failure of a check that found this difference.
    fn found(text: impl Into<String>) -> Failure {
        Self(text.into()).into()
    }
}

/// What to check, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only these suites, and of a suite only the checks whose name contains TEXT
    #[arg(long, value_name = "SUITE[/TEXT]", value_delimiter = ',')]
    only: Vec<Selection>,
    /// Print one JSON object on stdout, and progress on stderr
    #[arg(long)]
    json: bool,
    /// Compare with the files of this folder in `parity` [default: the project's own]
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
    /// Write what happened as a page
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Random samples of each operation and layer in `gradcheck`
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..))]
    samples: u64,
}

/// What suites need to know.
struct Settings {
    /// Where the workspace is.
    root: PathBuf,
    /// The folder with files to compare with, if not the project's own.
    fixtures: Option<PathBuf>,
    /// Random samples of each operation and layer.
    samples: u64,
}

/// A group of checks with an owner's view of the project.
struct Suite {
    name: &'static str,
    about: &'static str,
    run: fn(&Settings, &mut Recorder) -> Result<(), Failure>,
}

/// All suites, in the order in which they run: the cheapest first.
const SUITES: &[Suite] = &[
    Suite { name: "layering", about: "crates depend on crates of lower layers only", run: layering::run },
    Suite { name: "style", about: "formatting, lints, documentation, house rules", run: style::run },
    Suite { name: "publishing", about: "manifests, packages, licenses, dependencies", run: publishing::run },
    Suite { name: "facts", about: "published numbers, computed from real networks", run: facts::run },
    Suite { name: "gradcheck", about: "gradients against difference quotients, in f64", run: gradcheck::run },
    Suite { name: "shapes", about: "shapes worked out against shapes of real runs", run: shapes::run },
    Suite { name: "parity", about: "what PyTorch computes, in f64 and f32", run: parity::run },
    Suite {
        name: "algorithms",
        about: "convolution algorithms against the definition",
        run: algorithms::run,
    },
    Suite { name: "fused", about: "training and compiled networks against plain loops", run: fused::run },
    Suite { name: "infer", about: "compiled networks: PyTorch, threads, NaN, sessions", run: infer::run },
    Suite { name: "determinism", about: "same seed, same bits: threads, resume", run: determinism::run },
    Suite { name: "corpus", about: "inputs that fuzzing has kept, run again", run: corpus::run },
    Suite { name: "models", about: "the threads' protocol, by a model checker", run: models::run },
    Suite { name: "unit", about: "unit, integration and documentation tests", run: unit::run },
    Suite { name: "self-test", about: "faults are planted, and must be noticed", run: self_test::run },
];

/// The list of suites, for `--help`.
pub(crate) fn suites_help() -> String {
    let width = SUITES.iter().map(|suite| suite.name.len()).max().unwrap_or(0);
    let lines = SUITES.iter().map(|suite| format!("  {:width$}  {}\n", suite.name, suite.about));
    format!("Suites:\n{}", lines.collect::<String>())
}

/// `SUITE` or `SUITE/TEXT`.
#[derive(Clone)]
struct Selection {
    suite: &'static str,
    text: String,
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(argument: &str) -> Result<Self, String> {
        let (name, text) = argument.split_once('/').unwrap_or((argument, ""));
        let Some(suite) = SUITES.iter().find(|suite| suite.name == name) else {
            let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
            return Err(format!("there is no suite '{name}', but {}", names.join(", ")));
        };
        Ok(Self { suite: suite.name, text: text.to_owned() })
    }
}

/// Runs what is selected. Gives whether everything passed.
pub(crate) fn run(root: PathBuf, options: Options) -> Result<bool, Failure> {
    let Options { only, json, fixtures, report, samples } = options;
    let settings = Settings { root, fixtures, samples };
    let mut recorder = Recorder::new(only, json);
    if cfg!(debug_assertions) {
        recorder.not_covered("an optimised build", "this program is none; `cargo xtask verify` builds one");
    }
    for suite in SUITES {
        if recorder.begin(suite)
            && let Err(failure) = (suite.run)(&settings, &mut recorder)
        {
            recorder.require("the suite itself", || Err(failure));
        }
    }
    let result = recorder.finish()?;
    if json {
        anstream::println!("{}", serde_json::to_string(&result)?);
    }
    if let Some(path) = report {
        report::write(&path, &result)?;
    }
    Ok(result.failed == 0)
}
