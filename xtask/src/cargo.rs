//! Running cargo, and reading what it says as it says it.

use std::{
    env,
    io::{self, BufRead, BufReader},
    path::Path,
    process::Command,
};

/// Runs cargo in `root` and shows every line of both its streams, in the order in which they
/// were written, to `line`. Gives whether it succeeded.
///
/// # Errors
/// If cargo cannot be started.
pub(crate) fn run(
    root: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
    mut line: impl FnMut(&str),
) -> io::Result<bool> {
    let (reader, writer) = io::pipe()?;
    let mut child = {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(root).args(arguments).envs(variables.iter().copied());
        command.stdout(writer.try_clone()?).stderr(writer).spawn()?
    }; // The command is gone, and with it our ends of the pipe that would keep it open.
    for text in BufReader::new(reader).split(b'\n') {
        line(String::from_utf8_lossy(&text?).trim_end_matches('\r'));
    }
    Ok(child.wait()?.success())
}
