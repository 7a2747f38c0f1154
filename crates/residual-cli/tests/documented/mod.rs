//! The command lines in the project's documentation: those in code blocks, with what belongs to a
//! shell (comments, redirections, continued lines) taken off.

use std::{fs, path::Path};

/// The folders, from this crate, whose Markdown files are read.
const FOLDERS: [&str; 4] = ["../..", "../../docs", ".", "../residual-weights"];

/// Each `residual …` or `cargo run --release -- …` with its place, as words without the program.
pub(crate) fn commands() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).expect("a text");
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.extend(commands_in(&text).into_iter().map(|words| (name.clone(), words)));
            }
        }
    }
    found
}

/// The command lines in code blocks of Markdown.
fn commands_in(text: &str) -> Vec<Vec<String>> {
    let mut in_code = false;
    let mut found = Vec::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if in_code && let Some(words) = command(line) {
            found.push(words);
        }
    }
    found
}

/// The words of a line that runs the program, without it.
pub(crate) fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    let programs = ["residual ", "cargo run --release -- "];
    let rest = programs.iter().find_map(|program| line.strip_prefix(program))?;
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    let mut is_new = true;
    for c in rest.chars() {
        match (quote, c) {
            (None, '#' | '>' | '|') if is_new => break,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (None, ' ') => is_new = true,
            _ => {
                if std::mem::take(&mut is_new) {
                    words.push(String::new());
                }
                words.last_mut().expect("a word has begun").push(c);
            }
        }
    }
    Some(words)
}
