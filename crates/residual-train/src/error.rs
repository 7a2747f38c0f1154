//! What can go wrong around training. Each message is one line that says what to do.

use std::{io, ops::RangeInclusive, path::PathBuf};

use residual_data::DataError;
use residual_model::{ModelError, TomlError};
use residual_weights::{Mismatch, WeightsError};
use residual_zoo::ZooError;

use crate::Span;

/// A run that cannot start, go on or be used.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data set cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A layer refused its input.
    #[error(transparent)]
    Layer(#[from] residual_nn::Error),
    /// A model's file cannot be understood.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The network does not exist or cannot be built.
    #[error(transparent)]
    Zoo(#[from] ZooError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A configuration that is not valid TOML, or says what is not known.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// A length of training that is not understood.
    #[error(
        "'{}' is no length of training; write it like '20 epochs' or '64000 iterations'",
        .text.escape_debug()
    )]
    Span {
        /// What was written.
        text: String,
    },
    /// A recipe that does not exist.
    #[error("there is no recipe '{}'; the recipes are {known}", .name.escape_debug())]
    Recipe {
        /// The name asked for.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// An optimizer that does not exist.
    #[error("there is no optimizer '{}'; the optimizers are {known}", .name.escape_debug())]
    Optimizer {
        /// The name asked for.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A number outside the range where it means something.
    #[error("{name} must be {range}, but is {value}")]
    Setting {
        /// The setting's place in the configuration.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be right.
        range: &'static str,
    },
    /// Training pictures of another size, where every pixel has a mean of its own.
    #[error(
        "pictures of another size (train_input, progressive_resizing) have no mean for each of their pixels; set standardise to channel"
    )]
    TrainInput,
    /// A run that would train nothing.
    #[error("a run of {length} with {per_epoch} steps an epoch trains nothing; make it longer")]
    NoSteps {
        /// Its length.
        length: Span,
        /// The steps of an epoch.
        per_epoch: u64,
    },
    /// A part of a network that does not exist.
    #[error("the network has no part '{}'; its parts are {known}", .part.escape_debug())]
    Part {
        /// The part asked for.
        part: String,
        /// Those that exist.
        known: String,
    },
    /// A setting that a run that goes on cannot change.
    #[error(
        "{key} was {from} when the run began, and cannot become {to} in a run that goes on; set it back, or start a \
         new run"
    )]
    Fixed {
        /// The setting's place in the configuration.
        key: &'static str,
        /// What the run began with.
        from: String,
        /// What it was to become.
        to: String,
    },
    /// A setting that cannot be changed like this.
    #[error("cannot set '{}': {reason}", .text.escape_debug())]
    Assignment {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refuses to read or write a file.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A model, and no training to go on with.
    #[error("{} holds a model, but no training to go on with; begin a new run with its weights", .path.display())]
    NotCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// The folder already holds a run.
    #[error("{} already holds a run; resume it, or choose another folder", .path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// Another program is training in the folder.
    #[error("another program is training in {}; wait until it has ended, or choose another folder", .path.display())]
    Running {
        /// The folder.
        path: PathBuf,
    },
    /// Weights to begin with that are not those of the network.
    #[error("{}: {source}; {hint}", .path.display())]
    Init {
        /// The file.
        path: PathBuf,
        /// All differences.
        source: Box<Mismatch>,
        /// What can be done.
        hint: String,
    },
    /// A new run that would keep what nobody trained.
    #[error(
        "freezing until {stage} would keep {path} as it is drawn; begin with trained weights for it (init.weights), or freeze less"
    )]
    FrozenNew {
        /// The first stage that is trained.
        stage: String,
        /// A parameter before it that is new.
        path: String,
    },
    /// A run cannot go on from a checkpoint of another network or other data.
    #[error(
        "cannot resume: the checkpoint has {checkpoint}, but this run has {run}; resume with the same model and data"
    )]
    Resume {
        /// What the checkpoint holds.
        checkpoint: String,
        /// What the run asks for.
        run: String,
    },
    /// Pictures of other classes than those that the network knows.
    #[error("the network knows {network}, but {data} has {found}; use data with the same classes")]
    Classes {
        /// The classes of the network.
        network: String,
        /// The name of the data set.
        data: String,
        /// Its classes.
        found: String,
    },
    /// Numbers became infinite or none.
    #[error(
        "training diverged: {what} after {iteration} iterations (epoch {epoch}), where the learning rate \
         is {learning_rate}; lower it or lengthen the warm-up. {kept}"
    )]
    Diverged {
        /// What is infinite or not a number.
        what: String,
        /// Iterations that were made.
        iteration: u64,
        /// The epoch, counted from 1.
        epoch: u64,
        /// The learning rate.
        learning_rate: f64,
        /// Where the last good state is.
        kept: String,
    },
}

impl TrainError {
    /// [`Setting`](Self::Setting) unless the value lies in the range.
    pub(crate) fn unless_within(
        name: &'static str,
        value: f64,
        allowed: RangeInclusive<f64>,
        range: &'static str,
    ) -> Result<(), Self> {
        if allowed.contains(&value) { Ok(()) } else { Err(Self::Setting { name, value, range }) }
    }

    /// Turns the system's error into this crate's, with the path that it lacks.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
