//! An optimizer as settings.

use serde::{Deserialize, Serialize};

use super::{AdamWRule, DecayOn, Groups, MuonRule, SgdRule};
use crate::{Result, TrainError};

/// Which optimizer makes the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    Adamw,
    /// Momentum whose matrices are made orthogonal, for convolutions (Jordan et al. 2024); SGD for the rest.
    Muon,
}

impl OptimizerKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sgd, Self::Adamw, Self::Muon];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::Adamw => "adamw",
            Self::Muon => "muon",
        }
    }
}

impl std::str::FromStr for OptimizerKind {
    type Err = TrainError;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| TrainError::Optimizer {
            name: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// How a step is made.
///
/// What a file does not mention is as the optimizer usually has it ([`of`](Self::of)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "Partial")]
pub struct OptimizerConfig {
    /// Which optimizer.
    pub kind: OptimizerKind,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// The part of the velocity that remains from step to step.
    pub momentum: f64,
    /// How strongly parameters are pulled towards zero.
    pub weight_decay: f64,
    /// Whether to step as if the velocity had been applied already.
    pub nesterov: bool,
    /// Which parameters the weight decay applies to.
    pub decay_on: DecayOn,
    /// The learning rate of biases, and of the shifts β of normalizations, over that of weights. What pulls
    /// them towards zero stays as strong as it is for weights.
    pub bias_rate: f64,
    /// The learning rate of the scales γ of normalizations over that of weights: 0 leaves them at 1.
    pub scale_rate: f64,
    /// All gradients together, as one vector, are shortened to this length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// AdamW's β₁ and β₂.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// What AdamW's step is divided by at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// Muon's largest learning rate for what is no convolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest_learning_rate: Option<f64>,
    /// Muon's momentum for what is no convolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest_momentum: Option<f64>,
}

/// As it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Partial {
    #[serde(default)]
    kind: OptimizerKind,
    learning_rate: Option<f64>,
    momentum: Option<f64>,
    weight_decay: Option<f64>,
    nesterov: Option<bool>,
    decay_on: Option<DecayOn>,
    bias_rate: Option<f64>,
    scale_rate: Option<f64>,
    clip_norm: Option<f64>,
    betas: Option<[f64; 2]>,
    epsilon: Option<f64>,
    rest_learning_rate: Option<f64>,
    rest_momentum: Option<f64>,
}

impl From<Partial> for OptimizerConfig {
    fn from(partial: Partial) -> Self {
        let usual = Self::of(partial.kind);
        Self {
            kind: partial.kind,
            learning_rate: partial.learning_rate.unwrap_or(usual.learning_rate),
            momentum: partial.momentum.unwrap_or(usual.momentum),
            weight_decay: partial.weight_decay.unwrap_or(usual.weight_decay),
            nesterov: partial.nesterov.unwrap_or(usual.nesterov),
            decay_on: partial.decay_on.unwrap_or(usual.decay_on),
            bias_rate: partial.bias_rate.unwrap_or(usual.bias_rate),
            scale_rate: partial.scale_rate.unwrap_or(usual.scale_rate),
            clip_norm: partial.clip_norm.or(usual.clip_norm),
            betas: partial.betas.or(usual.betas),
            epsilon: partial.epsilon.or(usual.epsilon),
            rest_learning_rate: partial.rest_learning_rate.or(usual.rest_learning_rate),
            rest_momentum: partial.rest_momentum.or(usual.rest_momentum),
        }
    }
}

impl Default for OptimizerConfig {
    /// SGD as in He et al. 2015.
    fn default() -> Self {
        Self::of(OptimizerKind::Sgd)
    }
}

/// PyTorch's β₁, β₂ and ε of AdamW.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

impl OptimizerConfig {
    /// The usual settings: SGD as in He et al. 2015, AdamW as in PyTorch, Muon as in Jordan 2024
    /// ("airbench94_muon", its rates turned into those of a mean loss).
    pub fn of(kind: OptimizerKind) -> Self {
        let sgd = Self {
            kind,
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 1e-4,
            nesterov: false,
            decay_on: DecayOn::All,
            bias_rate: 1.0,
            scale_rate: 1.0,
            clip_norm: None,
            betas: None,
            epsilon: None,
            rest_learning_rate: None,
            rest_momentum: None,
        };
        match kind {
            OptimizerKind::Sgd => sgd,
            OptimizerKind::Adamw => Self {
                learning_rate: 1e-3,
                weight_decay: 0.01,
                decay_on: DecayOn::Weights,
                betas: Some(BETAS),
                epsilon: Some(EPSILON),
                ..sgd
            },
            OptimizerKind::Muon => Self {
                learning_rate: 0.24,
                momentum: 0.6,
                nesterov: true,
                weight_decay: 1e-3,
                rest_learning_rate: Some(1.5),
                rest_momentum: Some(0.85),
                ..sgd
            },
        }
    }

