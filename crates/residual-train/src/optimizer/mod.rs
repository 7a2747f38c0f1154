//! How a step is made from gradients: the optimizers, each in a file of its own, and what they share. When
//! the rate changes is the [schedule](crate::Schedule)'s business.

mod adamw;
mod config;
mod gradient;
mod muon;
mod sgd;

use std::collections::BTreeMap;

use residual_nn::{Error, Module};
use residual_tensor::{Float, Shape, Tensor};
use serde::{Deserialize, Serialize};

pub use adamw::{AdamW, AdamWRule};
pub use config::{OptimizerConfig, OptimizerKind};
pub use gradient::{GradientSource, GradientSum};
pub use muon::{Muon, MuonRule};
pub use sgd::{Sgd, SgdRule};

/// Which parameters are pulled towards zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayOn {
    /// All of them, as in the paper.
    #[default]
    All,
    /// The weights of convolutions and the classifier only: not γ, β or the classifier's bias
    /// (He et al. 2019, "Bag of Tricks").
    Weights,
}

/// What holds for some of the parameters only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Groups {
    /// What the weight decay applies to.
    pub decay_on: DecayOn,
    /// The learning rate of biases, and of the shifts β of normalizations, over that of weights. What pulls
    /// them towards zero stays as strong as it is for weights.
    pub bias_rate: f64,
    /// The learning rate of the scales γ of normalizations over that of weights: 0 leaves them at 1.
    pub scale_rate: f64,
}

impl Default for Groups {
    /// One rate and one decay for all.
    fn default() -> Self {
        Self { decay_on: DecayOn::All, bias_rate: 1.0, scale_rate: 1.0 }
    }
}

impl Groups {
    /// The factors of learning rate and weight decay for a parameter.
    fn factors(&self, path: &str, shape: &Shape) -> (f64, f64) {
        let is_weight = shape.rank() > 1;
        let rate = match path.rsplit('.').next() {
            _ if is_weight => 1.0,
            Some("bias") => self.bias_rate,
            _ => self.scale_rate,
        };
        let decays = self.decay_on == DecayOn::All || is_weight;
        let decay = if decays && rate > 0.0 { rate.recip() } else { 0.0 };
        (rate, decay)
    }
}

/// Any of the optimizers, as a configuration has it.
#[derive(Debug, Clone)]
pub struct Optimizer<T: Float>(Rule<T>);

#[derive(Debug, Clone)]
enum Rule<T: Float> {
    Sgd(Sgd<T>),
    AdamW(AdamW<T>),
    Muon(Muon<T>),
}

impl<T: Float> Optimizer<T> {
    /// An optimizer at rest.
    pub fn new(config: &OptimizerConfig) -> Self {
        let mut new = Self(match config.kind {
            OptimizerKind::Sgd => Rule::Sgd(Sgd::new(config.rule())),
            OptimizerKind::Adamw => Rule::AdamW(AdamW::new(config.adamw_rule())),
            OptimizerKind::Muon => Rule::Muon(Muon::new(config.muon_rule(), config.rest_rule())),
        });
        new.configure(config);
        new
    }

    /// Takes over the coefficients of another configuration of the same kind; what has been collected stays.
    pub(crate) fn configure(&mut self, config: &OptimizerConfig) {
        let groups = config.groups();
        match (&mut self.0, config.kind) {
            (Rule::Sgd(sgd), OptimizerKind::Sgd) => (sgd.rule, sgd.groups) = (config.rule(), groups),
            (Rule::AdamW(adamw), OptimizerKind::Adamw) => {
                (adamw.rule, adamw.groups) = (config.adamw_rule(), groups);
            }
            (Rule::Muon(muon), OptimizerKind::Muon) => {
                (muon.rule, muon.rest.rule, muon.rest.groups) =
                    (config.muon_rule(), config.rest_rule(), groups);
            }
            _ => *self = Self::new(config),
        }
    }

    /// Moves every trained parameter that has a gradient. The rates are `factor` times the largest ones;
    /// `momentum` stands in for the configured one of SGD and Muon, and for the first β of AdamW.
    ///
    /// # Errors
    /// If a gradient, or what has been collected, does not have the shape of its parameter, which is named.
    pub fn step(
        &mut self,
        net: &dyn Module<T>,
        gradients: &impl GradientSource<T>,
        factor: f64,
        momentum: Option<f64>,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Rule::Sgd(sgd) => sgd.step_at(net, gradients, factor, momentum),
            Rule::AdamW(adamw) => adamw.step_at(net, gradients, factor, momentum),
            Rule::Muon(muon) => muon.step_at(net, gradients, factor, momentum),
        }
    }

    /// All that there is to save, by names such as `velocity.conv1.weight`: what is collected, and the path
    /// of the parameter.
    pub fn tensors(&self) -> Vec<(String, &Tensor<T>)> {
        fn list<'a, T: Float>(
            kind: &'a str,
            tensors: &'a BTreeMap<String, Tensor<T>>,
        ) -> impl Iterator<Item = (String, &'a Tensor<T>)> {
            tensors.iter().map(move |(path, tensor)| (format!("{kind}.{path}"), tensor))
        }
        match &self.0 {
            Rule::Sgd(sgd) => list(VELOCITY, sgd.velocity()).collect(),
            Rule::AdamW(adamw) => {
                let [first, second] = adamw.moments();
                list(FIRST, first).chain(list(SECOND, second)).collect()
            }
            Rule::Muon(muon) => {
                list(MUON, muon.velocity()).chain(list(VELOCITY, muon.rest.velocity())).collect()
            }
        }
    }

    /// Takes over what has been saved after so many steps. What belongs to another optimizer is left out.
    pub fn restore(&mut self, tensors: impl IntoIterator<Item = (String, Tensor<T>)>, steps: u64) {
        let mut kinds: BTreeMap<String, BTreeMap<String, Tensor<T>>> = BTreeMap::new();
        for (name, tensor) in tensors {
            let Some((kind, path)) = name.split_once('.') else { continue };
            kinds.entry(kind.to_owned()).or_default().insert(path.to_owned(), tensor);
        }
        let mut take = |kind: &str| kinds.remove(kind).unwrap_or_default();
        match &mut self.0 {
            Rule::Sgd(sgd) => sgd.set_velocity(take(VELOCITY)),
            Rule::AdamW(adamw) => adamw.set_moments([take(FIRST), take(SECOND)], steps),
            Rule::Muon(muon) => {
                muon.set_velocity(take(MUON));
                muon.rest.set_velocity(take(VELOCITY));
            }
        }
    }
}

/// What optimizers collect for each parameter.
const VELOCITY: &str = "velocity";
const FIRST: &str = "first-moment";
const SECOND: &str = "second-moment";
const MUON: &str = "muon-velocity";
