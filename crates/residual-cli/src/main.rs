//! The `residual` command: trains, evaluates and uses residual networks. What it does is done by
//! the libraries; here are arguments, tables, bars and exit codes.

#![forbid(unsafe_code)]

mod commands;
mod dashboard;
#[cfg(test)]
#[path = "../tests/documented/mod.rs"]
mod documented;
mod error;
mod fault;
mod log;
mod output;
mod process;
mod progress;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    commands::*,
    error::Result,
    output::{Color, Manner, Progress},
    settings::Settings,
};

const OUTPUT: &str = "Output";

/// Train, evaluate and use residual networks.
#[derive(Parser)]
#[command(name = "residual", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Begin with `residual train`: it needs no data and no options.

Options override environment variables (RESIDUAL_THREADS, RESIDUAL_COLOR, RESIDUAL_RUNS, RESIDUAL_DATA), \
which override residual.toml in the current folder, which overrides residual/config.toml in your folder for \
settings, such as ~/.config (RESIDUAL_CONFIG names another file).")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object instead of tables; progress goes to standard error.
    #[arg(long, global = true, help_heading = OUTPUT)]
    json: bool,
    /// Print only the result, warnings and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = OUTPUT)]
    quiet: bool,
    /// Print messages of the libraries; -vv: all of them (RESIDUAL_LOG chooses, as in
    /// residual_weights=trace).
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = OUTPUT)]
    verbose: u8,
    /// When to color [default: auto: on a terminal, unless NO_COLOR is set].
    #[arg(long, global = true, value_name = "WHEN", help_heading = OUTPUT)]
    color: Option<Color>,
    /// How to report progress on standard error [default: bar].
    #[arg(long, global = true, value_name = "HOW", help_heading = OUTPUT)]
    progress: Option<Progress>,
    /// Number of threads [default: all cores]. Results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<train::Args>),
    Recipes(recipes::Args),
    Eval(eval::Args),
    Compare(compare::Args),
    Predict(predict::Args),
    Explain(explain::Args),
    Summary(summary::Args),
    Data(data::Args),
    Run(run::Args),
    Convert(convert::Args),
    Inspect(inspect::Args),
    Bench(bench::Args),
    Experiment(experiment::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// What all commands are told.
struct Context {
    json: bool,
    threads: Option<usize>,
    settings: Settings,
}

impl Context {
    /// Sets the number of threads for the whole process.
    fn use_threads(&self) {
        // Zero means all cores; and there is no pool yet that this could fail on.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(self.threads.unwrap_or(0)).build_global();
    }
}

fn main() -> ExitCode {
    fault::caught(command)
}

fn command() -> ExitCode {
    let cli = Cli::parse();
    log::init(cli.verbose);
    match begin(&cli).and_then(|context| run(cli.command, &context)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Settles what holds for every command.
fn begin(cli: &Cli) -> Result<Context> {
    let manner = Manner { quiet: cli.quiet, progress: cli.progress.unwrap_or_default() };
    output::settle(manner, cli.color.unwrap_or_default());
    let settings = Settings::load()?;
    if let (None, Some(color)) = (cli.color, settings.color) {
        output::settle(manner, color);
    }
    let threads = cli.threads.or(settings.threads).map(usize::from);
    let context = Context { json: cli.json, threads, settings };
    context.use_threads();
    Ok(context)
}

fn run(command: Command, context: &Context) -> Result<()> {
    residual_kernels::check_environment()?;
    match command {
        Command::Train(args) => train::run(*args, context),
        Command::Recipes(args) => recipes::run(args, context),
        Command::Eval(args) => eval::run(args, context),
        Command::Compare(args) => compare::run(args, context),
        Command::Predict(args) => predict::run(args, context),
        Command::Explain(args) => explain::run(args, context),
        Command::Summary(args) => summary::run(args, context),
        Command::Data(args) => data::run(args, context),
        Command::Run(args) => run::run(args, context),
        Command::Convert(args) => convert::run(args, context),
        Command::Inspect(args) => inspect::run(args, context),
        Command::Bench(args) => bench::run(args, context),
        Command::Experiment(args) => experiment::run(args, context),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_they_are_understood() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> =
                help.replace("\\\n", " ").lines().filter_map(documented::command).collect();
            assert!(!examples.is_empty(), "{}", command.get_name());
            examples.into_iter().for_each(|words| is_understood("--help", words));
        }
    }

    #[test]
    fn what_the_documentation_has_you_type_is_understood() {
        let commands = documented::commands();
        assert!(commands.len() > 15, "{commands:?}");
        commands.into_iter().for_each(|(place, words)| is_understood(&place, words));
    }

    fn is_understood(place: &str, words: Vec<String>) {
        let line = words.join(" ");
        let parsed = Cli::try_parse_from(std::iter::once("residual".to_owned()).chain(words));
        if let Err(error) = parsed {
            panic!("{place}: residual {line}: {error}");
        }
    }
}
