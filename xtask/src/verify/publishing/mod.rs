//! What is published, and what it takes along: manifests, the packages that cargo makes of them,
//! licenses, dependencies, the oldest compiler, another processor. That it works is for the other
//! suites.

mod licenses;
mod manifests;
mod unused;

use std::process::{Command, Stdio};

use cargo_metadata::{Metadata, MetadataCommand, Package};

use super::{Difference, Failure, Outcome, Settings, recorder::Recorder};
use crate::cargo;

/// A platform with another instruction set, for which kernels have code of its own.
const OTHER_PLATFORM: &str = "aarch64-unknown-linux-gnu";

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    let root = &settings.root;
    let metadata = metadata(settings, recorder)?;
    let own = metadata.workspace_packages();
    let published: Vec<&Package> = own.iter().copied().filter(|package| is_published(package)).collect();

    recorder.check("manifests", || none(published.iter().flat_map(|package| manifests::gaps(package))));
    recorder.check("oldest compiler", || none(manifests::compilers(root, &published)?));
    recorder.check("licenses", || licenses::check(root, &metadata));
    recorder.check("unused dependencies", || {
        let mut unused = Vec::new();
        for package in &own {
            unused.extend(unused::dependencies(package)?);
        }
        none(unused)
    });
    let cargo = |program: &[&str]| -> Outcome {
        let mut lines = Vec::new();
        let passed = cargo::run(root, program, &[], |line| lines.push(line.to_owned()))?;
        if passed { Ok(String::new()) } else { Err(Difference::found(lines.join("\n"))) }
    };
    recorder.check("packages", || {
        let mut package = vec!["package", "--quiet", "--locked", "--offline", "--no-verify", "--allow-dirty"];
        package.extend(published.iter().flat_map(|package| ["--package", package.name.as_str()]));
        cargo(&package).map(|_| format!("{} crates", published.len()))
    });

    let tool = "cargo-deny";
    match is_installed("cargo-deny", &["--version"]) {
        true => recorder.check(tool, || cargo(&["deny", "--locked", "check"])),
        false => recorder.not_covered(
            tool,
            "known faults of dependencies are looked up by it; it is not installed: cargo install --locked cargo-deny",
        ),
    }
    let libraries = cargo::sysroot()?.join("lib/rustlib").join(OTHER_PLATFORM);
    let check = ["check", "--quiet", "--locked", "--workspace", "--target", OTHER_PLATFORM];
    match libraries.is_dir() {
        true => recorder.check(OTHER_PLATFORM, || cargo(&check)),
        false => recorder.not_covered(
            OTHER_PLATFORM,
            format!("its standard library is not installed: rustup target add {OTHER_PLATFORM}"),
        ),
    }
    let oldest = published.iter().find_map(|package| package.rust_version.as_ref());
    let oldest = oldest.map(ToString::to_string).unwrap_or_default();
    let toolchain = ["run", &oldest, "cargo", "--version"];
    match is_installed("rustup", &toolchain) {
        true => recorder.check("build by the oldest compiler", || {
            let check = Command::new("rustup")
                .args(["run", &oldest, "cargo", "check", "--quiet", "--locked", "--workspace"])
                .env("CARGO_TARGET_DIR", root.join("target/oldest"))
                .env_remove("RUSTC")
                .env_remove("CARGO")
                .current_dir(root)
                .output()?;
            let said = || Difference::found(String::from_utf8_lossy(&check.stderr));
            if check.status.success() { Ok(format!("Rust {oldest}")) } else { Err(said()) }
        }),
        false => recorder.not_covered(
            "build by the oldest compiler",
            format!("Rust {oldest} is not installed: rustup toolchain install {oldest}"),
        ),
    }
    Ok(())
}

/// All packages that the lock file names; without network perhaps only those of this platform.
fn metadata(settings: &Settings, recorder: &mut Recorder) -> Result<Metadata, Failure> {
    let command = |options: &[&str]| {
        let mut command = MetadataCommand::new();
        command.manifest_path(settings.root.join("Cargo.toml"));
        command.other_options(options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>()).exec()
    };
    if let Ok(all) = command(&["--locked"]) {
        return Ok(all);
    }
    recorder.not_covered("dependencies on other platforms", "their manifests cannot be downloaded");
    let host = cargo::host()?;
    Ok(command(&["--locked", "--offline", "--filter-platform", &host])?)
}

fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}

/// Passes if there is nothing to complain about.
fn none(complaints: impl IntoIterator<Item = String>) -> Outcome {
    let complaints: Vec<String> = complaints.into_iter().collect();
    if complaints.is_empty() { Ok(String::new()) } else { Err(Difference::found(complaints.join("\n"))) }
}

fn is_installed(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
