//! Which files of a folder are pictures. Nothing is opened here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

use crate::{DataError, Result, error::io_error};

/// Endings of the files that are read.
const READABLE: [&str; 3] = ["png", "jpg", "jpeg"];
/// Endings of pictures that are not read.
const UNREADABLE: [&str; 10] = ["avif", "bmp", "gif", "heic", "pgm", "ppm", "tga", "tif", "tiff", "webp"];

/// The picture files in a folder and in the folders below it, in the order of their names.
///
/// Links are followed, but not in a circle. Hidden files (`._cat.jpg`, `.thumbnails/`), and files
/// that are no pictures (`Thumbs.db`), do not count.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # std::fs::create_dir(folder.path().join("holiday"))?;
/// # for name in ["holiday/1.png", "holiday/._1.png", "a.JPG", "b.webp", "notes.txt"] {
/// #     std::fs::write(folder.path().join(name), "")?;
/// # }
/// let files = residual_data::PictureFiles::below(folder.path())?;
/// assert_eq!(files.readable, [folder.path().join("a.JPG"), folder.path().join("holiday/1.png")]);
/// assert_eq!(files.unreadable, [folder.path().join("b.webp")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PictureFiles {
    /// PNG and JPEG, by their names.
    pub readable: Vec<PathBuf>,
    /// Pictures in formats that are not read, by their names.
    pub unreadable: Vec<PathBuf>,
}

impl PictureFiles {
    /// Looks through a folder.
    ///
    /// # Errors
    /// [`DataError::Io`] naming a folder that cannot be read.
    pub fn below(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let mut found = Self::default();
        let itself = folder.canonicalize().map_err(io_error(folder))?;
        let counts = |entry: &DirEntry| {
            let leads_back = entry.path_is_symlink() && leads_back(entry.path(), &itself);
            entry.depth() == 0 || !(is_hidden(entry.file_name().as_encoded_bytes()) || leads_back)
        };
        for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(counts) {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => found.add(entry.into_path()),
                // A link to a folder that is being looked through already.
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_path_buf();
                    // What a link to nothing was to show is missing, which reading it will say.
                    if path.is_symlink() && !path.exists() {
                        found.add(path);
                    } else {
                        return Err(io_error(path)(error.into()));
                    }
                }
            }
        }
        found.readable.sort();
        found.unreadable.sort();
        Ok(found)
    }

    /// Whether a file is a picture by the ending of its name, in a format that is read or in another.
    pub fn is_picture(path: impl AsRef<Path>) -> bool {
        let ending = ending(path.as_ref());
        READABLE.contains(&&*ending) || UNREADABLE.contains(&&*ending)
    }

    fn add(&mut self, path: PathBuf) {
        let ending = ending(&path);
        if READABLE.contains(&&*ending) {
            self.readable.push(path);
        } else if UNREADABLE.contains(&&*ending) {
            self.unreadable.push(path);
        }
    }
}

/// The ending of a file's name, in small letters.
fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Names and paths of the folders in a folder, by name. Hidden ones, and links to the folder or to
/// one that it lies in, are left out.
pub(crate) fn folders_in(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let itself = folder.canonicalize().map_err(io_error(folder))?;
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let entry = entry.map_err(io_error(folder))?;
        let (name, path) = (entry.file_name(), entry.path());
        let counts = !is_hidden(name.as_encoded_bytes()) && path.is_dir();
        if counts && !(path.is_symlink() && leads_back(&path, &itself)) {
            folders.push((name.to_string_lossy().into_owned(), path));
        }
    }
    folders.sort();
    Ok(folders)
}

/// Whether a link leads to this folder or to one that it lies in.
fn leads_back(link: &Path, folder: &Path) -> bool {
    link.canonicalize().is_ok_and(|target| folder.starts_with(target))
}

/// Whether people do not see a file of this name, or should not have to: what macOS adds to archives.
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") || name == b"__MACOSX"
}

/// What is wrong with a file whose ending is that of a picture in another format.
pub(crate) fn refuse_unreadable(path: &Path) -> DataError {
    DataError::Picture { path: path.into(), reason: "only PNG and JPEG are read".into() }
}
