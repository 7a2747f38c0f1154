//! What a registry shows of a crate, and the oldest compiler that crates promise to need. Whether
//! they need no newer one is what clippy's `incompatible_msrv` looks at, for the standard library.

use std::{collections::BTreeSet, fs, path::Path};

use cargo_metadata::Package;

use super::Failure;

/// A registry takes so many keywords.
const MOST_KEYWORDS: usize = 5;

/// What a crate's manifest lacks.
pub(super) fn gaps(package: &Package) -> Vec<String> {
    let keywords = package.keywords.len();
    let lacks = [
        (package.description.is_none(), "a description"),
        (package.license.is_none(), "a license"),
        (package.readme.is_none(), "a README.md"),
        (package.rust_version.is_none(), "a rust-version"),
        (package.categories.is_empty(), "categories"),
        (keywords == 0 || keywords > MOST_KEYWORDS, "one to five keywords"),
    ];
    let lacks = lacks.into_iter().filter(|(lacks, _)| *lacks);
    lacks.map(|(_, what)| format!("{} lacks {what}", package.name)).collect()
}

/// Places that name another oldest compiler than the workspace's manifest does.
pub(super) fn compilers(root: &Path, published: &[&Package]) -> Result<Vec<String>, Failure> {
    let versions: BTreeSet<_> = published.iter().filter_map(|package| package.rust_version.clone()).collect();
    let [version] = &versions.into_iter().collect::<Vec<_>>()[..] else {
        return Ok(vec!["crates differ in their rust-version".into()]);
    };
    let short = format!("{}.{}", version.major, version.minor);
    let places = [
        ("README.md", format!("({short} or newer)")),
        ("clippy.toml", format!("msrv = \"{short}\"")),
        ("CONTRIBUTING.md", format!("Rust {short}")),
    ];
    let mut offences = Vec::new();
    for (file, expected) in places {
        if !fs::read_to_string(root.join(file))?.contains(&expected) {
            offences.push(format!("{file} does not say `{expected}`, as Cargo.toml's rust-version has it"));
        }
    }
    Ok(offences)
}
