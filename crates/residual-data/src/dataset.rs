//! What a data set is: numbered pictures, each with the number of its class.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{DataError, ImageShape, Picture, Result};

/// Numbered pictures with classes. `get` may be called from many threads at once.
pub trait Dataset: Send + Sync {
    /// What it is, for people: `cifar10 train`.
    fn name(&self) -> &str;

    /// The names of the classes; a label is an index into them.
    fn classes(&self) -> &[String];

    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of the pictures, or `None` if they differ.
    fn shape(&self) -> Option<ImageShape>;

    /// The class of a sample, without decoding its picture.
    ///
    /// # Errors
    /// [`DataError::Index`] if there is no such sample.
    fn label(&self, index: usize) -> Result<usize>;

    /// A sample.
    ///
    /// # Errors
    /// [`DataError::Index`] if there is no such sample; [`DataError::Picture`] naming the file
    /// if its picture cannot be decoded.
    fn get(&self, index: usize) -> Result<Sample>;

    /// Whether `get` merely copies, so that keeping decoded pictures would gain nothing.
    fn is_in_memory(&self) -> bool {
        false
    }

    /// The files that were left out because they are corrupt ([`Corrupt::Skip`]).
    fn skipped(&self) -> &[PathBuf] {
        &[]
    }
}

/// A picture and its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The picture.
    pub image: Picture,
    /// The index of its class.
    pub label: usize,
}

/// The part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// What the network learns from.
    Train,
    /// What decides between networks and settings.
    Val,
    /// What is looked at once, at the end.
    Test,
}

impl Split {
    /// `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to do with a picture that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corrupt {
    /// Stop at the first one with an error that names it.
    #[default]
    Refuse,
    /// Decode every picture when the data set is opened, leave the corrupt ones out and list
    /// them in [`Dataset::skipped`].
    Skip,
}

/// The number of samples of each class.
///
/// # Errors
/// Whatever [`Dataset::label`] returns.
pub fn class_counts(dataset: &dyn Dataset) -> Result<Vec<usize>> {
    let mut counts = vec![0; dataset.classes().len()];
    for index in 0..dataset.len() {
        counts[dataset.label(index)?] += 1;
    }
    Ok(counts)
}

/// The error for a sample that does not exist.
pub(crate) fn no_sample(dataset: &(impl Dataset + ?Sized), index: usize) -> DataError {
    DataError::Index { index, name: dataset.name().into(), len: dataset.len() }
}

/// Names as the data sets keep them.
pub(crate) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.into()).collect()
}
