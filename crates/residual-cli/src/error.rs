//! Errors of the command: those of the libraries, and those of the command line itself. Each is
//! one line.

use std::{io, path::PathBuf};

use residual_data::DataError;
use residual_kernels::KernelError;
use residual_model::ModelError;
use residual_report::ReportError;
use residual_train::TrainError;
use residual_weights::WeightsError;
use residual_zoo::ZooError;

/// Result with this crate's error.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why the command ends without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}", in_flags(.0))]
    Train(#[from] TrainError),
    #[error("{}{}", .0, option_for(.0))]
    Model(#[from] ModelError),
    #[error(transparent)]
    Report(#[from] Box<ReportError>),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Zoo(#[from] ZooError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Layer(#[from] residual_nn::Error),
    #[error("stopped in epoch {epoch}; go on with: residual train --resume {}", .folder.display())]
    Stopped { epoch: u64, folder: PathBuf },
    #[error("{failed} of {all} pictures could not be read; they are named above")]
    Pictures { failed: usize, all: usize },
    #[error("there are no PNG or JPEG pictures in {}", .path.display())]
    NoPictures { path: PathBuf },
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    /// What an environment variable asks for does not exist.
    #[error(transparent)]
    Environment(#[from] KernelError),
    #[error("{0}")]
    Usage(String),
}

/// The options of this command that an error of a library, which knows none, is an occasion for.
fn option_for(error: &ModelError) -> &'static str {
    match error {
        ModelError::Unrecognized { .. } => " (--model MODEL)",
        ModelError::Preprocessing { .. } => " (--mean and --std)",
        ModelError::Mismatch { .. } => " (--model names another network, --rename other names)",
        ModelError::Zoo(ZooError::Unknown { .. }) => " (`residual summary --list` names all)",
        _ => "",
    }
}

/// An error of the training, whose settings are options here.
fn in_flags(error: &TrainError) -> String {
    const OPTIONS: [(&str, &str); 4] = [
        ("init.replace_head", "--replace-head"),
        ("init.allow_partial", "--allow-partial"),
        ("init.rename", "--rename"),
        ("init.weights", "--init"),
    ];
    match error {
        TrainError::Init { .. } | TrainError::FrozenNew { .. } => OPTIONS
            .into_iter()
            .fold(error.to_string(), |told, (setting, option)| told.replace(setting, option)),
        _ => error.to_string(),
    }
}

impl Error {
    /// 130, as the shell has it, for an interruption; 2 for a command line that makes no sense.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Stopped { .. } => 130,
            Self::Usage(_) | Self::Environment(_) => 2,
            _ => 1,
        }
    }
}
