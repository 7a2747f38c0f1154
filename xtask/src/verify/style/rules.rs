//! The rules of the house that can be read off the sources, one function each. A rule gives the
//! places where a file offends against it.

use super::Source;

type Rule = fn(&Source) -> Vec<String>;

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// `path:line`, for lines counted from 0.
    fn at(&self, line: usize) -> String {
        format!("{}:{}", self.path, line + 1)
    }
}

/// All rules by name.
pub(super) const ALL: &[(&str, Rule)] = &[
    ("files stay short", short),
    ("files open by saying what they are", opening),
    ("unsafe code is forbidden", forbidden),
    ("unsafe code says why it is sound", explained),
    ("nothing is left open", finished),
    ("no path of one machine", portable),
    ("nothing is left of a merge", merged),
];

/// A file has one topic, and at most this many lines.
const LONGEST_FILE: usize = 600;

fn short(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let offends = source.is_rust() && lines > LONGEST_FILE;
    let offence =
        || format!("{}: {lines} lines, {LONGEST_FILE} are allowed; divide it by topic", source.path);
    offends.then(offence).into_iter().collect()
}

fn opening(source: &Source) -> Vec<String> {
    let offends = source.is_rust() && !source.text.starts_with("//!");
    offends.then(|| format!("{}: does not open with `//!`", source.path)).into_iter().collect()
}

/// Crates that need code which the compiler cannot check.
const MAY_BE_UNSAFE: [&str; 2] = ["crates/residual-kernels/", "crates/residual-tensor/"];

fn forbidden(source: &Source) -> Vec<String> {
    let is_root = ["/src/lib.rs", "/src/main.rs"].iter().any(|root| source.path.ends_with(root));
    let exempt = MAY_BE_UNSAFE.iter().any(|folder| source.path.starts_with(folder));
    let says_so = source.text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
    let offends = is_root && !exempt && !says_so;
    offends.then(|| format!("{}: lacks `#![forbid(unsafe_code)]`", source.path)).into_iter().collect()
}

fn explained(source: &Source) -> Vec<String> {
    if !source.is_rust() {
        return Vec::new();
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let offends = |&line: &usize| is_unsafe(lines[line]) && !is_explained(&lines, line);
    let offences = (0..lines.len()).filter(offends);
    offences.map(|line| format!("{}: no SAFETY comment above this", source.at(line))).collect()
}

/// Whether the line begins an unsafe block or implementation, not in a comment or a string.
/// Functions that are unsafe to call promise nothing themselves; clippy asks for their `# Safety`.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("unsafe ").any(|(at, word)| {
        let stands_free =
            code[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || "({=|".contains(c));
        let what = &code[at + word.len()..];
        stands_free && ["{", "impl ", "impl<"].iter().any(|kind| what.starts_with(kind))
    })
}

/// Whether a comment gives the reason: above the statement around `line`, or further up for
/// everything that follows it in the block in which it stands.
fn is_explained(lines: &[&str], line: usize) -> bool {
    let above = || lines[..line].iter().rev();
    let ends_statement = |line: &str| line.is_empty() || line.ends_with([';', '{', '}']);
    let mut statement =
        above().map(|line| line.trim()).take_while(|line| is_comment(line) || !ends_statement(line));
    if lines[line].contains("SAFETY:") || statement.any(|line| is_comment(line) && line.contains("SAFETY:")) {
        return true;
    }
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut block = indentation(lines[line]);
    above().filter(|line| !line.trim().is_empty()).any(|line| {
        block = block.min(indentation(line));
        line.contains("// SAFETY of every block below:") && indentation(line) == block
    })
}

/// Whether this is a comment or an attribute.
fn is_comment(line: &str) -> bool {
    line.starts_with("//") || line.starts_with("#[")
}

/// Marks of work that is not done. In two parts, or this file would offend against itself.
const OPEN: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];

fn finished(source: &Source) -> Vec<String> {
    containing(source, &OPEN, "left open")
}

/// Folders of one machine, in two parts as above.
const MACHINE: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

fn portable(source: &Source) -> Vec<String> {
    containing(source, &MACHINE, "a path of one machine")
}

/// How a conflict begins and ends that a merge has left behind.
const CONFLICT: [&str; 2] = ["<<<<<<< ", ">>>>>>> "];

fn merged(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let offences = lines.filter(|(_, line)| CONFLICT.iter().any(|mark| line.starts_with(mark)));
    offences.map(|(number, _)| format!("{}: a conflict that is not resolved", source.at(number))).collect()
}

fn containing(source: &Source, words: &[&str], why: &str) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let offences = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
    offences.map(|(number, line)| format!("{}: {why}: {}", source.at(number), line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(path: &str, text: &str) -> Vec<&'static str> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        ALL.iter().filter(|(_, rule)| !rule(&source).is_empty()).map(|(name, _)| *name).collect()
    }

    #[test]
    fn each_rule_notices_its_offence_and_nothing_else() {
        let (library, room) = ("crates/residual-nn/src/lib.rs", "crates/residual-tensor/src/room.rs");
        assert!(offences(library, "//! A crate.\n#![forbid(unsafe_code)]\n").is_empty());
        assert_eq!(offences(library, "//! A crate.\n"), ["unsafe code is forbidden"]);
        assert_eq!(offences(room, "use std::fmt;\n"), ["files open by saying what they are"]);
        assert_eq!(offences(room, &"//! Long.\n".repeat(601)), ["files stay short"]);
        assert_eq!(offences(room, concat!("//! TO", "DO: more\n")), ["nothing is left open"]);
        assert_eq!(offences("docs/a.md", concat!("see /ho", "me/me")), ["no path of one machine"]);
        assert_eq!(offences("docs/a.md", "a\n<<<<<<< HEAD\n"), ["nothing is left of a merge"]);
    }

    #[test]
    fn an_unsafe_statement_needs_its_reason_above_it() {
        let offends =
            |code: &str| !offences("crates/residual-tensor/src/a.rs", &format!("//! A.\n{code}")).is_empty();
        for code in [
            "// SAFETY: it is.\nunsafe impl Send for A {}",
            "// SAFETY: it is,\n// and will be.\n#[cold]\nlet a =\n    unsafe { b() };",
            "type Kernel = unsafe fn(*const f32);",
            "// a word on unsafe { } blocks",
            "// SAFETY of every block below: it is.\nfn a() {\n    unsafe { b() }\n}",
            "mod a {\n    // SAFETY of every block below: it is.\n    fn a() {}\n    fn b() {\n        unsafe { c() }\n    }\n}",
        ] {
            assert!(!offends(code), "{code}");
        }
        for code in [
            "unsafe impl Send for A {}",
            "// SAFETY: this is for another one.\nlet c = 1;\nlet a = unsafe { b() };",
            "// SAFETY: of the first.\nunsafe impl Send for A {}\nunsafe impl Sync for A {}",
            "mod a {\n    // SAFETY of every block below: it is.\n    fn a() {}\n}\nfn b() {\n    unsafe { c() }\n}",
        ] {
            assert!(offends(code), "{code}");
        }
    }
}
