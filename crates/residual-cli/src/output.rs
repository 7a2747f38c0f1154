//! What is printed: results to standard output, the rest to standard error. A reader that closes
//! the pipe ends the program quietly.

use std::{
    fmt::Display,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use owo_colors::OwoColorize;
use residual_weights::shown;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

/// When output is colored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR or CLICOLOR=0 is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// How progress is told, on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, and lines of text.
    #[default]
    Bar,
    /// A JSON object in each line, also for warnings and errors.
    Json,
    /// Lines of text, and no bar.
    None,
}

/// How everything but the result is told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Warnings and errors only.
    pub(crate) quiet: bool,
    pub(crate) progress: Progress,
}

static MANNER: OnceLock<Manner> = OnceLock::new();

/// Settles how everything is told, once.
pub(crate) fn settle(manner: Manner, color: Color) {
    let _ = MANNER.set(manner);
    match color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
}

/// How everything is told.
pub(crate) fn manner() -> Manner {
    MANNER.get().copied().unwrap_or_default()
}

/// Prints a line of the result. Who reads it may have seen enough; whatever else keeps it from being written is an
/// error.
pub(crate) fn line(text: impl Display) {
    let Err(refused) = writeln!(anstream::stdout(), "{text}") else { return };
    if refused.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    error(&format_args!("the result cannot be written: {refused}"));
    std::process::exit(1);
}

/// Prints the result as one JSON object.
pub(crate) fn json(value: &impl Serialize) {
    line(serde_json::to_string(value).expect("names, numbers and lists"));
}

/// A path in JSON, which cannot hold what is not Unicode in it: that is replaced.
pub(crate) fn path_as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.to_string_lossy())
}

/// Several [such paths](path_as_text).
pub(crate) fn paths_as_text<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// Tells something that is not part of the result.
pub(crate) fn note(text: impl Display) {
    if !manner().quiet {
        tell("note", None, text);
    }
}

/// Tells that something is not as it should be.
pub(crate) fn warning(text: impl Display) {
    tell("warning", Some("warning:".yellow().bold().to_string()), text);
}

/// Says why the command failed.
pub(crate) fn error(error: &impl Display) {
    let _ = io::stdout().flush();
    tell("error", Some("error:".red().bold().to_string()), error);
}

/// A line of text after its mark, or an event that holds the text.
fn tell(event: &str, mark: Option<String>, text: impl Display) {
    if manner().progress == Progress::Json {
        let text = anstream::adapter::strip_str(&text.to_string()).to_string();
        return self::event(&json!({ "event": event, "text": text }));
    }
    let mark = mark.map(|mark| mark + " ").unwrap_or_default();
    let _ = writeln!(anstream::stderr(), "{mark}{}", harmless(&text.to_string()));
}

/// A text in which a terminal obeys nothing but colors and new lines: names of files may hold anything.
fn harmless(text: &str) -> String {
    let is_color = |rest: &str| {
        let codes = rest.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once('m'));
        codes.is_some_and(|(codes, _)| codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'))
    };
    let mut out = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        match character {
            '\n' => out.push(character),
            '\u{1b}' if is_color(&text[at..]) => out.push(character),
            control if control.is_control() => out.extend(control.escape_debug()),
            usual => out.push(usual),
        }
    }
    out
}

/// A JSON object on standard error: something that has happened.
pub(crate) fn event(event: &serde_json::Value) {
    let _ = writeln!(io::stderr(), "{event}");
}

/// A table whose first `left` columns are text and whose other columns are numbers. What comes from files, such
/// as names, may hold anything; what a terminal would obey is shown as escapes.
pub(crate) fn table(header: &[&str], left: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(|text| shown(text)));
    for row in rows {
        table.add_row(row.iter().map(|text| shown(text)));
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if number >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    let (header, rows) = text.split_once('\n').unwrap_or((&text, ""));
    let rows: Vec<&str> = rows.lines().map(str::trim_end).collect();
    format!("{}\n{}", header.trim_end().bold(), rows.join("\n"))
}

/// A fraction as a percentage.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// A count with its thousands set apart.
pub(crate) fn thousands(count: impl TryInto<u64>) -> String {
    HumanCount(count.try_into().unwrap_or(u64::MAX)).to_string()
}

/// Bytes in the unit that suits them.
pub(crate) fn bytes(bytes: impl TryInto<u64>) -> String {
    HumanBytes(bytes.try_into().unwrap_or(u64::MAX)).to_string()
}

/// Seconds in at most two units; those of `indicatif` are one unit, or clock time.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 25_557_032].map(thousands), ["0", "999", "1,000", "25,557,032"]);
        assert_eq!(
            [0.34, 59.9, 61.0, 7322.0].map(duration),
            ["0.3 s", "1 min 00 s", "1 min 01 s", "2 h 02 min"]
        );
        assert_eq!([12u64, 3 << 20, 5 << 29].map(bytes), ["12 B", "3.00 MiB", "2.50 GiB"]);
    }

    #[test]
    fn tables_have_no_trailing_space() {
        let drawn = table(&["a", "b"], 1, [vec!["x".into(), "10".into()], vec!["long".into(), "9".into()]]);
        assert!(drawn.lines().skip(1).all(|line| line == line.trim_end()), "{drawn:?}");
        assert!(drawn.ends_with("x     10\nlong   9"), "{drawn:?}");
    }

    #[test]
    fn messages_color_the_terminal_and_command_nothing_else() {
        let told = harmless("\u{1b}[1;31mbold\u{1b}[0m cat\u{1b}[2J\u{7}\nnext ü");
        assert_eq!(told, "\u{1b}[1;31mbold\u{1b}[0m cat\\u{1b}[2J\\u{7}\nnext ü");
    }

    #[test]
    fn tables_do_not_command_the_terminal() {
        let name = "cat\x1b[2J\u{202e}\nünü";
        let drawn = table(&["is", name], 1, [vec![name.into(), "1".into()]]);
        let drawn = anstream::adapter::strip_str(&drawn).to_string(); // the header is bold
        assert_eq!(drawn.matches(r"cat\u{1b}[2J\u{202e}\nünü").count(), 2, "{drawn:?}");
        assert!(!drawn.contains(['\x1b', '\u{202e}']) && drawn.lines().count() == 2, "{drawn:?}");
    }
}
