//! Upkeep of the workspace, as `cargo xtask COMMAND`. Nothing here is published.
#![forbid(unsafe_code)]

mod bench;
mod cargo;
mod fuzz;
mod sanitize;
mod verify;

use std::{env, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "Upkeep of the residual workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks everything that the project promises
    #[command(after_help = verify::suites_help())]
    Verify(verify::Options),
    /// Measures this project, the machine, and peers that are installed, in turns in one run
    Bench(bench::Options),
    /// Has libFuzzer find inputs that readers, names, settings and geometries do not survive
    #[command(after_help = fuzz::targets_help())]
    Fuzz(fuzz::Options),
    /// Runs tests under the address and thread sanitizers
    Sanitize(sanitize::Options),
}

/// Why a check, a suite or a command failed.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Err(error) = residual_kernels::check_environment() {
        anstream::eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    let outcome = workspace_root().and_then(|root| match command {
        Command::Verify(options) => verify::run(root, options),
        Command::Bench(options) => bench::run(root, options).map(|()| true),
        Command::Fuzz(options) => fuzz::run(&root, &options),
        Command::Sanitize(options) => sanitize::run(&root, &options),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The nearest folder upwards from here that this package is in. Not the folder that the
/// program was built in: the self-test runs it on a copy of the workspace.
fn workspace_root() -> Result<PathBuf, Failure> {
    let here = env::current_dir()?;
    let root = here.ancestors().find(|folder| folder.join("xtask/Cargo.toml").exists());
    Ok(root.ok_or("run this inside of the residual workspace")?.to_owned())
}
