//! A folder of pictures, one folder per class: `train/cat/1.png`. PNG and JPEG.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use crate::{
    Corrupt, DataError, Dataset, Image, ImageShape, Result, Sample, Split, dataset::no_sample,
    error::io_error,
};

/// Endings of the files that are read.
const READABLE: [&str; 3] = ["png", "jpg", "jpeg"];
/// Endings of pictures that are not read. They count as corrupt: leaving them out in silence
/// would lose samples.
const UNREADABLE: [&str; 10] = ["avif", "bmp", "gif", "heic", "pgm", "ppm", "tga", "tif", "tiff", "webp"];

/// Pictures in class folders.
///
/// The splits are the folders `train`, `val` (also `valid`, `validation`) and `test`; a set
/// without validation pictures is validated on its test pictures, which its name says. Classes
/// are the folders of `train` in the order of their names; a class may be absent from the other
/// splits, but not be empty. Files within a class are in the order of their names, too. Hidden
/// files, and files that are no pictures, do not count.
///
/// The pictures are decoded when they are asked for. Whether they share a shape is judged from
/// the first one of each class.
#[derive(Debug, Clone)]
pub struct ImageFolder {
    name: String,
    classes: Vec<String>,
    files: Vec<File>,
    shape: Option<ImageShape>,
    skipped: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    label: usize,
}

impl ImageFolder {
    /// One split of a folder of pictures.
    ///
    /// # Errors
    /// [`DataError`] saying which folder is missing, empty or not a class, or which picture is
    /// corrupt.
    pub fn open(dir: impl AsRef<Path>, split: Split, corrupt: Corrupt) -> Result<Self> {
        let dir = dir.as_ref();
        let reference = Part::find(dir, Split::Train).or_else(|_| Part::find(dir, split))?.path;
        let classes: Vec<String> = subfolders(&reference)?.into_iter().map(|(name, _)| name).collect();
        let position = |name: &str| classes.iter().position(|class| class == name);
        Self::with_classes("folder", dir, split, &classes, position, corrupt)
    }

    /// One split of a folder whose classes are known: `class_of` gives the label that the name of
    /// a class folder stands for.
    pub(crate) fn with_classes(
        kind: &str,
        dir: &Path,
        split: Split,
        classes: &[String],
        class_of: impl Fn(&str) -> Option<usize>,
        corrupt: Corrupt,
    ) -> Result<Self> {
        let part = Part::find(dir, split)?;
        let mut folders = Vec::new();
        for (folder, path) in subfolders(&part.path)? {
            match class_of(&folder) {
                Some(label) => folders.push((label, path)),
                None => return Err(DataError::UnknownClass { path, classes: classes.into() }),
            }
        }
        if folders.is_empty() {
            return Err(DataError::NoClasses { path: part.path });
        }
        folders.sort();
        let mut data = Self {
            name: part.title(kind),
            classes: classes.into(),
            files: Vec::new(),
            shape: None,
            skipped: Vec::new(),
        };
        for (label, path) in &folders {
            let (readable, unreadable) = pictures(path)?;
            data.files.extend(readable.into_iter().map(|path| File { path, label: *label }));
            data.skipped.extend(unreadable);
        }
        match corrupt {
            Corrupt::Refuse => data.refuse_corrupt()?,
            Corrupt::Skip => data.skip_corrupt(),
        }
        let mut filled = vec![false; classes.len()];
        data.files.iter().for_each(|file| filled[file.label] = true);
        match folders.into_iter().find(|(label, _)| !filled[*label]) {
            Some((_, path)) => Err(DataError::EmptyClass { path }),
            None => Ok(data),
        }
    }

    fn refuse_corrupt(&mut self) -> Result<()> {
        if let Some(path) = self.skipped.first() {
            let reason = "only PNG and JPEG are read".into();
            return Err(DataError::Picture { path: path.clone(), reason });
        }
        let classes = self.files.chunk_by(|a, b| a.label == b.label);
        let shapes = classes.map(|files| Image::peek(&files[0].path)).collect::<Result<Vec<_>>>()?;
        self.shape = common(&shapes);
        Ok(())
    }

