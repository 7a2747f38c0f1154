//! Training of residual networks: optimizer, schedules, checkpoints, metrics, run folders.
//!
//! - [`Trainer`] runs what a [`TrainConfig`] says and tells an [`Observer`] about it.
//! - [`Checkpoint`] is all that a run changes, in one file: to use the network
//!   (its file opens as a [`Model`](residual_model::Model), too) and to go on training it.
//! - [`Sgd`], [`AdamW`], [`Muon`] and [`Schedule`] serve a training loop of one's own, too; [`Profile`] tells where the
//!   time of a step goes.
//!
//! **Decision.** The trainer's state *is* the checkpoint, and everything else is a pure function of
//! configuration and position: learning rate, order and variation of the pictures. A run that is
//! stopped in the middle of an epoch and resumed ends with the same bits as one that was not, for
//! any number of threads.
//!
//! **Rejected.** Callbacks that may change the run: what a run does would no longer follow from its
//! configuration, and could not be repeated from it.
//!
//! **Not here.** Progress bars and colours (`residual-cli`); reports (`residual-report`); models in
//! use (`residual-model`); networks (`residual-zoo`); reading pictures (`residual-data`).
//!
//! ```
//! use residual_train::{Data, Span, TrainConfig, Trainer};
//!
//! let config = TrainConfig {
//!     data: "faces:28".parse()?,
//!     batch: 14,
//!     input: Some([12, 12]),
//!     length: Span::Iterations(2),
//!     ..TrainConfig::default()
//! };
//! let data = Data::open(&config.data, config.corrupt)?;
//! let mut trainer = Trainer::<f32>::new(config, data)?;
//! trainer.fit(None, &mut (), &false.into())?;
//! assert!(trainer.checkpoint().training.best().is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod average;
mod calibration;
mod checkpoint;
mod class_weights;
mod config;
mod error;
mod evaluate;
mod folder;
mod gradient_length;
mod init;
mod metrics;
mod mix;
mod objective;
mod observer;
mod optimizer;
mod pace;
mod pictures;
pub mod profile;
mod progressive;
mod recipe;
mod record;
mod run_config;
mod schedule;
mod slices;
mod statistics;
mod step;
mod tensorboard;
mod trainable;
mod trainer;
mod trial;
mod whitening;

pub use average::Averaging;
pub use calibration::{Bin, Calibration};
pub use checkpoint::{Checkpoint, Position, Training};
pub use class_weights::ClassWeights;
pub use config::TrainConfig;
pub use error::TrainError;
pub use evaluate::{Evaluation, Mistake, evaluate, layer_by_layer, loader};
pub use folder::RunFolder;
pub use gradient_length::GradientLength;
pub use init::{InitConfig, Loaded};
pub use metrics::{ClassScore, Confusion, Tally, predicted};
pub use mix::Mix;
pub use objective::{CrossEntropy, MeanSquaredError, Objective};
pub use observer::{EpochRecord, Observer, Start, Step};
pub use optimizer::{
    AdamW, AdamWRule, DecayOn, GradientSource, GradientSum, Groups, Muon, MuonRule, Optimizer,
    OptimizerConfig, OptimizerKind, Sgd, SgdRule,
};
pub use pictures::Data;
pub use profile::Profile;
pub use progressive::ProgressiveResizing;
pub use recipe::Recipe;
pub use record::RunRecord;
pub use run_config::{FitConfig, RunConfig};
pub use schedule::{Curve, Decay, RunLength, Schedule, Span, WarmUp};
pub use tensorboard::TensorBoard;
pub use trainable::Trainable;
pub use trainer::{Outcome, Trainer};
pub use trial::{RateTrial, Rehearsal};

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, TrainError>;

/// The example of the workspace's README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ReadMe;

/// The crate's own README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct OwnReadMe;
