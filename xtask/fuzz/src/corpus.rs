//! Inputs that are worth running again: what the project's own writers make, files that tests have
//! already, inputs that were findings once or are good to begin with (a file each in
//! `xtask/fuzz/corpus/TARGET`), and what fuzzing has added to that, as few as reach the same code
//! (an archive, `xtask/fuzz/corpus/TARGET.tar.gz`).

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, read::GzDecoder};

use crate::Target;

/// Where a target's archive is in the workspace.
fn archive(root: &Path, target: &Target) -> PathBuf {
    root.join("xtask/fuzz/corpus").join(format!("{}.tar.gz", target.name))
}

/// Every input of a target with its name. `root` is the workspace.
///
/// # Errors
/// If files cannot be read.
pub fn inputs(root: &Path, target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let seeds = (target.seeds)().into_iter().enumerate();
    let mut inputs: Vec<_> = seeds.map(|(number, bytes)| (format!("seed {number}"), bytes)).collect();
    if let Some(end) = target.fixtures {
        files(&root.join("crates/residual-weights/tests/data"), end, &mut inputs)?;
    }
    let folder = root.join("xtask/fuzz/corpus").join(target.name);
    if folder.is_dir() {
        files(&folder, "", &mut inputs)?;
    }
    let archive = archive(root, target);
    if archive.is_file() {
        let mut archive = tar::Archive::new(GzDecoder::new(File::open(archive)?));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            inputs.push((name, bytes));
        }
    }
    Ok(inputs)
}

/// The files of a folder whose names end like this, in order.
fn files(folder: &Path, end: &str, into: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with(end));
    paths.sort();
    for path in paths {
        into.push((path.display().to_string(), fs::read(path)?));
    }
    Ok(())
}

/// Writes a target's archive, the same for the same inputs, or removes it if there are none. Gives
/// its size in bytes.
///
/// # Errors
/// If it cannot be written.
pub fn pack(root: &Path, target: &Target, mut inputs: Vec<Vec<u8>>) -> io::Result<u64> {
    let path = archive(root, target);
    if inputs.is_empty() {
        return if path.exists() { fs::remove_file(path).map(|()| 0) } else { Ok(0) };
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let compressed = GzBuilder::new().write(File::create(&path)?, Compression::best());
    let mut archive = tar::Builder::new(compressed);
    for (number, bytes) in inputs.iter().enumerate() {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("{number:04}"), &bytes[..])?;
    }
    archive.into_inner()?.finish()?;
    Ok(path.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_found_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("xtask/fuzz/corpus");
        let target = Target { name: "t", seeds: || vec![b"seed".to_vec()], ..crate::weights::NPY };
        let target = Target { fixtures: None, ..target };
        fs::create_dir_all(folder.join("t")).unwrap();
        fs::write(folder.join("t/once.bin"), b"file").unwrap();
        let found = || inputs(root.path(), &target).unwrap().into_iter().map(|(_, bytes)| bytes);
        pack(root.path(), &target, vec![b"longer".to_vec(), Vec::new(), b"x".to_vec()]).unwrap();
        assert!(found().eq([&b"seed"[..], b"file", b"", b"x", b"longer"]));
        let bytes = fs::read(archive(root.path(), &target)).unwrap();
        pack(root.path(), &target, vec![b"x".to_vec(), b"longer".to_vec(), Vec::new()]).unwrap();
        assert_eq!(fs::read(archive(root.path(), &target)).unwrap(), bytes);
        assert_eq!(pack(root.path(), &target, Vec::new()).unwrap(), 0);
        assert!(found().eq([&b"seed"[..], b"file"]));
    }
}
