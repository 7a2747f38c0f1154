//! Everything that a run changes, and the file that it is kept in: a safetensors file with the
//! weights under torchvision's keys, the optimizer's tensors beside them, and the rest as JSON in
//! the metadata. A checkpoint is enough to use the network, and to go on training it.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use residual_data::{Dataset, Loader, LoaderConfig, Preprocess};
use residual_nn::{Module, Role};
use residual_tensor::Float;
use residual_weights::{Entry, Weights, safetensors};
use residual_zoo::{ResNet, ResNetConfig};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{EpochRecord, Result, Sgd, Tally, TrainConfig, TrainError, load_weights};

/// A network with all that is needed to use it and to train it further.
///
/// ```no_run
/// use residual_data::Image;
/// use residual_train::{Checkpoint, layer_by_layer, predict};
///
/// let checkpoint = Checkpoint::<f32>::open("runs/faces-1/best.safetensors")?;
/// let picture = Image::load("face.png")?;
/// let probabilities = predict(layer_by_layer(&checkpoint.net), &checkpoint.preprocess, &[picture])?;
/// for (class, probability) in checkpoint.classes.iter().zip(probabilities.as_slice()) {
///     println!("{class}: {probability:.3}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint<T: Float> {
    /// The network.
    pub net: ResNet<T>,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// What is done to a picture before the network sees it.
    pub preprocess: Preprocess,
    /// What trains it.
    pub optimizer: Sgd<T>,
    /// How it is trained, and how far that is.
    pub training: Training,
}

/// How a network is trained, and how far that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// What was asked for.
    pub config: TrainConfig,
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

impl Training {
    /// The best epoch so far.
    pub fn best(&self) -> Option<&EpochRecord> {
        self.history.iter().reduce(|best, record| if record.is_better_than(best) { record } else { best })
    }
}

/// What the metadata's `format` says.
const FORMAT: &str = "residual checkpoint 1";
/// In front of the velocity of a parameter.
const VELOCITY: &str = "optimizer.velocity.";

impl<T: Float> Checkpoint<T> {
    /// Writes the checkpoint, replacing a file that is there only when the new one is complete.
    ///
    /// # Errors
    /// [`TrainError::Weights`] with the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let states = self.net.states().into_iter().map(|(path, state)| {
            let value = state.value();
            let entry = match state.role() {
                Role::Counter => value.map(|count| count.to_f64() as i64).into(),
                Role::Parameter | Role::Buffer => Entry::from_float(&value),
            };
            (path, entry)
        });
        let velocity = self.optimizer.velocity().iter();
        let velocity =
            velocity.map(|(path, velocity)| (format!("{VELOCITY}{path}"), Entry::from_float(velocity)));
        let mut weights: Weights = states.chain(velocity).collect();
        weights.metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("model".to_owned(), json(self.net.config())),
            ("classes".to_owned(), json(&self.classes)),
            ("preprocess".to_owned(), json(&self.preprocess)),
            ("training".to_owned(), json(&self.training)),
        ]);
        Ok(safetensors::write(path, &weights)?)
    }

    /// The pictures of a data set as the network sees them, all of them, in order.
    ///
    /// # Errors
    /// [`TrainError::Classes`] if the data has other classes than the network;
    /// [`TrainError::Data`] if it is empty.
    pub fn loader(&self, data: Arc<dyn Dataset>, batch: usize) -> Result<Loader> {
        if data.classes() != self.classes {
            let listed = |classes: &[String]| format!("{} classes ({})", classes.len(), FirstFew(classes));
            let (network, found) = (listed(&self.classes), listed(data.classes()));
            return Err(TrainError::Classes { network, data: data.name().to_owned(), found });
        }
        Ok(Loader::new(data, self.preprocess.clone(), LoaderConfig::eval(batch))?)
    }

    /// Reads a checkpoint and builds its network.
    ///
    /// # Errors
    /// [`TrainError::Weights`] if the file cannot be read, [`TrainError::NotCheckpoint`] if it
    /// holds weights alone, [`TrainError::Description`] and [`TrainError::Mismatch`] if its parts
    /// do not fit each other; all with the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut weights = residual_weights::load(path)?;
        let metadata = std::mem::take(&mut weights.metadata);
        match metadata.get("format").map(String::as_str) {
            Some(FORMAT) => {}
            Some(other) if other.starts_with("residual checkpoint") => {
                return Err(description(path, "format", other));
            }
            _ => return Err(TrainError::NotCheckpoint { path: path.into() }),
        }
        let model: ResNetConfig = part(path, &metadata, "model")?;
        let classes: Vec<String> = part(path, &metadata, "classes")?;
        let preprocess: Preprocess = part(path, &metadata, "preprocess")?;
        let training: Training = part(path, &metadata, "training")?;
        check_size(&model, &preprocess, &weights).map_err(|(key, reason)| description(path, key, reason))?;
        if classes.len() != model.classes {
            let reason = format!("{} names for {} classes", classes.len(), model.classes);
            return Err(description(path, "classes", reason));
        }

        let net = model.build_blank()?;
        let velocity = take_velocity(&mut weights);
        let mismatch = |source| TrainError::Mismatch { path: path.into(), source };
        load_weights(&net, weights).map_err(mismatch)?;
        let shapes: BTreeMap<_, _> =
            net.parameters().into_iter().map(|(path, state)| (path, state.shape())).collect();
        let known = velocity.names().filter_map(|name| Some((name, shapes.get(name)?)));
        velocity.check(known).map_err(mismatch)?;

        let config = &training.config.optimizer;
        let mut optimizer = Sgd::new(config.rule()).decay_on(config.decay_on);
        optimizer.set_velocity(velocity.iter().map(|(path, v)| (path.to_owned(), v.to_float())).collect());
        Ok(Self { net, classes, preprocess, optimizer, training })
    }
}

