//! The floors of the house: every arrow between crates goes to a strictly lower one. Manifests
//! say which floor a crate is on; development dependencies may point anywhere.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use super::{Difference, Failure, Outcome, Settings, recorder::Recorder};

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    let manifest = settings.root.join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    for package in &metadata.packages {
        recorder.check(package.name.as_str(), || check(package, &metadata.packages));
    }
    Ok(())
}

fn check(package: &Package, all: &[Package]) -> Outcome {
    let below =
        package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    let below: Vec<&Package> =
        below.filter_map(|dependency| all.iter().find(|other| *other.name == dependency.name)).collect();
    if *package.name == env!("CARGO_PKG_NAME") {
        return Ok(format!("upkeep, which may use any crate, and uses {}", below.len()));
    }
    let own = floor(package)?;
    let mut seen = Vec::new();
    for other in below {
        let floor = floor(other)?;
        if floor >= own {
            let (package, other) = (&package.name, &other.name);
            let direction = if floor == own { "sideways" } else { "up" };
            let reason =
                format!("{package} is on floor {own}, but depends {direction} on {other}, floor {floor}");
            return Err(Difference::found(reason));
        }
        seen.push(format!("{} ({floor})", other.name));
    }
    let seen = if seen.is_empty() { "nothing".to_owned() } else { seen.join(", ") };
    Ok(format!("floor {own}, sees {seen}"))
}

fn floor(package: &Package) -> Result<u64, Failure> {
    let floor = package.metadata["residual"]["layer"].as_u64();
    let missing =
        || format!("{} has no `[package.metadata.residual] layer = N` in its manifest", package.name);
    Ok(floor.ok_or_else(missing)?)
}
