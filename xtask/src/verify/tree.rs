//! The files of the workspace: what is there, without what is built or belongs to git.

use std::{fs, io, path::Path};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", "runs", ".git"];

/// Every file below `root`, relative to it and with forward slashes, in order.
pub(super) fn files(root: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_file() {
                files.push(path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/"));
            } else if entry.file_type()?.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                folders.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
