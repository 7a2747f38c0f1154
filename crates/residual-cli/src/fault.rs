//! What the command says when it panics, which is a fault of the program and never of its user:
//! one line that asks for a report. Errors that have a cause outside of the program are in
//! `error`.

use std::{
    env,
    panic::{self, PanicHookInfo},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::output;

/// The exit code after a panic, the same as that of every Rust program.
pub(crate) const EXIT_CODE: u8 = 101;

/// Runs the command. The first panic of any of its threads becomes one line on standard error, and
/// [`EXIT_CODE`]; later ones, which follow from it, stay silent. With `RUST_BACKTRACE` set, what
/// Rust itself prints comes before that line.
pub(crate) fn caught(command: impl FnOnce() -> ExitCode + panic::UnwindSafe) -> ExitCode {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let verbose = env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    let rust = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if verbose {
            rust(info);
        }
        if !PANICKED.swap(true, Ordering::SeqCst) {
            output::error(&report(info));
        }
    }));
    let ended = panic::catch_unwind(command);
    match ended {
        // A thread that nobody waits for may have failed while the command went on.
        Ok(code) if !PANICKED.load(Ordering::SeqCst) => code,
        _ => ExitCode::from(EXIT_CODE),
    }
}

/// What happened, where, and what to do about it, in one line.
fn report(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload().downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| info.payload().downcast_ref::<&str>().copied());
    let what = text.unwrap_or("a panic without a message");
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let place = info.location().map(|place| format!(" ({place})")).unwrap_or_default();
    format!(
        "internal fault of residual {}: {what}{place}; please report this with the command line and the file that caused it",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use super::*;

    /// Says to a test that it is to panic, in a process of its own.
    const PANICS: &str = "TEST_THAT_PANICS";

    /// Not a test by itself: what the test below runs.
    #[test]
    fn a_command_that_panics() {
        let Ok(how) = env::var(PANICS) else { return };
        let code = caught(move || {
            let thread = thread::spawn(|| panic!("a shape\nthat [{}] cannot be", 7));
            match how.as_str() {
                "joined" => thread.join().map(|()| ExitCode::SUCCESS).expect("the thread"),
                _ => {
                    let _ = thread.join();
                    ExitCode::SUCCESS
                }
            }
        });
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(EXIT_CODE)));
    }

    /// Standard error of the test above.
    fn said(how: &str, backtrace: &str) -> String {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "fault::tests::a_command_that_panics", "--nocapture"]);
        let output = command.env(PANICS, how).env("RUST_BACKTRACE", backtrace).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }

    #[test]
    fn a_panic_is_one_line_that_asks_for_a_report() {
        for how in ["joined", "alone"] {
            let said = said(how, "0");
            assert_eq!(said.lines().count(), 1, "{said}");
            let start = concat!("error: internal fault of residual ", env!("CARGO_PKG_VERSION"), ": ");
            assert!(said.starts_with(&format!("{start}a shape that [7] cannot be (")), "{said}");
            assert!(said.contains("fault.rs:") && said.contains("please report this"), "{said}");
        }
        let verbose = said("joined", "1");
        assert!(verbose.contains("stack backtrace:") && verbose.contains("please report this"), "{verbose}");
    }
}
