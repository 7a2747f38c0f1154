//! A copy of the workspace to plant faults in. It is kept between runs and written only where it
//! differs, so that a run in which nothing has changed builds nothing.

use std::{
    collections::BTreeSet,
    env::consts::EXE_SUFFIX,
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::MetadataCommand;

use crate::{
    cargo,
    verify::{Failure, tree},
};

/// What `xtask` is called in the copy.
const PROGRAM: &str = "xtask-under-test";

/// The copy, in the workspace's target folder.
pub(super) struct WorkspaceCopy {
    root: PathBuf,
    target: PathBuf,
    /// Name and version of each package of the workspace itself.
    originals: BTreeSet<(String, String)>,
}

impl WorkspaceCopy {
    /// The copy that belongs to this workspace; perhaps there is nothing there yet.
    pub(super) fn new(workspace: &Path) -> Result<Self, Failure> {
        let (originals, target) = packages(workspace)?;
        Ok(Self { root: target.join("self-test"), target, originals })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Builds `xtask` from the copy, with the dependencies that the workspace has built already.
    pub(super) fn build(&self) -> Result<(), Failure> {
        let (copies, _) = packages(&self.root)?;
        if let Some((name, version)) = copies.intersection(&self.originals).next() {
            return Err(format!("the copy's {name} {version} would be taken for the workspace's").into());
        }
        let target = self.target.to_str().ok_or("the target folder's name is not Unicode")?;
        let arguments = ["build", "--release", "--quiet", "--offline", "--package", PROGRAM];
        let mut lines = Vec::new();
        let target = [("CARGO_TARGET_DIR", target)];
        match cargo::run(&self.root, &arguments, &target, |line| lines.push(line.to_owned()))? {
            true => Ok(()),
            false => Err(lines.join("\n").into()),
        }
    }

    /// `xtask` as built from the copy.
    pub(super) fn program(&self) -> PathBuf {
        self.target.join("release").join(format!("{PROGRAM}{EXE_SUFFIX}"))
    }

    /// Makes the copy equal to the workspace, but for what `change` does to a text file.
    pub(super) fn sync(
        &self,
        workspace: &Path,
        change: impl Fn(&str, String) -> String,
    ) -> Result<(), Failure> {
        let files = tree::files(workspace)?;
        for path in &files {
            let bytes = fs::read(workspace.join(path))?;
            let bytes = match String::from_utf8(bytes) {
                Ok(text) => change(path, told_apart(path, text)).into_bytes(),
                Err(no_text) => no_text.into_bytes(),
            };
            let to = self.root.join(path);
            if fs::read(&to).ok().as_ref() != Some(&bytes) {
                fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
                fs::write(to, bytes)?;
            }
        }
        let wanted: BTreeSet<String> = files.into_iter().collect();
        for path in tree::files(&self.root)? {
            if !wanted.contains(&path) {
                fs::remove_file(self.root.join(path))?;
            }
        }
        Ok(())
    }

    /// Runs `f` while a file has another text. The file's time stays as it is: for cargo, nothing
    /// has changed.
    pub(super) fn with_changed<R>(
        &self,
        path: &str,
        change: impl FnOnce(&str) -> Result<String, Failure>,
        f: impl FnOnce() -> R,
    ) -> Result<R, Failure> {
        let path = self.root.join(path);
        let (text, modified) = (fs::read_to_string(&path)?, path.metadata()?.modified()?);
        fs::write(&path, change(&text)?)?;
        let result = f();
        fs::write(&path, text)?;
        fs::File::options().write(true).open(path)?.set_modified(modified)?;
        Ok(result)
    }
}

/// Gives the copy's packages other names and versions than the workspace's. They share a target
/// folder, in which cargo tells packages apart by these, and must not be taken for each other.
fn told_apart(path: &str, text: String) -> String {
    match path {
        "Cargo.toml" => {
            let marked =
                |line: &str| match line.strip_prefix("version = \"").and_then(|rest| rest.split_once('"')) {
                    Some((version, rest)) => format!("version = \"{version}+copy\"{rest}\n"),
                    None => format!("{line}\n"),
                };
            text.lines().map(marked).collect()
        }
        "xtask/Cargo.toml" => text.replace("name = \"xtask\"\n", &format!("name = \"{PROGRAM}\"\n")),
        _ => text,
    }
}

/// Name and version of each package of a workspace, and the target folder.
fn packages(workspace: &Path) -> Result<(BTreeSet<(String, String)>, PathBuf), Failure> {
    let metadata = MetadataCommand::new().manifest_path(workspace.join("Cargo.toml")).no_deps().exec()?;
    let packages = metadata.packages.iter();
    let packages = packages.map(|package| (package.name.to_string(), package.version.to_string())).collect();
    Ok((packages, metadata.target_directory.into_std_path_buf()))
}
