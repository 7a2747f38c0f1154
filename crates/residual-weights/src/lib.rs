//! Trained weights in and out of files: safetensors, PyTorch's `.pth`, NumPy's `.npy`; out, ONNX.
//! What is in any of them: [`inspect`](inspect()).
//!
//! **Decision.** A file is a map from names to tensors, [`Weights`], in the file's order.
//! [`load`] finds out the format from the content, [`save`] chooses it by the extension. Readers
//! trust nothing: they bound what they allocate by the length of the file, execute nothing, and
//! answer anything else with an error. Writers replace a file as a whole or not at all.
//!
//! **Rejected.** Mapping files into memory: it needs `unsafe`, and another process that
//! truncates the file ends this one. Tensors are read one by one into their final, aligned
//! memory instead; nothing of the size of the file is held besides.
//!
//! **Not here.** Networks. What a network expects is given to [`Weights::check`] as names and
//! shapes, and taken from the map by whoever builds it.
//!
//! ```
//! use residual_weights::{Tensor, Weights, load, save};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("tiny.safetensors");
//! let mut weights = Weights::new();
//! weights.insert("fc.weight", Tensor::<f32>::full([10, 64], 0.5));
//! weights.insert("fc.bias", Tensor::<f32>::zeros([10]));
//! save(&path, &weights)?;
//!
//! let mut loaded = load(&path)?;
//! assert_eq!(loaded, weights);
//! let mismatch = loaded.check([("fc.weight", [7, 64].as_slice()), ("fc.bias", &[10])]).unwrap_err();
//! assert_eq!(
//!     mismatch.to_string(),
//!     "the weights do not fit the network: 1 of another shape (fc.weight is [10, 64], not [7, 64])",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod budget;
mod check;
mod checksum;
mod entry;
mod error;
mod file;
pub mod inspect;
pub mod npy;
pub mod onnx;
pub mod pth;
mod rename;
pub mod safetensors;
mod stored;
mod weights;

pub use check::{Mismatch, WrongShape};
pub use entry::Entry;
pub use error::{FormatError, WeightsError, shown};
pub use file::{load, load_bytes, remove_partial, replace_file, save};
pub use inspect::inspect;
pub use rename::{Rename, RenameError, Variation};
pub use residual_tensor::Tensor;
pub use weights::Weights;

/// Result with this crate's error about files.
pub type Result<T> = std::result::Result<T, WeightsError>;

/// The example of this crate's README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