    /// The coefficients of a step of SGD at the largest rate.
    pub fn rule(&self) -> SgdRule {
        let &Self { learning_rate, momentum, weight_decay, nesterov, .. } = self;
        SgdRule { learning_rate, momentum, weight_decay, nesterov }
    }

    /// Those of AdamW.
    pub fn adamw_rule(&self) -> AdamWRule {
        let &Self { learning_rate, weight_decay, .. } = self;
        let (betas, epsilon) = (self.betas.unwrap_or(BETAS), self.epsilon.unwrap_or(EPSILON));
        AdamWRule { learning_rate, betas, epsilon, weight_decay }
    }

    /// Those of Muon.
    pub fn muon_rule(&self) -> MuonRule {
        let &Self { learning_rate, momentum, nesterov, .. } = self;
        MuonRule { learning_rate, momentum, nesterov }
    }

    /// Those of SGD for what Muon leaves to it.
    pub(super) fn rest_rule(&self) -> SgdRule {
        let learning_rate = self.rest_learning_rate.unwrap_or(self.learning_rate);
        SgdRule { learning_rate, momentum: self.rest_momentum.unwrap_or(self.momentum), ..self.rule() }
    }

    /// What holds for some of the parameters only.
    pub fn groups(&self) -> Groups {
        let &Self { decay_on, bias_rate, scale_rate, .. } = self;
        Groups { decay_on, bias_rate, scale_rate }
    }

    /// # Errors
    /// [`TrainError::Setting`] naming a number that makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        let within = TrainError::unless_within;
        within("optimizer.learning_rate", self.learning_rate, 0.0..=1e6, "a rate such as 0.1")?;
        within("optimizer.momentum", self.momentum, 0.0..=1.0, "between 0 and 1")?;
        within("optimizer.weight_decay", self.weight_decay, 0.0..=1.0, "between 0 and 1")?;
        within("optimizer.bias_rate", self.bias_rate, 0.0..=1e4, "between 0 and 10000")?;
        within("optimizer.scale_rate", self.scale_rate, 0.0..=1e4, "between 0 and 10000")?;
        let clip = self.clip_norm.unwrap_or(1.0);
        within("optimizer.clip_norm", clip, f64::MIN_POSITIVE..=1e12, "more than 0")?;
        for beta in self.betas.unwrap_or(BETAS) {
            within("optimizer.betas", beta, 0.0..=0.999_999_9, "between 0 and 1")?;
        }
        within("optimizer.epsilon", self.epsilon.unwrap_or(EPSILON), f64::MIN_POSITIVE..=1.0, "above 0")?;
        let rest = self.rest_learning_rate.unwrap_or(0.0);
        within("optimizer.rest_learning_rate", rest, 0.0..=1e6, "a rate such as 0.1")?;
        let rest = self.rest_momentum.unwrap_or(0.0);
        within("optimizer.rest_momentum", rest, 0.0..=1.0, "between 0 and 1")
    }
}
