//! Licenses of everything that is compiled in: each package must be available under one that
//! `deny.toml` allows, where `cargo deny` finds the same list.

use std::{collections::BTreeMap, fs, path::Path};

use cargo_metadata::Metadata;
use spdx::{Expression, ParseMode};

use super::{Difference, Outcome};

pub(super) fn check(root: &Path, metadata: &Metadata) -> Outcome {
    let file = root.join("deny.toml");
    let rules: toml::Table = toml::from_str(&fs::read_to_string(&file)?)?;
    let allowed = rules.get("licenses").and_then(|licenses| licenses.get("allow")?.as_array());
    let allowed: Vec<&str> =
        allowed.ok_or("deny.toml has no licenses.allow")?.iter().filter_map(|id| id.as_str()).collect();

    let mut offences = Vec::new();
    let mut expressions: BTreeMap<&str, bool> = BTreeMap::new();
    let foreign = metadata.packages.iter().filter(|package| package.source.is_some());
    let mut packages = 0;
    for package in foreign {
        packages += 1;
        let Some(license) = package.license.as_deref() else {
            offences.push(format!("{} {} names no license", package.name, package.version));
            continue;
        };
        let is_allowed = *expressions.entry(license).or_insert_with(|| satisfies(license, &allowed));
        if !is_allowed {
            offences.push(format!("{} {} is under {license}", package.name, package.version));
        }
    }
    match offences.is_empty() {
        true => Ok(format!("{packages} packages under {}", allowed.join(", "))),
        false => Err(Difference::found(offences.join("\n"))),
    }
}

/// Whether a package under this license may be used under licenses of the list alone.
fn satisfies(license: &str, allowed: &[&str]) -> bool {
    let expression = Expression::parse_mode(license, ParseMode::LAX);
    expression.is_ok_and(|expression| {
        expression.evaluate(|requirement| {
            requirement.addition.is_none()
                && requirement.license.id().is_some_and(|id| allowed.contains(&id.name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_licenses_is_enough_and_all_of_several_are_needed() {
        let allowed = ["MIT", "Zlib"];
        for license in ["MIT", "MIT OR GPL-3.0-only", "GPL-3.0-only/MIT", "MIT AND Zlib"] {
            assert!(satisfies(license, &allowed), "{license}");
        }
        for license in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "MIT WITH LLVM-exception", "my own", ""] {
            assert!(!satisfies(license, &allowed), "{license}");
        }
    }
}
