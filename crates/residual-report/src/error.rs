//! Why a report could not be made.

use std::{io, path::PathBuf};

use residual_data::DataError;
use residual_kernels::KernelError;
use residual_model::ModelError;
use residual_train::TrainError;
use residual_weights::WeightsError;
use residual_zoo::ZooError;

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
    /// A network of an experiment cannot be built.
    #[error(transparent)]
    Zoo(#[from] ZooError),
    /// A layer of a network refused its input.
    #[error(transparent)]
    Layer(#[from] residual_nn::Error),
    /// An operation refused its input.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] WeightsError),
    /// The system refuses to make a folder.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Pictures that no experiment can be made with.
    #[error("{data} does not suit an experiment: {reason}")]
    Pictures {
        /// The data set.
        data: String,
        /// What it lacks, or has too much of.
        reason: String,
    },
    /// A training that was kept was begun with another setting.
    #[error(
        "{} was begun with other pictures, another seed or another length; write to another folder, or delete this one",
        .path.display()
    )]
    OtherTraining {
        /// Its checkpoint.
        path: PathBuf,
    },
    /// A drawing or the page could not be made.
    #[error("cannot make the report: {reason}")]
    Drawing {
        /// Why not.
        reason: String,
    },
}

/// The error of a drawing or a page that could not be made.
pub(crate) fn failed(error: impl std::fmt::Display) -> ReportError {
    ReportError::Drawing { reason: error.to_string().replace('\n', " ") }
}
