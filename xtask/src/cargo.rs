//! Running cargo, and reading what it says as it says it.

use std::{
    env,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::Command,
};

use crate::Failure;

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

/// The platform that is compiled on, if rustc can instrument programs for it with sanitizers.
///
/// # Errors
/// If it cannot.
pub(crate) fn sanitized_host() -> Result<String, Failure> {
    const SUPPORTED: [&str; 4] = [
        "x86_64-unknown-linux-gnu",
        "aarch64-unknown-linux-gnu",
        "x86_64-apple-darwin",
        "aarch64-apple-darwin",
    ];
    let host = host()?;
    match SUPPORTED.contains(&host.as_str()) {
        true => Ok(host),
        false => {
            Err(format!("rustc has no sanitizers for {host}; it has them for {}", SUPPORTED.join(", "))
                .into())
        }
    }
}

/// The platform that is compiled on.
///
/// # Errors
/// If rustc cannot be started.
pub(crate) fn host() -> io::Result<String> {
    let said = rustc(&["-vV"])?;
    Ok(said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned())
}

/// Where the compiler's own files are.
///
/// # Errors
/// If rustc cannot be started.
pub(crate) fn sysroot() -> io::Result<PathBuf> {
    Ok(rustc(&["--print", "sysroot"])?.trim().into())
}

/// What rustc prints.
fn rustc(arguments: &[&str]) -> io::Result<String> {
    let program = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(program).args(arguments).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
