//! A network with everything that is needed to use it, and the file that holds it: a safetensors
//! file with the weights under torchvision's names, and the rest as JSON in the metadata.

use std::{collections::BTreeMap, path::Path};

use residual_data::Preprocess;
use residual_nn::{Module, Role};
use residual_tensor::Float;
use residual_weights::{Entry, Mismatch, Weights, safetensors};
use residual_zoo::{Network, NetworkConfig};
use serde::{Serialize, de::DeserializeOwned};

use crate::{ModelError, Result, load_weights};

/// A network with its weights, the names of its classes and what is done to a picture before the
/// network sees it.
///
/// ```no_run
/// use residual_model::Model;
///
/// let model = Model::<f32>::open("runs/faces-1/best.safetensors")?;
/// println!("{}: {}", model.net.config().name, model.classes.join(", "));
/// # Ok::<(), residual_model::ModelError>(())
/// ```
#[derive(Debug)]
pub struct Model<T: Float> {
    /// The network.
    pub net: Network<T>,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// What is done to a picture before the network sees it.
    pub preprocess: Preprocess,
}

/// What the metadata's `format` says.
const FORMAT: &str = "residual model 1";
/// What it said in the checkpoints of a version that knew no other files. They hold the same.
const FORMAT_OF_CHECKPOINTS: &str = "residual checkpoint 1";
/// In front of the names of what trains the network. Such tensors stand beside the weights in the
/// checkpoints of a training, and are no part of the model.
const OPTIMIZER: &str = "optimizer.";

impl<T: Float> Model<T> {
    /// Reads a model from a file that [`save`](Self::save) has written, or a checkpoint of
    /// `residual-train`.
    ///
    /// # Errors
    /// [`ModelError::Weights`] if the file cannot be read; then as
    /// [`from_weights`](Self::from_weights).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_weights(residual_weights::load(path)?, path)
    }

    /// The model in the content of a file that was read from `path`.
    ///
    /// # Errors
    /// [`ModelError::Bare`] if it holds weights alone, [`ModelError::Description`] and
    /// [`ModelError::Mismatch`] if its parts do not fit each other; all with the path.
    pub fn from_weights(mut weights: Weights, path: &Path) -> Result<Self> {
        let metadata = std::mem::take(&mut weights.metadata);
        let refuse = |key, reason| ModelError::Description { path: path.into(), key, reason };
        match metadata.get("format").map(String::as_str) {
            Some(FORMAT | FORMAT_OF_CHECKPOINTS) => {}
            Some(other) if other.starts_with("residual ") => return Err(refuse("format", other.to_owned())),
            _ => return Err(ModelError::Bare { path: path.into() }),
        }
        let config: NetworkConfig = part(path, &metadata, "model")?;
        let classes: Vec<String> = part(path, &metadata, "classes")?;
        let preprocess: Preprocess = part(path, &metadata, "preprocess")?;
        check_size(&config, &preprocess, &weights).map_err(|(key, reason)| refuse(key, reason))?;
        if classes.len() != config.classes {
            let reason = format!("{} names for {} classes", classes.len(), config.classes);
            return Err(refuse("classes", reason));
        }
        remove_optimizer(&mut weights);
        let net = config.build_blank()?;
        load_weights(&net, weights)
            .map_err(|source: Mismatch| ModelError::Mismatch { path: path.into(), source: source.into() })?;
        Ok(Self { net, classes, preprocess })
    }

    /// The content of a file that holds the model.
    pub fn to_weights(&self) -> Weights {
        let states = self.net.states().into_iter().map(|(path, state)| {
            let value = state.value();
            let entry = match state.role() {
                Role::Counter => value.map(|count| count.to_f64() as i64).into(),
                Role::Parameter | Role::Buffer => Entry::from_float(&value),
            };
            (path, entry)
        });
        let mut weights: Weights = states.collect();
        weights.metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("model".to_owned(), json(self.net.config())),
            ("classes".to_owned(), json(&self.classes)),
            ("preprocess".to_owned(), json(&self.preprocess)),
        ]);
        weights
    }

    /// Writes the model, replacing a file that is there only when the new one is complete.
    ///
    /// # Errors
    /// [`ModelError::Weights`] with the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(safetensors::write(path, &self.to_weights())?)
    }
}

/// Refuses a description of something much larger than the file that it is in, before memory is
/// asked for: it may have been tampered with.
fn check_size(
    model: &NetworkConfig,
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

/// Takes out what trained the network.
pub(crate) fn remove_optimizer(weights: &mut Weights) {
    let names: Vec<String> =
        weights.names().filter(|name| name.starts_with(OPTIMIZER)).map(str::to_owned).collect();
    names.iter().for_each(|name| drop(weights.remove(name)));
}

fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part).expect("names, numbers and lists")
}

fn part<P: DeserializeOwned>(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<P> {
    let refuse = |reason| ModelError::Description { path: path.into(), key, reason };
    let text = metadata.get(key).ok_or_else(|| refuse("it is absent".to_owned()))?;
    serde_json::from_str(text).map_err(|error| refuse(error.to_string()))
}
