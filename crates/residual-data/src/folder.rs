//! A folder of pictures, one folder per class: `train/cat/1.png`. PNG and JPEG.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::{
    Corrupt, DataError, Dataset, ImageShape, Picture, PictureFiles, Result, Sample, Split,
    dataset::no_sample,
    files::{folders_in, refuse_unreadable},
    split::{Part, Share},
};

/// Pictures in class folders.
///
/// The splits are the folders `train`, `val` (also `valid`, `validation`) and `test`; a set
/// without validation pictures is validated on its test pictures. A folder that has neither, or
/// holds the class folders itself, is divided: a fifth of each class is for validation, the rest for
/// training. Which fifth follows from the names of the files, so that pictures that are added later
/// leave nearly all others where they were. The name of the data set says what was done.
///
/// Classes are the folders of `train` in the order of their names; a class may be absent from the
/// other splits, but not be empty. A class's pictures may be in folders of its folder, and are in the
/// order of their names. Which files count: [`PictureFiles`]. Pictures in formats that are not read
/// are treated as corrupt, since leaving them out in silence would lose samples.
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
        let classes: Vec<String> = folders_in(&reference)?.into_iter().map(|(name, _)| name).collect();
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
        for (folder, path) in folders_in(&part.path)? {
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
            let PictureFiles { readable, unreadable } = PictureFiles::below(path)?;
            if readable.is_empty() && unreadable.is_empty() {
                return Err(DataError::EmptyClass { path: path.clone() });
            }
            let readable = part.share.of(path, readable);
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
            // Of a class with a single picture, none is held out.
            Some(_) if part.share == Share::Fifth => Ok(data),
            Some((_, path)) => Err(DataError::EmptyClass { path }),
            None => Ok(data),
        }
    }

    fn refuse_corrupt(&mut self) -> Result<()> {
        if let Some(path) = self.skipped.first() {
            return Err(refuse_unreadable(path));
        }
        let classes = self.files.chunk_by(|a, b| a.label == b.label);
        let shapes = classes.map(|files| Picture::peek(&files[0].path)).collect::<Result<Vec<_>>>()?;
        self.shape = common(&shapes);
        Ok(())
    }

    fn skip_corrupt(&mut self) {
        let shapes: Vec<Option<ImageShape>> = self
            .files
            .par_iter()
            .map(|file| Picture::open(&file.path).ok().map(|image| image.shape()))
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
        Ok(Sample { image: Picture::open(&file.path)?, label: file.label })
    }

    fn skipped(&self) -> &[PathBuf] {
        &self.skipped
    }
}

/// The shape that all have, if they do.
fn common(shapes: &[ImageShape]) -> Option<ImageShape> {
    let (first, rest) = shapes.split_first()?;
    rest.iter().all(|shape| shape == first).then_some(*first)
}
