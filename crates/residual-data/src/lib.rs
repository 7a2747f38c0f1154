//! Image data sets for residual networks, and the way from a file to a batch.
//!
//! - [`Dataset`]: numbered pictures with classes. [`Faces`] (built in, nothing to download),
//!   [`cifar10`], [`cifar100`], [`fer2013()`], [`ImageFolder`], [`idx()`], or [`InMemory`] for
//!   pictures that a program already has. [`DataSpec`] names any of them in one word.
//! - [`Preprocess`]: channels, size and standardisation; data that travels with a trained
//!   network. [`Transform`]: random variation of pictures, each kind usable alone.
//! - [`Loader`]: batches of any [`Samples`], prepared ahead by threads of their own. [`Pictures`]
//!   are samples made of a data set, its preprocessing and its variation; [`Arrays`] are those that a
//!   program has.
//!
//! **Decision.** A picture is bytes ([`Picture`]) until it is written, standardised, into
//! its place in the batch. Order and variation follow from seed, epoch and index, never from
//! which thread was first, so that an interrupted run goes on bit for bit.
//!
//! **Rejected.** Transforms of tensors: each would copy four bytes where there is one, and neither
//! resizing nor colors would be Pillow's any more. A trait for transforms: a list of a known few is data,
//! which a checkpoint can hold; whoever wants others implements [`Samples`].
//!
//! **Not here.** Downloads.
//!
//! ```
//! use residual_data::{Augment, Corrupt, DataSpec, Loader, LoaderConfig, Pictures, Preprocess, Split, Standardise};
//!
//! let spec: DataSpec = "faces:140".parse()?;
//! let train = spec.open(Split::Train, Corrupt::Refuse)?;
//! let shape = train.shape().expect("faces share a shape");
//! let preprocess = Preprocess::new(shape).fit(&*train, Standardise::Channel, 1000)?;
//! let vary = Augment::CIFAR.transforms(&preprocess);
//! let pictures = Pictures::new(train, preprocess)?.varied(vary)?;
//! for batch in Loader::new(pictures, LoaderConfig::train(32, 7))?.epoch(0)? {
//!     let batch = batch?;
//!     assert_eq!(batch.inputs.shape()[..], [32, 1, 48, 48]);
//!     assert_eq!(batch.targets.len(), 32);
//! }
//! # Ok::<(), residual_data::DataError>(())
//! ```

#![forbid(unsafe_code)]

mod augment;
mod cifar;
mod dataset;
mod decode;
mod error;
mod faces;
mod fer2013;
mod files;
mod folder;
mod idx;
mod in_memory;
mod loader;
mod picture;
mod pictures;
#[cfg(test)]
mod pillow;
mod preprocess;
mod resize;
mod samples;
mod sheet;
mod spec;
mod split;
mod statistics;
mod transform;

pub use augment::Augment;
pub use cifar::{CIFAR10_CLASSES, cifar10, cifar100};
pub use dataset::{Corrupt, Dataset, Sample, Split, class_counts};
pub use error::DataError;
pub use faces::Faces;
pub use fer2013::{EMOTIONS, fer2013};
pub use files::PictureFiles;
pub use folder::ImageFolder;
pub use idx::idx;
pub use in_memory::InMemory;
pub use loader::{Batch, Epoch, Loader, LoaderConfig};
pub use picture::{ImageShape, Picture};
pub use pictures::Pictures;
pub use preprocess::{Placement, Preprocess, Standardise};
pub use residual_tensor::{Generator, Tensor};
pub use resize::Interpolation;
pub use samples::{Arrays, Samples, Variation};
pub use sheet::contact_sheet;
pub use spec::{DataSpec, FacesSpec};
pub use statistics::Statistics;
pub use transform::{
    AlternatingFlip, Automatic, ColorJitter, Cutout, HorizontalFlip, PadAndCrop, PaddingMode, RandomErasing,
    RandomResizedCrop, Rectangle, Rotation, Transform,
};

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, DataError>;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
