//! Why a report could not be made.

use std::{io, path::PathBuf};

use residual_data::DataError;
use residual_model::ModelError;
use residual_train::TrainError;

/// A report that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The best network of the run cannot be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It cannot be evaluated.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A picture cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The system refuses to write a file.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A drawing or the page could not be made.
    #[error("cannot make the report: {reason}")]
    Drawing {
        /// Why not.
        reason: String,
    },
}
