//! What can be wrong with pictures, files and requests. Each message is one line that says
//! what to do.

use std::{io, path::PathBuf};

use residual_tensor::TensorError;

use crate::{ImageShape, Split};

/// A data set, file or picture that cannot be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The kind of data set is none of the known ones.
    #[error(
        "unknown data set `{}`: write faces, faces:N, faces:train=N,val=N,test=N,seed=N, cifar10:DIR, \
         cifar100:DIR, fer2013:PATH, folder:DIR or idx:DIR",
        .spec.escape_debug()
    )]
    UnknownKind {
        /// What was written.
        spec: String,
    },
    /// A data set that lives in files was named without its path.
    #[error("`{kind}` needs to know where its files are: write {kind}:PATH")]
    NoPath {
        /// The kind of data set.
        kind: String,
    },
    /// A setting of the built-in faces that is not understood.
    #[error(
        "`{}` is no setting of the built-in faces: write faces:N or faces:train=N,val=N,test=N,seed=N",
        .part.escape_debug()
    )]
    FacesSetting {
        /// The part that is not understood.
        part: String,
    },
    /// A file or folder that should exist does not.
    #[error("{path} does not exist or holds no such data: expected {expected}")]
    Missing {
        /// The path looked for.
        path: PathBuf,
        /// The files that were expected there.
        expected: String,
    },
    /// The data set has no such part.
    #[error("{path} has no {split} split: expected {expected}")]
    NoSplit {
        /// The data set's path.
        path: PathBuf,
        /// The part asked for.
        split: Split,
        /// What would have served.
        expected: String,
    },
    /// A folder of class folders without any.
    #[error("{path} has no class folders: put each class's pictures into a folder of the class's name")]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
    /// A class folder without pictures.
    #[error("class folder {path} is empty: put PNG or JPEG pictures into it, or remove it")]
    EmptyClass {
        /// The folder.
        path: PathBuf,
    },
    /// A folder whose name is none of the data set's classes.
    #[error("{path} is none of the {} classes {}: rename or remove it", .classes.len(), excerpt(.classes))]
    UnknownClass {
        /// The folder.
        path: PathBuf,
        /// The known classes.
        classes: Vec<String>,
    },
    /// A picture that cannot be decoded.
    #[error("cannot read the picture {path}: {reason}; replace, remove or skip it")]
    Picture {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// A binary file or table that breaks its format.
    #[error("{path}, {place}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The record, line or header.
        place: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The system refuses to read or write a file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The number of bytes is not that of the picture.
    #[error("a picture of {shape} holds {} bytes, but {given} were given", .shape.elements())]
    Pixels {
        /// The shape asked for.
        shape: ImageShape,
        /// How many bytes there were.
        given: usize,
    },
    /// There are not as many pictures as labels.
    #[error("{labels} pictures of {shape} do not make {given} bytes: give as many pictures as labels")]
    Pictures {
        /// The shape of each picture.
        shape: ImageShape,
        /// How many labels there are.
        labels: usize,
        /// How many bytes there are.
        given: usize,
    },
    /// A label without a class.
    #[error("label {label} is not among the {classes} classes")]
    Label {
        /// The label.
        label: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A picture shape that does not exist.
    #[error(
        "a picture of {0} is not possible: it needs 1 (grey) or 3 (RGB) channels, and 1 to 16384 pixels a side"
    )]
    Shape(ImageShape),
    /// A crop that is larger than the picture.
    #[error("cannot crop {width}×{height} out of a picture of {from}: enlarge it first")]
    Crop {
        /// The picture.
        from: ImageShape,
        /// The width asked for.
        width: usize,
        /// The height asked for.
        height: usize,
    },
    /// Preprocessing whose parts do not fit each other.
    #[error("the preprocessing to {to} has {given} numbers as its {what}, but needs {needed}")]
    Preprocess {
        /// What pictures are brought to.
        to: ImageShape,
        /// Which part does not fit.
        what: &'static str,
        /// How many numbers it has.
        given: usize,
        /// How many it needs.
        needed: usize,
    },
    /// Preprocessing that would divide by nothing, or give no numbers.
    #[error(
        "the preprocessing to {to} has a std that is not above 0, or a mean that is no number: use 1 and 0 to leave a \
         channel as it is"
    )]
    Deviation {
        /// What pictures are brought to.
        to: ImageShape,
    },
    /// Variation of pictures by a number that makes no sense.
    #[error("augment.{name} must be {range}, but is {value}")]
    Augment {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be right.
        range: &'static str,
    },
    /// Transforms in an order in which they cannot be made.
    #[error("{transform} makes new pixels: put it before what shifts, mirrors and erases them")]
    TransformOrder {
        /// The transform that comes too late.
        transform: String,
    },
    /// Inputs and targets that are not as many, or inputs of no known kind.
    #[error(
        "inputs of {inputs:?} and {targets} targets are no samples: give [n, channels, height, width] and n targets"
    )]
    Arrays {
        /// The shape of the inputs.
        inputs: Vec<usize>,
        /// How many targets there are.
        targets: usize,
    },
    /// A sample of somebody's own that cannot be read.
    #[error("sample {index} of {name}: {source}")]
    Sample {
        /// Its number.
        index: usize,
        /// What the samples are.
        name: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A place to write to that does not have the picture's size.
    #[error("a picture of {to} fills {} numbers, but there is room for {given}", .to.elements())]
    Room {
        /// What pictures are brought to.
        to: ImageShape,
        /// The length of the slice.
        given: usize,
    },
    /// A sample that does not exist.
    #[error("sample {index} does not exist: {name} has {len}")]
    Index {
        /// The sample asked for.
        index: usize,
        /// The data set.
        name: String,
        /// How many samples there are.
        len: usize,
    },
    /// There is nothing to load, measure or show.
    #[error("{name} has no samples")]
    Empty {
        /// The data set.
        name: String,
    },
    /// A file of a kind that this program was built without.
    #[error("cannot read {}: residual-data was built without its feature `{feature}`", .path.display())]
    Feature {
        /// The file.
        path: PathBuf,
        /// What would read it.
        feature: &'static str,
    },
    /// A batch must hold something.
    #[error("a batch of 0 images is not possible: choose a batch size of at least 1")]
    BatchSize,
    /// A worker thread of the loader could not be started.
    #[error("cannot start a loader thread: {0}")]
    Thread(io::Error),
    /// There cannot be a tensor for so many pictures of that size.
    #[error("{0}; take fewer or smaller pictures at once")]
    Batch(#[from] TensorError),
    /// A worker thread of the loader ended before its work was done.
    #[error("a loader thread stopped while it prepared batch {batch}: the data set `{name}` panicked")]
    WorkerStopped {
        /// The batch that is missing.
        batch: usize,
        /// The data set.
        name: String,
    },
}

/// The first of many names.
fn excerpt(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(10).map(|name| name.escape_debug().to_string()).collect();
    let shown = shown.join(", ");
    if names.len() > 10 { shown + ", …" } else { shown }
}

/// Turns the system's error into this crate's, with the path that it lacks.
pub(crate) fn io_error(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DataError {
    let path = path.into();
    move |source| DataError::Io { path, source }
}
