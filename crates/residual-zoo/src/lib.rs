//! Every network as a row of a table.
//!
//! **Decision.** A network is data: a [`NetworkConfig`] says the stem, the kind of block, how many
//! per stage, and the paper's choices as enums. [`named`](NetworkConfig::named) looks one up by
//! torchvision's name or the paper's; a plain net is the same row with `residual: false`. Any of them
//! is built as a [`Network`]. Kinds of networks are rows of a table, too: a ConvNeXt is a file and a row.
//!
//! **Rejected.** A function per network: they differ in five numbers, and copies drift.
//!
//! **Not here.** Training, files, trained weights.
//!
//! ```
//! use residual_zoo::{Generator, Module, NetworkConfig, Summary};
//!
//! let mut generator = Generator::new(0);
//! let net = NetworkConfig::named("resnet18")?.classes(7).input_channels(1).build::<f32>(&mut generator)?;
//! let summary = Summary::of(&net, [1, 1, 48, 48])?;
//! assert_eq!(summary.parameters, net.parameter_count());
//! println!("{} multiply-adds", summary.multiply_adds);
//! # Ok::<(), residual_zoo::ZooError>(())
//! ```
#![forbid(unsafe_code)]

mod architecture;
mod config;
mod convnext;
mod error;
mod network;
mod resnet;
mod stem;
mod summary;
mod table;

pub use architecture::{Architecture, names};
pub use config::NetworkConfig;
pub use error::{Result, ZooError};
pub use network::Network;
pub use residual_nn::Module;
pub use residual_tensor::{Generator, Tensor};
pub use stem::Stem;
pub use summary::Summary;

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
