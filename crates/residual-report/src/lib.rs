//! What a training was like, to look at: the run as a page, its curves and its confusion matrix, and
//! where the time of a training step goes; and the papers' claims as experiments.
//!
//! - [`write`](write()) puts `report.html`, `curves.svg`, `confusion.svg` and `sample.png` into the
//!   folder of a run.
//! - [`experiment`] measures a claim and writes a page of its own.
//! - [`comparison_svg`] draws runs beside each other.
//! - [`explanation_picture`] draws where a network looks.
//! - [`network_svg`] draws a network as the paper's figure 3 does.
//! - [`rates_svg`] draws the losses of a [`RateTrial`](residual_train::RateTrial).
//! - [`profile_svg`] draws a [`Profile`](residual_train::Profile).
//!
//! **Decision.** The page is one file that needs nothing else: drawings and pictures are part of it.
//!
//! **Not here.** What is measured of a run: that is decided where it is measured (`residual-train`).
//!
//! ```
//! use residual_train::{Data, RunFolder, Span, TrainConfig, Trainer};
//!
//! let config = TrainConfig {
//!     data: "faces:70".parse()?,
//!     batch: 14,
//!     input: Some([12, 12]),
//!     length: Span::Epochs(1.0),
//!     ..TrainConfig::default()
//! };
//! let data = Data::open(&config.data, config.corrupt)?;
//! let mut trainer = Trainer::<f32>::new(config, data)?;
//! # let place = tempfile::tempdir()?;
//! # let runs = place.path();
//! let folder = RunFolder::numbered(runs, "faces")?;
//! trainer.fit(Some(&folder), &mut (), &false.into())?;
//!
//! residual_report::write(&folder, &trainer)?;
//! assert!(folder.report().exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod comparison;
mod confusion;
mod curves;
mod data_uri;
mod drawing;
mod error;
pub mod experiment;
mod explanation;
mod machine;
mod network;
mod numbers;
mod page;
mod plot;
mod profile;
mod rates;

pub use comparison::comparison_svg;
pub use error::ReportError;
pub use explanation::explanation_picture;
pub use machine::Machine;
pub use network::network_svg;
pub use page::{Report, write};
pub use profile::profile_svg;
pub use rates::rates_svg;

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, ReportError>;

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
