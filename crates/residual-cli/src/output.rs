//! What is printed: results to standard output, the rest to standard error. A reader that closes
//! the pipe ends the program quietly.

use std::{
    fmt::Display,
    io::{self, Write},
};

use comfy_table::{CellAlignment, Table, presets};
use owo_colors::OwoColorize;
use serde::Serialize;

/// Prints a line of the result.
pub(crate) fn line(text: impl Display) {
    if writeln!(anstream::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints the result as one JSON object.
pub(crate) fn json(value: &impl Serialize) {
    line(serde_json::to_string(value).expect("names, numbers and lists"));
}

/// Tells something that is not part of the result.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Tells that something is not as it should be.
pub(crate) fn warning(text: impl Display) {
    note(format_args!("{} {text}", "warning:".yellow().bold()));
}

/// Says why the command failed.
pub(crate) fn error(error: &impl Display) {
    let _ = io::stdout().flush();
    note(format_args!("{} {error}", "error:".red().bold()));
}

/// A table whose first `left` columns are text and whose other columns are numbers.
pub(crate) fn table(header: &[&str], left: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
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
    let digits = count.try_into().unwrap_or(u64::MAX).to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(",")
}

/// Bytes in the unit that suits them.
pub(crate) fn bytes(bytes: usize) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.1} MiB") } else { format!("{:.2} GiB", mebibytes / 1024.0) }
}

/// Seconds as a person says them.
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
        assert_eq!(bytes(3 << 20), "3.0 MiB");
    }

    #[test]
    fn tables_have_no_trailing_space() {
        let drawn = table(&["a", "b"], 1, [vec!["x".into(), "10".into()], vec!["long".into(), "9".into()]]);
        assert!(drawn.lines().skip(1).all(|line| line == line.trim_end()), "{drawn:?}");
        assert!(drawn.ends_with("x     10\nlong   9"), "{drawn:?}");
    }
}
