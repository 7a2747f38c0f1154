//! How the learning rate changes during a run: a pure function of the iteration and, where a rate falls when
//! nothing gets better, of the epochs so far, so that there is nothing to save. What is done with the rate is
//! the optimizer's business.

mod decay;
mod span;

use serde::{Deserialize, Serialize};

use crate::TrainError;

pub use decay::{Curve, Decay};
pub use span::{RunLength, Span};

/// The learning rate over a run, as a factor of the optimizer's rate.
///
/// ```
/// use residual_train::{Decay, RunLength, Schedule, Span};
///
/// // He et al. 2015, section 4.2: divided by 10 at 32k and 48k of 64k iterations.
/// let at = vec![Span::Iterations(32_000), Span::Iterations(48_000)];
/// let paper = Schedule::new(Decay::MultiStep { at, factor: 0.1 });
/// let length = RunLength { per_epoch: 390, iterations: 64_000 };
/// assert_eq!([0, 31_999, 32_000].map(|i| paper.factor(i, &length)), [1.0, 1.0, 0.1]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The factor rises to 1 during this span, and decays only afterwards (Goyal et al. 2017). One-cycle, which
    /// rises by itself, has no warm-up.
    #[serde(default = "none")]
    pub warm_up: Span,
    /// What it rises from.
    #[serde(default)]
    pub warm_up_from: f64,
    /// How it rises.
    #[serde(default)]
    pub warm_up_shape: WarmUp,
    /// How it falls.
    #[serde(default)]
    pub decay: Decay,
}

/// How the factor rises in the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarmUp {
    /// In a straight line.
    #[default]
    Linear,
    /// At once, when the span is over: He et al. 2015 begin ResNet-110 like this.
    Constant,
}

fn none() -> Span {
    Span::Iterations(0)
}

impl Schedule {
    /// This decay, without warm-up.
    pub fn new(decay: Decay) -> Self {
        Self { warm_up: none(), warm_up_from: 0.0, warm_up_shape: WarmUp::Linear, decay }
    }

    /// The same with a warm-up from near 0, in a straight line.
    pub fn warm_up(self, warm_up: Span) -> Self {
        Self { warm_up, ..self }
    }

    /// How many iterations the factor rises before it decays.
    pub(crate) fn warm_up_iterations(&self, length: &RunLength) -> u64 {
        match self.decay {
            Decay::OneCycle { .. } => 0,
            _ => self.warm_up.iterations(length.per_epoch),
        }
    }

    /// The factor of an iteration, counted from 0.
    pub fn factor(&self, iteration: u64, length: &RunLength) -> f64 {
        let warm_up = self.warm_up_iterations(length);
        if iteration < warm_up {
            let from = self.warm_up_from;
            return match self.warm_up_shape {
                WarmUp::Linear => from + (1.0 - from) * (iteration + 1) as f64 / warm_up as f64,
                WarmUp::Constant => from,
            };
        }
        self.decay.factor(iteration, warm_up, length)
    }

    /// What the factor is multiplied with after epochs of these scores, such as validation accuracies: 1 unless the
    /// rate falls when they no longer rise.
    pub fn plateau(&self, scores: impl IntoIterator<Item = f64>) -> f64 {
        self.decay.plateau(scores)
    }

    /// The momentum of an iteration, where the schedule changes it, too.
    pub fn momentum(&self, iteration: u64, length: &RunLength) -> Option<f64> {
        self.decay.momentum(iteration, length)
    }

    /// # Errors
    /// [`TrainError::Setting`] if a factor would make the rate negative or grow without bound.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let from = self.warm_up_from;
        TrainError::unless_within("schedule.warm_up_from", from, 0.0..=1.0, "between 0 and 1")?;
        self.decay.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: RunLength = RunLength { per_epoch: 10, iterations: 100 };

    #[test]
    fn steps_fall_where_they_should() {
        let step = Schedule::new(Decay::Step { every: Span::Epochs(3.0), factor: 0.5 });
        assert_eq!([0, 29, 30, 60, 99].map(|i| step.factor(i, &LENGTH)), [1.0, 1.0, 0.5, 0.25, 0.125]);
        let at = vec![Span::Epochs(5.0), Span::Iterations(75)];
        let multi = Schedule::new(Decay::MultiStep { at, factor: 0.5 });
        assert_eq!([49, 50, 74, 75].map(|i| multi.factor(i, &LENGTH)), [1.0, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn a_warm_up_rises_in_a_line_and_the_cosine_falls_from_there() {
        let schedule = Schedule::new(Decay::Cosine { floor: 0.1 }).warm_up(Span::Epochs(2.0));
        let at = |i| schedule.factor(i, &LENGTH);
        assert_eq!([0, 9, 19, 20].map(at), [0.05, 0.5, 1.0, 1.0]);
        assert!((at(60) - 0.55).abs() < 1e-12); // half way
        assert!((at(100) - 0.1).abs() < 1e-12);
        assert!((21..100).all(|i| at(i) < at(i - 1)));
    }

    #[test]
    fn a_warm_up_can_begin_anywhere_and_can_be_flat() {
        let line =
            Schedule { warm_up_from: 0.2, ..Schedule::new(Decay::Constant) }.warm_up(Span::Epochs(1.0));
        assert!(
            [(0, 0.28), (4, 0.6), (9, 1.0), (10, 1.0)]
                .iter()
                .all(|&(i, factor)| (line.factor(i, &LENGTH) - factor).abs() < 1e-12)
        );
        let flat = Schedule { warm_up_from: 0.1, warm_up_shape: WarmUp::Constant, ..line };
        assert_eq!([0, 9, 10].map(|i| flat.factor(i, &LENGTH)), [0.1, 0.1, 1.0]);
    }

    #[test]
    fn one_cycle_has_no_warm_up() {
        let alone = Schedule::new(Decay::one_cycle());
        let inherited = alone.clone().warm_up(Span::Epochs(2.0));
        assert!((0..100).all(|i| alone.factor(i, &LENGTH) == inherited.factor(i, &LENGTH)));
    }

    #[test]
    fn factors_that_make_no_sense_are_refused() {
        assert!(Schedule::new(Decay::Step { every: Span::Epochs(1.0), factor: 10.0 }).check().is_err());
        assert!(Schedule::new(Decay::Cosine { floor: f64::NAN }).check().is_err());
    }
}
