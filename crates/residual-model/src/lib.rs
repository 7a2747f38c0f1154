//! A residual network as people use it: with its weights, the names of its classes and what is done
//! to a picture before the network sees it, in one value and one file.
//!
//! - [`Classifier`] is the front door: it opens a file and says what pictures show, to any number of
//!   threads at once.
//! - [`OpenOptions`] says what a file does not, and reads one without classifying anything.
//! - [`Model::explain`] says what in a picture speaks for a class.
//! - [`Model`] is the value, of `f32` or `f64`, that a file holds; [`onnx_graph`] writes its network for
//!   other programs.
//!
//! **Decision.** A file of this project is a safetensors file with the weights under torchvision's
//! names, and the rest as JSON in its metadata. Whoever reads safetensors reads the weights.
//!
//! **Not here.** Training (`residual-train`).
//!
//! ```
//! use residual_model::{Classifier, Picture, Model};
//! # use residual_data::{Dataset, Faces, Preprocess, Split};
//! # use residual_tensor::Generator;
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("face.safetensors");
//! # let (faces, preprocess) = (Faces::new(0, Split::Test, 7), Preprocess::new(Faces::SHAPE));
//! # let config = residual_zoo::NetworkConfig::named("cifar_resnet8")?.classes(7).input_channels(1);
//! # let net = config.build(&mut Generator::new(0))?;
//! # Model::<f32> { net, classes: faces.classes().to_vec(), preprocess }.save(&path)?;
//! # faces.get(0)?.image.save_png(folder.path().join("face.png"))?;
//!
//! let model = Classifier::open(&path)?;
//! # let path = folder.path().join("face.png");
//! let picture = Picture::open(&path)?;
//! let [first, second] = &model.predict(&picture)?.top(2)[..] else { unreachable!("seven classes") };
//! assert!(first.probability >= second.probability);
//! println!("{}, or {}", first.class, second.class);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod classifier;
mod error;
mod explain;
mod labels;
mod model;
mod onnx;
mod options;
mod prediction;
mod recognize;
mod spec;
mod views;
mod weights;

pub use classifier::Classifier;
pub use error::{ModelError, TomlError};
pub use explain::Explanation;
pub use model::Model;
pub use onnx::onnx_graph;
pub use options::{Description, OpenOptions, Opened};
pub use prediction::{Guess, Prediction};
pub use residual_data::{Picture, Preprocess};
pub use residual_tensor::Tensor;
pub use spec::ModelSpec;
pub use views::Views;
pub use weights::{OPTIMIZER, TRAINING, fill, load_weights, take_training, weights_of};

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, ModelError>;

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
