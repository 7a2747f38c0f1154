//! What decides about a training, whatever is trained and whatever it learns from.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Averaging, Decay, Mix, OptimizerConfig, Result, Schedule, Span, TrainError};

/// How a network of one's own is trained.
///
/// ```
/// use residual_train::{FitConfig, Span};
///
/// let config = FitConfig { length: Span::Epochs(30.0), batch: 32, ..FitConfig::default() };
/// assert!(config.to_toml().contains("length = \"30 epochs\""));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// How long to train.
    pub length: Span,
    /// Samples in a batch.
    pub batch: usize,
    /// Samples that go through the network at once, if not the whole batch: it is divided into parts of so
    /// many, whose gradients are added up. Less memory, which caches hold more of; normalization takes its
    /// statistics from a part ("ghost batch norm", Hoffer et al. 2017).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// What order and variation of the samples follow from.
    pub seed: u64,
    /// Whether blocks keep their input only and run again in the backward pass: very deep networks
    /// fit the memory then, for about a third more time. Does not change the result.
    pub checkpoint_gradients: bool,
    /// On how many training samples the statistics of normalizations are measured again when the run ends,
    /// with the weights that it ends with; 0 to keep those that were collected on the way, as where `patience`
    /// ends a run.
    pub exact_statistics: usize,
    /// Epochs without a better one after which a run ends, if it is to end early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// How samples are mixed with others of their batch.
    pub mix: Mix,
    /// How weights are averaged over the steps, if they are: the average is what is validated and saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<Averaging>,
    /// How a step is made.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    pub schedule: Schedule,
}

impl Default for FitConfig {
    /// Ten epochs of batches of 64; one of warm-up, then along a cosine.
    fn default() -> Self {
        Self {
            length: Span::Epochs(10.0),
            batch: 64,
            seed: 0,
            micro_batch: None,
            checkpoint_gradients: false,
            exact_statistics: 0,
            patience: None,
            mix: Mix::default(),
            average: None,
            optimizer: OptimizerConfig { nesterov: true, weight_decay: 5e-4, ..OptimizerConfig::default() },
            schedule: Schedule::new(Decay::Cosine { floor: 0.0 }).warm_up(Span::Epochs(1.0)),
        }
    }
}

impl FitConfig {
    /// The configuration as a file.
    ///
    /// # Panics
    /// Never: every configuration can be written as TOML.
    pub fn to_toml(&self) -> String {
        RunConfig::to_toml(self)
    }

    /// # Errors
    /// [`TrainError::Setting`] naming a number that makes no sense.
    pub fn check(&self) -> Result<()> {
        let within = TrainError::unless_within;
        within("batch", self.batch as f64, 1.0..=1e6, "between 1 and 1000000")?;
        let length = match self.length {
            Span::Epochs(epochs) => epochs,
            Span::Iterations(iterations) => iterations as f64,
        };
        within("length", length, f64::MIN_POSITIVE..=1e12, "more than nothing, and at most 1e12")?;
        let part = self.micro_batch.unwrap_or(1);
        within("micro_batch", part as f64, 1.0..=1e6, "between 1 and 1000000")?;
        self.mix.check()?;
        self.average.map_or(Ok(()), |average| average.check())?;
        self.optimizer.check()?;
        self.schedule.check()
    }
}

/// A configuration that a run's checkpoint holds: [`FitConfig`] or, of the networks of
/// `residual-zoo` on pictures, [`TrainConfig`](crate::TrainConfig).
pub trait RunConfig: Clone + Serialize + DeserializeOwned + Send {
    /// What of it concerns the training alone.
    fn fit(&self) -> FitConfig;

    /// All of it as a file.
    ///
    /// # Panics
    /// If it cannot be written as TOML.
    fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration of strings, numbers and tables")
    }
}

impl RunConfig for FitConfig {
    fn fit(&self) -> FitConfig {
        self.clone()
    }
}
