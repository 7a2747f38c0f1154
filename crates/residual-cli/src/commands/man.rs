//! `residual man`.

use std::{fs, path::PathBuf};

use clap::CommandFactory;

use crate::{
    Cli,
    error::{Error, Result},
    output,
};

/// Write manual pages, one for each command.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual man ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The folder to write them to; it is made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let folder = &args.folder;
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|source| Error::Write { path: folder.clone(), source })?;
    output::note(format_args!("manual pages written to {}", folder.display()));
    Ok(())
}
