//! `residual completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Cli, error::Result, output};

/// Print a script with which a shell completes commands and options.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual completions bash > ~/.local/share/bash-completion/completions/residual
  residual completions zsh > ~/.zfunc/_residual
  residual completions fish > ~/.config/fish/completions/residual.fish")]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), env!("CARGO_BIN_NAME"), &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_gets_a_script_with_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "residual", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("inspect") && script.contains("stats"), "{shell}");
        }
    }
}
