//! Weights averaged over the steps of a run, running statistics included: what is validated, saved and used in
//! place of the weights that the steps move.

use std::{collections::BTreeMap, mem};

use residual_nn::{Module, Role, State};
use residual_tensor::{Float, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    Result, TrainError,
    slices::{approach, are_finite},
};

/// How weights are averaged. A step moves the average towards the weights by a part of the difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Averaging {
    /// An exponential average that the training knows nothing of (Polyak & Juditsky 1992).
    Ema {
        /// What remains of the average at each update, such as 0.999.
        decay: f64,
        /// Steps from update to update.
        #[serde(default = "one")]
        every: u64,
        /// Whether the decay begins small, at `1 − n^(−2/3)` in update n, as timm has it.
        #[serde(default)]
        warm_up: bool,
    },
    /// The weights return to the average at each update (Zhang et al. 2019, "Lookahead"), which follows them
    /// ever more slowly: `decay^every · (part of the run)³` of it remains, as in Jordan 2024.
    Lookahead {
        /// What remains of the average in a step at the end of the run, such as 0.95.
        decay: f64,
        /// Steps from update to update.
        every: u64,
    },
}

fn one() -> u64 {
    1
}

impl Averaging {
    /// What remains of the average after a step, counted from 1, if it is updated then.
    fn remains(&self, step: u64, steps: u64) -> Option<f64> {
        match *self {
            Self::Ema { decay, every, warm_up } => step.is_multiple_of(every).then(|| {
                let update = (step / every) as f64;
                if warm_up { decay.min(1.0 - update.powf(-2.0 / 3.0)) } else { decay }
            }),
            Self::Lookahead { decay, every } => step
                .is_multiple_of(every)
                .then(|| decay.powf(every as f64) * (step as f64 / steps.max(1) as f64).powi(3)),
        }
    }

    /// # Errors
    /// [`TrainError::Setting`] naming a number that makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        let (Self::Ema { decay, every, .. } | Self::Lookahead { decay, every }) = *self;
        TrainError::unless_within("average.decay", decay, 0.0..=1.0, "between 0 and 1")?;
        TrainError::unless_within("average.every", every as f64, 1.0..=1e9, "at least 1")
    }
}

/// The weights that a network does not hold now: the averaged ones while steps are made, the ones that the
/// steps move at all other times.
#[derive(Debug, Clone)]
pub(crate) struct Average<T: Float> {
    how: Averaging,
    other: BTreeMap<String, Tensor<T>>,
}

/// What is averaged: everything but counters.
fn averaged<T: Float>(net: &dyn Module<T>) -> impl Iterator<Item = (String, State<T>)> {
    net.states().into_iter().filter(|(_, state)| state.role() != Role::Counter)
}

impl<T: Float> Average<T> {
    /// An average that begins with the weights.
    pub(crate) fn new(how: Averaging, net: &dyn Module<T>) -> Self {
        Self { how, other: averaged(net).map(|(path, state)| (path, state.value())).collect() }
    }

    /// The tensors that the network does not hold now, by path.
    pub(crate) fn other(&self) -> &BTreeMap<String, Tensor<T>> {
        &self.other
    }

    /// The path of one of them that holds an infinite value or none, if there is one.
    pub(crate) fn broken(&self) -> Option<String> {
        self.other.iter().find(|(_, tensor)| !are_finite(tensor.as_slice())).map(|(path, _)| path.clone())
    }

    /// Takes over saved tensors, in the layout of those whose place they take; what is missing stays as it is.
    pub(crate) fn restore(&mut self, saved: impl IntoIterator<Item = (String, Tensor<T>)>) {
        for (path, tensor) in saved {
            if let Some(held) = self.other.get_mut(&path) {
                *held = tensor.to_layout(held.layout());
            }
        }
    }

    /// Exchanges what the network holds with what it does not.
    pub(crate) fn exchange(&mut self, net: &dyn Module<T>) {
        for (path, state) in averaged(net) {
            if let Some(other) = self.other.get_mut(&path) {
                state.update(|held| mem::swap(held, other));
            }
        }
    }

    /// Follows the network after a step, counted from 1, of a run of so many.
    pub(crate) fn follow(&mut self, net: &dyn Module<T>, step: u64, steps: u64) {
        let Some(remains) = self.how.remains(step, steps) else { return };
        let part = T::of(1.0 - remains);
        for (path, state) in averaged(net) {
            let Some(average) = self.other.get_mut(&path) else { continue };
            let value = state.value();
            let value = value.to_layout(average.layout());
            approach(average.as_mut_slice(), value.as_slice(), part);
            if let Averaging::Lookahead { .. } = self.how {
                drop(value);
                state.update(|held| {
                    let average = average.to_layout(held.layout());
                    held.as_mut_slice().copy_from_slice(average.as_slice());
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use residual_nn::Linear;
    use residual_tensor::Generator;

    use super::*;

    fn layer(weight: f64) -> Linear<f64> {
        let layer = Linear::new(1, 1, &mut Generator::new(1)).unwrap();
        layer.weight.set(&Tensor::full([1, 1], weight)).unwrap();
        layer
    }

    fn move_to(layer: &Linear<f64>, weight: f64) {
        layer.weight.set(&Tensor::full([1, 1], weight)).unwrap();
    }

    #[test]
    fn an_exponential_average_leaves_the_weights_alone() {
        let net = layer(1.0);
        let mut average = Average::new(Averaging::Ema { decay: 0.75, every: 2, warm_up: false }, &net);
        for (step, (weight, expected)) in (1..).zip([(3.0, 1.0), (5.0, 2.0), (9.0, 2.0), (6.0, 3.0)]) {
            move_to(&net, weight);
            average.follow(&net, step, 100);
            assert_eq!(average.other()["weight"].to_vec(), [expected]);
            assert_eq!(net.weight.value().to_vec(), [weight]);
        }
        average.exchange(&net);
        assert_eq!((net.weight.value().to_vec(), average.other()["weight"].to_vec()), (vec![3.0], vec![6.0]));
        assert_eq!(average.broken(), None);
        average.restore([("weight".to_owned(), Tensor::full([1, 1], f64::NAN))]);
        assert_eq!(average.broken().unwrap(), "weight");
    }

    #[test]
    fn lookahead_takes_the_weights_back() {
        let net = layer(0.0);
        let mut average = Average::new(Averaging::Lookahead { decay: 0.5, every: 1 }, &net);
        move_to(&net, 1.0);
        average.follow(&net, 1, 2); // 0.5 · (½)³ remains of 0
        assert_eq!(net.weight.value().to_vec(), [1.0 - 0.0625]);
        move_to(&net, 2.0);
        average.follow(&net, 2, 2);
        assert_eq!(net.weight.value().to_vec(), [0.5 * 0.9375 + 0.5 * 2.0]);
    }

    #[test]
    fn a_warm_up_is_timms() {
        // timm.utils.ModelEmaV3(net, decay=0.9998, use_warmup=True, warmup_power=2/3).get_decay(step)
        let ema = Averaging::Ema { decay: 0.9998, every: 1, warm_up: true };
        let at = |step| ema.remains(step, 100).unwrap();
        assert_eq!(at(1), 0.0);
        assert!((at(10) - 0.784_556_530_996_811_7).abs() < 1e-12, "{}", at(10));
        assert_eq!(at(10_000_000), 0.9998);
    }
}