    fn skip_corrupt(&mut self) {
        let shapes: Vec<Option<ImageShape>> = self
            .files
            .par_iter()
            .map(|file| Image::load(&file.path).ok().map(|image| image.shape()))
            .collect();
        for (file, shape) in std::mem::take(&mut self.files).into_iter().zip(&shapes) {
            match shape {
                Some(_) => self.files.push(file),
                None => self.skipped.push(file.path),
            }
        }
        self.skipped.sort();
        self.shape = common(&shapes.into_iter().flatten().collect::<Vec<_>>());
    }

    /// The file of a sample, if there is such a sample.
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.files.get(index).map(|file| file.path.as_path())
    }
}

impl Dataset for ImageFolder {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn shape(&self) -> Option<ImageShape> {
        self.shape
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.files.get(index).map(|file| file.label).ok_or_else(|| no_sample(self, index))
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let file = self.files.get(index).ok_or_else(|| no_sample(self, index))?;
        Ok(Sample { image: Image::load(&file.path)?, label: file.label })
    }

    fn skipped(&self) -> &[PathBuf] {
        &self.skipped
    }
}

/// The folder of a split, and which split it was made for.
struct Part {
    path: PathBuf,
    asked: Split,
    found: Split,
}

impl Part {
    /// Names that the folder of a split goes by, in lower case.
    fn names(split: Split) -> &'static [&'static str] {
        match split {
            Split::Train => &["train", "training"],
            Split::Val => &["val", "valid", "validation", "publictest"],
            Split::Test => &["test", "privatetest"],
        }
    }

    fn find(dir: &Path, split: Split) -> Result<Self> {
        if !dir.is_dir() {
            let expected = "a folder with train, val and test folders, each of class folders";
            return Err(DataError::Missing { path: dir.into(), expected: expected.into() });
        }
        let folders = subfolders(dir)?;
        let stand_ins: &[Split] = if split == Split::Val { &[Split::Val, Split::Test] } else { &[split] };
        for &found in stand_ins {
            let is_name = |name: &str| Self::names(found).contains(&name.to_lowercase().as_str());
            if let Some((_, path)) = folders.iter().find(|(name, _)| is_name(name)) {
                return Ok(Self { path: path.clone(), asked: split, found });
            }
        }
        let names: Vec<&str> = stand_ins.iter().flat_map(|&found| Self::names(found)).copied().collect();
        let expected = format!("a folder named {}, with a folder for each class", names.join(" or "));
        Err(DataError::NoSplit { path: dir.into(), split, expected })
    }

    fn title(&self, kind: &str) -> String {
        let Self { asked, found, .. } = self;
        if asked == found {
            format!("{kind} {asked}")
        } else {
            format!("{kind} {asked} (the {found} folder)")
        }
    }
}

/// Names and paths of the folders in a folder, by name, hidden ones left out.
fn subfolders(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error(dir))? {
        let entry = entry.map_err(io_error(dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            folders.push((name, entry.path()));
        }
    }
    folders.sort();
    Ok(folders)
}

/// The picture files in a folder, by name: those that are read, and those in other formats.
fn pictures(dir: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).map_err(io_error(dir))? {
        let path = entry.map_err(io_error(dir))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let ending =
            path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        match ending.as_str() {
            _ if hidden => {}
            ending if READABLE.contains(&ending) => good.push(path),
            ending if UNREADABLE.contains(&ending) => bad.push(path),
            _ => {}
        }
    }
    good.sort();
    bad.sort();
    Ok((good, bad))
}

/// The shape that all have, if they do.
fn common(shapes: &[ImageShape]) -> Option<ImageShape> {
    let (first, rest) = shapes.split_first()?;
    rest.iter().all(|shape| shape == first).then_some(*first)
}