/// The first names of many.
pub(crate) struct FirstFew<'a>(pub(crate) &'a [String]);

impl fmt::Display for FirstFew<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FEW: usize = 5;
        let shown: Vec<String> =
            self.0.iter().take(FEW).map(|name| name.escape_debug().to_string()).collect();
        f.write_str(&shown.join(", "))?;
        if self.0.len() > FEW { f.write_str(", …") } else { Ok(()) }
    }
}

/// Refuses a description of something much larger than the file that it is in, before memory is
/// asked for: it may have been tampered with.
fn check_size(
    model: &ResNetConfig,
    preprocess: &Preprocess,
    weights: &Weights,
) -> std::result::Result<(), (&'static str, String)> {
    const LONGEST_SIDE: usize = 8192;
    preprocess.check().map_err(|error| ("preprocess", error.to_string()))?;
    if preprocess.input.height.max(preprocess.input.width) > LONGEST_SIDE {
        return Err(("preprocess", format!("an input of {}", preprocess.input)));
    }
    let wide = |n: usize| n as u128;
    let held: u128 = weights.iter().map(|(_, entry)| wide(entry.shape().elements())).sum();
    let blocks: u128 = model.depths.iter().copied().map(wide).sum();
    if model.least_parameters() > held || blocks > wide(weights.len()) {
        return Err(("model", "the network is larger than the file".to_owned()));
    }
    Ok(())
}

/// Takes the velocities out of the weights of a file.
pub(crate) fn take_velocity(weights: &mut Weights) -> Weights {
    let names: Vec<String> =
        weights.names().filter(|name| name.starts_with(VELOCITY)).map(str::to_owned).collect();
    let taken = |name: &String| Some((name[VELOCITY.len()..].to_owned(), weights.remove(name)?));
    names.iter().filter_map(taken).collect()
}

fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part).expect("names, numbers and lists")
}

fn part<P: DeserializeOwned>(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<P> {
    let text = metadata.get(key).ok_or_else(|| description(path, key, "it is absent"))?;
    serde_json::from_str(text).map_err(|error| description(path, key, error.to_string()))
}

fn description(path: &Path, key: &'static str, reason: impl Into<String>) -> TrainError {
    TrainError::Description { path: path.into(), key, reason: reason.into() }
}
