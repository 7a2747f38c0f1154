//! The `residual` command: trains, evaluates and uses residual networks. What it does is done by
//! the libraries; here are arguments, tables, bars and exit codes.

#![forbid(unsafe_code)]

mod commands;
mod error;
mod fault;
mod output;
mod process;
mod progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{commands::*, error::Result};

/// Train, evaluate and use residual networks.
#[derive(Parser)]
#[command(name = "residual", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Begin with `residual train`: it needs no data and no options.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object instead of tables; progress goes to standard error.
    #[arg(long, global = true)]
    json: bool,
    /// Threads that compute [default: all cores]. Results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Args),
    Eval(eval::Args),
    Predict(predict::Args),
    Summary(summary::Args),
    Data(data::Args),
    Run(run::Args),
    Convert(convert::Args),
    Bench(bench::Args),
}

/// What all commands are told.
struct Context {
    json: bool,
    threads: Option<usize>,
}

impl Context {
    /// Sets the number of threads for the whole process.
    fn use_threads(&self, threads: Option<usize>) {
        // Zero means all cores; and there is no pool yet that this could fail on.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build_global();
    }
}

fn main() -> ExitCode {
    fault::caught(command)
}

fn command() -> ExitCode {
    let cli = Cli::parse();
    let context = Context { json: cli.json, threads: cli.threads.map(usize::from) };
    if !matches!(cli.command, Command::Train(_)) {
        context.use_threads(context.threads);
    }
    match run(cli.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command, context: &Context) -> Result<()> {
    residual_kernels::check_environment()?;
    match command {
        Command::Train(args) => train::run(args, context),
        Command::Eval(args) => eval::run(args, context),
        Command::Predict(args) => predict::run(args, context),
        Command::Summary(args) => summary::run(args, context),
        Command::Data(args) => data::run(args, context),
        Command::Run(args) => run::run(args, context),
        Command::Convert(args) => convert::run(args, context),
        Command::Bench(args) => bench::run(args, context),
    }
}
