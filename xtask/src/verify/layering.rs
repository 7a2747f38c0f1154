//! The layers: a crate depends only on crates of lower ones. Manifests say which layer a crate is in; development
//! dependencies may point anywhere.

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
    let own = layer(package)?;
    let mut seen = Vec::new();
    for other in below {
        let layer = layer(other)?;
        if layer >= own {
            let (package, other) = (&package.name, &other.name);
            let reason =
                format!("{package} is in layer {own}, but depends on {other}, which is in layer {layer}");
            return Err(Difference::found(reason));
        }
        seen.push(format!("{} ({layer})", other.name));
    }
    let seen = if seen.is_empty() { "nothing".to_owned() } else { seen.join(", ") };
    Ok(format!("layer {own}, uses {seen}"))
}

fn layer(package: &Package) -> Result<u64, Failure> {
    let layer = package.metadata["residual"]["layer"].as_u64();
    let missing =
        || format!("{} has no `[package.metadata.residual] layer = N` in its manifest", package.name);
    Ok(layer.ok_or_else(missing)?)
}
