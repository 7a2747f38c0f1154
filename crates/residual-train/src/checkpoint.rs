//! Everything that a run changes, and the file that it is kept in: that of a
//! [`Model`], with the optimizer's tensors beside the weights and the rest as JSON in the metadata.
//! A checkpoint is enough to use the network, and to go on training it.

use std::{collections::BTreeMap, path::Path};

use residual_model::{Model, ModelError, OPTIMIZER, OpenOptions, TRAINING, load_weights, take_training};
use residual_tensor::Float;
use residual_weights::{Entry, Weights, safetensors};
use serde::{Deserialize, Serialize};

use crate::{
    EpochRecord, Optimizer, Result, RunConfig, Tally, TrainConfig, TrainError, Trainable, average::Average,
};

/// A network with all that is needed to use it and to train it further. Its file is that of its
/// [`model`](Self::model), with more in it: whoever wants to use the network alone opens that.
#[derive(Debug)]
pub struct Checkpoint<T: Float, N = Model<T>, C = TrainConfig> {
    /// The network; of those of `residual-zoo` with its classes and what is done to a picture before. Where
    /// weights are averaged, it holds the average.
    pub model: N,
    /// What trains it.
    pub optimizer: Optimizer<T>,
    /// The weights that the steps move, where others are used.
    pub(crate) average: Option<Average<T>>,
    /// How it is trained, and how far that is.
    pub training: Training<C>,
}

/// How a network is trained, and how far that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training<C = TrainConfig> {
    /// What was asked for.
    pub config: C,
    /// Where in the data the run is.
    pub position: Position,
    /// Loss and hits of the epoch that has begun.
    pub tally: Tally,
    /// The epochs that have ended.
    pub history: Vec<EpochRecord>,
}

/// A place in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are behind.
    pub epoch: u64,
    /// Batches of the next one that are behind.
    pub batch: u64,
    /// Batches of an epoch.
    pub batches_per_epoch: u64,
}

impl Position {
    /// Iterations that are behind.
    pub fn iterations(&self) -> u64 {
        self.epoch.saturating_mul(self.batches_per_epoch).saturating_add(self.batch)
    }
}

impl<C> Training<C> {
    /// A run that has not begun.
    pub fn new(config: C) -> Self {
        Self { config, position: Position::default(), tally: Tally::default(), history: Vec::new() }
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<&EpochRecord> {
        EpochRecord::best(&self.history)
    }
}

/// What the names of the weights that the steps move begin with, behind [`OPTIMIZER`], where an average is used.
const TRAINED: &str = "trained.";

impl<T: Float, N: Trainable<T>, C: RunConfig> Checkpoint<T, N, C> {
    /// A network that has not been trained yet.
    pub fn new(model: N, config: C) -> Self {
        let fit = config.fit();
        let average = fit.average.map(|how| Average::new(how, model.module()));
        Self { model, optimizer: Optimizer::new(&fit.optimizer), average, training: Training::new(config) }
    }

    /// Exchanges the average with the weights that the steps move, if there is an average.
    pub(crate) fn exchange(&mut self) {
        if let Some(average) = &mut self.average {
            average.exchange(self.model.module());
        }
    }

    /// Writes the checkpoint, replacing a file that is there only when the new one is complete.
    ///
    /// # Errors
    /// [`WeightsError`](residual_weights::WeightsError) with the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut weights = self.model.to_weights();
        for (name, tensor) in self.optimizer.tensors() {
            weights.insert(format!("{OPTIMIZER}{name}"), Entry::from_float(tensor));
        }
        for (path, tensor) in self.average.iter().flat_map(Average::other) {
            weights.insert(format!("{OPTIMIZER}{TRAINED}{path}"), Entry::from_float(tensor));
        }
        let training = serde_json::to_string(&self.training).expect("names, numbers and lists");
        weights.metadata.insert(TRAINING.to_owned(), training);
        Ok(safetensors::write(path, &weights)?)
    }

    /// Reads the checkpoint of a network of one's own into a network of the same kind.
    ///
    /// # Errors
    /// If the file cannot be read or is no checkpoint, or its tensors are not those of the network;
    /// with the path.
    pub fn restore(path: impl AsRef<Path>, model: N) -> Result<Self> {
        let path = path.as_ref();
        let (weights, parts) = Parts::take(residual_weights::load(path)?);
        load_weights(model.module(), weights).map_err(|mismatch| ModelError::mismatch(path, mismatch))?;
        parts.with(model, path)
    }
}

impl<T: Float> Checkpoint<T> {
    /// Reads a checkpoint and builds its network.
    ///
    /// # Errors
    /// What [`Model::open`] reports; [`TrainError::NotCheckpoint`] for a model without what trains it,
    /// [`ModelError::Description`] and [`ModelError::Mismatch`] if that does not fit.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (weights, parts) = Parts::take(residual_weights::load(path)?);
        parts.with(OpenOptions::new().build(weights, path)?.model(path)?, path)
    }
}

/// What a checkpoint's file holds beside the network.
struct Parts {
    optimizer: Weights,
    training: Option<String>,
}

impl Parts {
    /// Takes them out of the content of a file, and returns the rest, too.
    fn take(mut weights: Weights) -> (Weights, Self) {
        let (optimizer, training) = take_training(&mut weights);
        (weights, Self { optimizer, training })
    }

    fn with<T: Float, N: Trainable<T>, C: RunConfig>(
        self,
        model: N,
        path: &Path,
    ) -> Result<Checkpoint<T, N, C>> {
        let refuse = |reason| ModelError::Description { path: path.into(), key: TRAINING, reason };
        let training = self.training.ok_or_else(|| TrainError::NotCheckpoint { path: path.into() })?;
        let training: Training<C> =
            serde_json::from_str(&training).map_err(|error| refuse(error.to_string()))?;
        let shapes: BTreeMap<_, _> =
            model.module().states().into_iter().map(|(path, state)| (path, state.shape())).collect();
        let of_state = |name: &str| shapes.get(name.split_once('.')?.1);
        let known = self.optimizer.names().filter_map(|name| Some((name, of_state(name)?)));
        self.optimizer.check(known).map_err(|mismatch| ModelError::mismatch(path, mismatch))?;

        let new = Checkpoint::new(model, training.config.clone());
        let Checkpoint { model, mut optimizer, mut average, .. } = new;
        let tensors = self.optimizer.iter().map(|(name, tensor)| (name.to_owned(), tensor.to_float::<T>()));
        let (mut trained, mut collected) = (Vec::new(), Vec::new());
        for (name, tensor) in tensors {
            match name.strip_prefix(TRAINED) {
                Some(path) => trained.push((path.to_owned(), tensor)),
                None => collected.push((name, tensor)),
            }
        }
        optimizer.restore(collected, training.position.iterations());
        if let Some(average) = &mut average {
            average.restore(trained);
        }
        Ok(Checkpoint { model, optimizer, average, training })
    }
}
