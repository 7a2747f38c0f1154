//! Every residual network as a row of a table, built from one definition.
//!
//! **Decision.** A network is data: a [`ResNetConfig`] says the stem, the kind of block, how many
//! per stage, and the paper's choices as enums. [`named`](ResNetConfig::named) looks one up by
//! torchvision's name or the paper's; a plain net is the same row with `residual: false`. One
//! struct, [`ResNet`], is built from any of them.
//!
//! **Rejected.** A function per network: they differ in five numbers, and copies drift.
//!
//! **Not here.** Training, files, trained weights.
//!
//! ```
//! use residual_nn::Module;
//! use residual_tensor::Generator;
//! use residual_zoo::{ResNetConfig, Summary};
//!
//! let mut generator = Generator::new(0);
//! let net = ResNetConfig::named("resnet18")?.classes(7).input_channels(1).build::<f32>(&mut generator)?;
//! let summary = Summary::of(&net, [1, 1, 48, 48])?;
//! assert_eq!(summary.parameters, net.parameter_count());
//! println!("{} multiply-adds", summary.multiply_adds);
//! # Ok::<(), residual_zoo::ZooError>(())
//! ```
#![forbid(unsafe_code)]

mod config;
mod error;
mod resnet;
mod summary;
mod table;

pub use config::{ResNetConfig, Stem};
pub use error::{Result, ZooError};
pub use resnet::ResNet;
pub use summary::Summary;
pub use table::names;
