//! Fine-tuning: the weights that a new network begins with, from a file that may be another
//! network's in part. Which of them stay as they are is the network's business
//! ([`Network::freeze_until`]); going on with a run is [`Trainer::resume`](crate::Trainer::resume).

use std::path::PathBuf;

use residual_model::{OpenOptions, fill};
use residual_nn::Module;
use residual_tensor::Float;
use residual_weights::{Mismatch, Rename};
use residual_zoo::{Network, NetworkConfig};
use serde::{Deserialize, Serialize};

use crate::{Result, TrainError};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// How many of its tensors are in the network now.
    pub tensors: usize,
    /// Whether the classifier was to be a new one.
    pub new_head: bool,
    /// What the classifier's tensors begin with.
    pub head: String,
    /// What did not fit, and was left out or stayed new.
    pub rest: Mismatch,
}

impl Loaded {
    /// Whether a parameter of the network came from the file.
    pub(crate) fn has(&self, path: &str) -> bool {
        let Mismatch { missing, wrong_shape, .. } = &self.rest;
        let is_new = missing.iter().chain(wrong_shape.iter().map(|wrong| &wrong.name)).any(|new| new == path);
        !(is_new || self.new_head && path.starts_with(&self.head))
    }
}

impl InitConfig {
    /// Puts the file's weights into a network.
    ///
    /// # Errors
    /// What [`OpenOptions::weights`] reports; [`TrainError::Init`] with everything that does not fit and
    /// what can be done about it. The network is then unchanged.
    pub fn load<T: Float>(&self, net: &Network<T>) -> Result<Loaded> {
        let path = PathBuf::from(&self.weights);
        let mut weights = OpenOptions::new().rename(self.rename.clone()).weights(&path)?;
        let mut states = net.states();
        let head = format!("{}.", net.config().classifier());
        if self.replace_head {
            states.retain(|(path, _)| !path.starts_with(&head));
            let old: Vec<String> =
                weights.names().filter(|name| name.starts_with(&head)).map(str::to_owned).collect();
            old.iter().for_each(|name| drop(weights.remove(name)));
        }
        let expected = states.iter().map(|(path, state)| (path, state.shape()));
        let rest = weights.check(expected).err().unwrap_or_default();
        let fits = rest == Mismatch::default();
        let tensors = if fits || self.allow_partial { fill(states, weights) } else { 0 };
        if tensors == 0 {
            let hint = hint(&rest, net.config());
            return Err(TrainError::Init { path, source: rest.into(), hint });
        }
        Ok(Loaded { path, tensors, new_head: self.replace_head, head, rest })
    }
}

/// What to do about weights that do not fit.
fn hint(mismatch: &Mismatch, network: &NetworkConfig) -> String {
    let (head, first) = (format!("{}.", network.classifier()), network.first_convolution());
    let mut hints = Vec::new();
    let mut explained = 0;
    for wrong in &mismatch.wrong_shape {
        let (layer, state) = wrong.name.rsplit_once('.').unwrap_or_default();
        let (is_head, is_first) = (layer == network.classifier(), layer == first);
        match (state, &wrong.found[..], &wrong.expected[..]) {
            ("weight", [found, a], [classes, b]) if is_head && a == b => {
                hints.push(format!(
                    "the classifier is one of {found} classes, but the data has {classes}: \
                     --replace-head begins with a new one"
                ));
                explained += 1;
            }
            ("bias", [_], [_]) if is_head => explained += 1,
            ("weight", &[o, found, ref k @ ..], &[p, channels, ref l @ ..])
                if is_first && o == p && k == l =>
            {
                hints.push(format!(
                    "{first} takes pictures of {found} channels, but the data's have {channels}, and neither is \
                     converted: bring the pictures to {found} channels, or begin with a new {first} by --allow-partial"
                ));
                explained += 1;
            }
            _ => {}
        }
    }
    if !mismatch.missing.is_empty() && mismatch.missing.iter().all(|name| name.starts_with(&head)) {
        hints.push("--replace-head begins with a new classifier".to_owned());
        explained += mismatch.missing.len();
    }
    if explained < mismatch.missing.len() + mismatch.unexpected.len() + mismatch.wrong_shape.len() {
        hints.push(
            "name the network that the weights belong to with --model, rename tensors with --rename, or take \
             only what fits with --allow-partial"
                .to_owned(),
        );
    }
    hints.join("; ")
}
