//! Fine-tuning: the weights that a new network begins with, from a file that may be another
//! network's in part. Which of them stay as they are is the network's business
//! ([`Trainable::freeze_until`]); going on with a run is [`Trainer::resume`](crate::Trainer::resume).

use std::path::PathBuf;

use residual_data::Preprocess;
use residual_model::{ModelError, OpenOptions, fill};
use residual_tensor::Float;
use residual_weights::{Mismatch, Rename, Weights};
use residual_zoo::NetworkConfig;
use serde::{Deserialize, Serialize};

use crate::{Result, TrainError, Trainable};

/// Which weights a run begins with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// The file: a checkpoint, or weights of any format and by anybody's names.
    pub weights: String,
    /// How its tensors are renamed; if not at all, as well-known repositories need it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rename: Vec<Rename>,
    /// Whether the classifier stays new, whatever the file has.
    #[serde(default)]
    pub replace_head: bool,
    /// Whether to take what fits and leave out the rest.
    #[serde(default)]
    pub allow_partial: bool,
}

/// What a run has begun with.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// How many of its tensors are in the network now.
    pub tensors: usize,
    /// Whether the classifier was to be a new one.
    pub new_head: bool,
    /// What did not fit, and was left out or stayed new.
    pub rest: Mismatch,
    /// What was done to pictures when the weights were trained, if the file says so, or if they are
    /// those of a classifier of ImageNet's 1000 classes: torchvision's files say nothing.
    pub preprocess: Option<Preprocess>,
}

impl Loaded {
    /// Whether a parameter of the network, whose classifier is `head`, came from the file.
    pub(crate) fn has(&self, path: &str, head: &str) -> bool {
        let Mismatch { missing, wrong_shape, .. } = &self.rest;
        let is_new = missing.iter().chain(wrong_shape.iter().map(|wrong| &wrong.name)).any(|new| new == path);
        !(is_new || self.new_head && is_in(path, head))
    }
}

/// Whether a state belongs to the layer of this path.
fn is_in(path: &str, layer: &str) -> bool {
    path.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.'))
}

impl InitConfig {
    /// The network that the file's weights belong to, if the file says it or its tensors show it.
    ///
    /// # Errors
    /// What [`OpenOptions::weights`] reports, and [`OpenOptions::describe`] of a file that says which network
    /// it holds.
    pub fn network(&self) -> Result<Option<NetworkConfig>> {
        let options = OpenOptions::new().rename(self.rename.clone());
        let weights = options.weights(&self.weights)?;
        match options.describe(&weights, &self.weights) {
            Ok(description) => Ok(Some(description.network)),
            Err(ModelError::Unrecognized { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the file's weights into a network.
    ///
    /// # Errors
    /// What [`OpenOptions::weights`] reports; [`TrainError::Init`] with everything that does not fit and
    /// what can be done about it. The network is then unchanged.
    pub fn load<T: Float>(&self, net: &dyn Trainable<T>) -> Result<Loaded> {
        let path = PathBuf::from(&self.weights);
        let mut weights = OpenOptions::new().rename(self.rename.clone()).weights(&path)?;
        let preprocess = preprocess_of(&weights, net.head());
        let mut states = net.module().states();
        if self.replace_head {
            states.retain(|(path, _)| !is_in(path, net.head()));
            let head: Vec<String> =
                weights.names().filter(|name| is_in(name, net.head())).map(str::to_owned).collect();
            head.iter().for_each(|name| drop(weights.remove(name)));
        }
        let expected = states.iter().map(|(path, state)| (path, state.shape()));
        let rest = weights.check(expected).err().unwrap_or_default();
        let fits = rest == Mismatch::default();
        let tensors = if fits || self.allow_partial { fill(states, weights) } else { 0 };
        if tensors == 0 {
            let hint = hint(&rest, net.stem(), net.head());
            return Err(TrainError::Init { path, source: rest.into(), hint });
        }
        Ok(Loaded { path, tensors, new_head: self.replace_head, rest, preprocess })
    }
}

fn preprocess_of(weights: &Weights, head: &str) -> Option<Preprocess> {
    const IMAGENET_CLASSES: usize = 1000;
    if let Some(described) = weights.metadata.get("preprocess") {
        return serde_json::from_str(described).ok();
    }
    let classes = *weights.get(&format!("{head}.weight"))?.shape().first()?;
    (classes == IMAGENET_CLASSES).then(Preprocess::imagenet)
}

/// What to do about weights that do not fit a network with this stem and head.
fn hint(mismatch: &Mismatch, stem: &str, head: &str) -> String {
    let mut hints = Vec::new();
    let mut explained = 0;
    for wrong in &mismatch.wrong_shape {
        let layer = wrong.name.rsplit_once('.').map_or("", |(layer, _)| layer);
        match (&wrong.found[..], &wrong.expected[..]) {
            ([found, a], [classes, b]) if layer == head && a == b => {
                hints.push(format!(
                    "the classifier is one of {found} classes, but the data has {classes}: \
                     init.replace_head begins with a new one"
                ));
                explained += 1;
            }
            ([_], [_]) if layer == head => explained += 1,
            (&[o, found, ref k @ ..], &[p, channels, ref l @ ..]) if layer == stem && o == p && k == l => {
                hints.push(format!(
                    "{stem} takes pictures of {found} channels, but the data's have {channels}, and neither is \
                     converted: bring the pictures to {found} channels, or begin with a new {stem} by \
                     init.allow_partial"
                ));
                explained += 1;
            }
            _ => {}
        }
    }
    if !mismatch.missing.is_empty() && mismatch.missing.iter().all(|name| is_in(name, head)) {
        hints.push("init.replace_head begins with a new classifier".to_owned());
        explained += mismatch.missing.len();
    }
    if explained < mismatch.missing.len() + mismatch.unexpected.len() + mismatch.wrong_shape.len() {
        hints.push(
            "name the network that the weights belong to, rename tensors by init.rename, or take only what fits by \
             init.allow_partial"
                .to_owned(),
        );
    }
    hints.join("; ")
}
