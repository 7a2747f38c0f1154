//! A residual network as people use it: with its weights, the names of its classes and what is done
//! to a picture before the network sees it, in one value and one file.
//!
//! - [`Model`] is that value, of `f32` or `f64`; it is opened from a file and saved to one.
//! - [`predict`] gives the probability of each class for pictures.
//! - [`onnx_graph`] writes the network for other programs.
//!
//! **Decision.** A file of this project is a safetensors file with the weights under torchvision's
//! names, and the rest as JSON in its metadata. Whoever reads safetensors reads the weights.
//!
//! **Not here.** Training (`residual-train`); compiled networks (`residual-infer`).
#![forbid(unsafe_code)]

mod error;
mod model;
mod onnx;
mod predict;
mod spec;
mod weights;

pub use error::{ModelError, TomlError};
pub use model::Model;
pub use onnx::onnx_graph;
pub use predict::predict;
pub use spec::ModelSpec;
pub use weights::{check_weights, fill, load_weights, network_of, open_weights};

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, ModelError>;
