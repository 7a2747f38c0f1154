//! What can be wrong with the file of a model. Each message is one line that says what to do.

use std::{io, path::PathBuf};

use residual_data::DataError;
use residual_weights::{Mismatch, RenameError, WeightsError};
use residual_zoo::ZooError;

/// A model that cannot be opened, used or saved.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The network does not exist or cannot be built.
    #[error(transparent)]
    Zoo(#[from] ZooError),
    /// A layer refused its input.
    #[error(transparent)]
    Layer(#[from] residual_nn::Error),
    /// A file of weights cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A picture cannot be brought to what the network takes.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The system refuses to read a file.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The description of a network cannot be understood.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Views of pictures that do not exist, or not for this network.
    #[error("cannot average over the views '{}': {reason}", .text.escape_debug())]
    Views {
        /// What was asked for.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights of which nobody says to which network they belong.
    #[error(
        "{} does not say which network its weights belong to, and they are not those of one that is known by name; \
         name the network, or describe it in a TOML file",
        .path.display()
    )]
    Unrecognized {
        /// The file.
        path: PathBuf,
    },
    /// A network of which nobody says what it was trained on.
    #[error(
        "{} does not say how pictures are prepared for '{}'; give the mean and the standard deviation of its input",
        .path.display(), .network.escape_debug()
    )]
    Preprocessing {
        /// The file.
        path: PathBuf,
        /// The network.
        network: String,
    },
    /// A class that the model does not have.
    #[error("there is no class '{}': the classes are {known}", .name.escape_debug())]
    Class {
        /// The class asked for.
        name: String,
        /// Those that there are, or the first of them.
        known: String,
    },
    /// A place in the network that does not exist, or where a picture has no height and width any more.
    #[error("there is nothing to look at in '{}': name a stage, such as {known}", .stage.escape_debug())]
    Stage {
        /// The place asked for.
        stage: String,
        /// The stages that there are.
        known: String,
    },
    /// Names for another number of classes.
    #[error("{}: the network has {network} classes, but there are {names} names; give one for each", .path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// How many names were given.
        names: usize,
        /// How many classes the network has.
        network: usize,
    },
    /// A file of this project whose description is malformed.
    #[error("{}: the file's '{key}' cannot be understood ({reason}); it was written by another version", .path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// The part of the metadata.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Tensors that are not those of the network.
    #[error("{}: {source}", .path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// All differences.
        source: Box<Mismatch>,
    },
    /// A rule for names that does not fit the file.
    #[error("{}: {source}", .path.display())]
    Rename {
        /// The file.
        path: PathBuf,
        /// Which rule, and why.
        source: RenameError,
    },
}

impl ModelError {
    /// [`Mismatch`](Self::Mismatch) of the file at `path`.
    pub fn mismatch(path: impl Into<PathBuf>, source: Mismatch) -> Self {
        Self::Mismatch { path: path.into(), source: source.into() }
    }
}

/// A file that is not valid TOML, or says what is not known.
#[derive(Debug, thiserror::Error)]
#[error("{}, line {line}: {message}", .path.display())]
pub struct TomlError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl TomlError {
    /// The error that reading `text`, the content of the file at `path`, ended with.
    pub fn new(path: impl Into<PathBuf>, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1;
        Self { path: path.into(), line, message: error.message().replace('\n', " ") }
    }
}
