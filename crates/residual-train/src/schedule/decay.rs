//! How a learning rate falls, as a table of kinds.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{RunLength, Span};
use crate::TrainError;

/// How the learning rate falls. Spans are counted from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Decay {
    /// Not at all.
    #[default]
    Constant,
    /// By a factor after each span.
    Step {
        /// The span.
        every: Span,
        /// The factor.
        factor: f64,
    },
    /// By a factor at certain points.
    MultiStep {
        /// The points.
        at: Vec<Span>,
        /// The factor.
        factor: f64,
    },
    /// Along half a cosine to the end of the run (Loshchilov & Hutter 2017).
    Cosine {
        /// The factor at the end.
        #[serde(default)]
        floor: f64,
    },
    /// In a straight line to the end of the run.
    Linear {
        /// The factor at the end.
        #[serde(default)]
        floor: f64,
        /// The part of the run that the line takes up, at its end; before it nothing falls. With a warm-up,
        /// the rate is a trapezoid over the run.
        #[serde(default = "whole")]
        part: f64,
    },
    /// Up and down again once (Smith & Topin 2018), in place of a warm-up: PyTorch's `OneCycleLR`.
    OneCycle {
        /// The part of the run in which the factor rises.
        rise: f64,
        /// The factor in the beginning.
        start: f64,
        /// The factor at the end.
        end: f64,
        /// The curve between these.
        #[serde(default)]
        curve: Curve,
        /// The momentum in the beginning and at the end, and when the rate is largest, if it changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        momentum: Option<[f64; 2]>,
    },
    /// By a factor whenever the validation accuracy has not risen for more than `patience` epochs, or the loss not
    /// fallen where nothing counts as right: PyTorch's `ReduceLROnPlateau`.
    Plateau {
        /// The factor.
        factor: f64,
        /// Epochs without a rise that are waited for.
        patience: u64,
        /// The least rise that counts, relative to the best score.
        #[serde(default = "ten_thousandth")]
        threshold: f64,
    },
}

/// The curve from one factor to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

impl Curve {
    /// The value at a part of the way.
    fn between(self, from: f64, to: f64, part: f64) -> f64 {
        match self {
            Self::Cosine => to + (from - to) * 0.5 * (1.0 + (PI * part).cos()),
            Self::Linear => from + (to - from) * part,
        }
    }
}

fn whole() -> f64 {
    1.0
}
fn ten_thousandth() -> f64 {
    1e-4
}

impl Decay {
    /// PyTorch's usual `OneCycleLR`.
    pub fn one_cycle() -> Self {
        let momentum = Some([0.95, 0.85]);
        Self::OneCycle { rise: 0.3, start: 1.0 / 25.0, end: 1.0 / 25e4, curve: Curve::Cosine, momentum }
    }

    /// The factor of an iteration, counted from 0, behind a warm-up of so many.
    pub(super) fn factor(&self, iteration: u64, warm_up: u64, length: &RunLength) -> f64 {
        let left = length.iterations.saturating_sub(warm_up).max(1);
        match self {
            Self::Constant | Self::Plateau { .. } => 1.0,
            Self::Step { every, factor } => {
                let every = every.iterations(length.per_epoch).max(1);
                power(*factor, iteration / every)
            }
            Self::MultiStep { at, factor } => {
                let passed =
                    at.iter().filter(|point| point.iterations(length.per_epoch) <= iteration).count();
                power(*factor, passed as u64)
            }
            Self::Cosine { floor } => {
                let part = (iteration - warm_up).min(left) as f64 / left as f64;
                floor + (1.0 - floor) * 0.5 * (1.0 + (PI * part).cos())
            }
            Self::Linear { floor, part } => {
                let falls = (part * length.iterations as f64).min(left as f64);
                let begins = length.iterations as f64 - falls;
                let behind = ((iteration as f64 - begins) / falls.max(1.0)).clamp(0.0, 1.0);
                Curve::Linear.between(1.0, *floor, behind)
            }
            Self::OneCycle { rise, start, end, curve, .. } => {
                cycle(iteration, *rise, length, |half, part| match half {
                    Half::Rise => curve.between(*start, 1.0, part),
                    Half::Fall => curve.between(1.0, *end, part),
                })
            }
        }
    }

    /// See [`Schedule::momentum`](super::Schedule::momentum).
    pub(super) fn momentum(&self, iteration: u64, length: &RunLength) -> Option<f64> {
        let Self::OneCycle { rise, curve, momentum: Some([high, low]), .. } = self else { return None };
        Some(cycle(iteration, *rise, length, |half, part| match half {
            Half::Rise => curve.between(*high, *low, part),
            Half::Fall => curve.between(*low, *high, part),
        }))
    }

    /// See [`Schedule::plateau`](super::Schedule::plateau).
    pub(super) fn plateau(&self, scores: impl IntoIterator<Item = f64>) -> f64 {
        let &Self::Plateau { factor, patience, threshold } = self else { return 1.0 };
        let (mut best, mut waited, mut falls) = (f64::NEG_INFINITY, 0, 0);
        for score in scores {
            if score > best * (1.0 + threshold) {
                (best, waited) = (score, 0);
            } else {
                waited += 1;
            }
            if waited > patience {
                (falls, waited) = (falls + 1, 0);
            }
        }
        power(factor, falls)
    }

    /// # Errors
    /// [`TrainError::Setting`] if a factor would make the rate negative or grow without bound.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let part = |name, factor| TrainError::unless_within(name, factor, 0.0..=1.0, "between 0 and 1");
        match *self {
            Self::Constant => Ok(()),
            Self::Step { factor, .. } | Self::MultiStep { factor, .. } | Self::Plateau { factor, .. } => {
                part("schedule.decay.factor", factor)
            }
            Self::Cosine { floor } => part("schedule.decay.floor", floor),
            Self::Linear { floor, part: length } => {
                part("schedule.decay.floor", floor)?;
                part("schedule.decay.part", length)
            }
            Self::OneCycle { rise, start, end, momentum, .. } => {
                part("schedule.decay.rise", rise)?;
                part("schedule.decay.start", start)?;
                part("schedule.decay.end", end)?;
                momentum.into_iter().flatten().try_for_each(|value| part("schedule.decay.momentum", value))
            }
        }
    }
}

/// The two parts of a cycle.
enum Half {
    Rise,
    Fall,
}

/// A value in a half of a cycle, by the part of it that is behind. As in PyTorch, the first half ends at
/// iteration `rise · iterations − 1`, and the second at the last one.
fn cycle(iteration: u64, rise: f64, length: &RunLength, value: impl Fn(Half, f64) -> f64) -> f64 {
    let last = length.iterations as f64 - 1.0;
    let top = (rise * length.iterations as f64 - 1.0).max(0.0);
    let iteration = iteration as f64;
    if iteration <= top && top > 0.0 {
        value(Half::Rise, iteration / top)
    } else {
        value(Half::Fall, ((iteration - top) / (last - top).max(1.0)).min(1.0))
    }
}

fn power(factor: f64, exponent: u64) -> f64 {
    factor.powi(exponent.min(i32::MAX as u64) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: RunLength = RunLength { per_epoch: 10, iterations: 100 };

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn one_cycle_is_pytorchs() {
        // OneCycleLR(max_lr=1, total_steps=100): rate and momentum
        let usual = Decay::one_cycle();
        for (iteration, rate, momentum) in [
            (0, 0.04, 0.95),
            (10, 0.295_163_948_464_100_77, 0.923_420_422_034_989_5),
            (29, 1.0, 0.85),
            (30, 0.999_496_535_284_524_3, 0.850_050_346_672_934_2),
            (60, 0.589_280_090_285_528_7, 0.891_072_155_260_068_1),
            (99, 4e-6, 0.95),
        ] {
            close(usual.factor(iteration, 0, &LENGTH), rate);
            close(usual.momentum(iteration, &LENGTH).unwrap(), momentum);
        }
        // pct_start=0.23, div_factor=5, final_div_factor=20, anneal_strategy="linear"
        let (rise, start, end, curve) = (0.23, 0.2, 0.01, Curve::Linear);
        let line = Decay::OneCycle { rise, start, end, curve, momentum: None };
        for (iteration, rate) in
            [(0, 0.2), (10, 0.563_636_363_636_363_7), (22, 1.0), (60, 0.511_428_571_428_571_5), (99, 0.01)]
        {
            close(line.factor(iteration, 0, &LENGTH), rate);
        }
        assert_eq!(line.momentum(3, &LENGTH), None);
        close(line.factor(5000, 0, &LENGTH), 0.01);
        assert!((0.0..=1.0).contains(&line.factor(0, 0, &RunLength { per_epoch: 1, iterations: 1 })));
    }

    #[test]
    fn a_plateau_is_pytorchs() {
        // ReduceLROnPlateau(mode="max", factor=0.5, patience=2)
        let accuracies = [0.5, 0.6, 0.6, 0.6, 0.60005, 0.59, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7];
        let expected = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125];
        let plateau = Decay::Plateau { factor: 0.5, patience: 2, threshold: 1e-4 };
        for (epochs, expected) in (1..).zip(expected) {
            assert_eq!(plateau.plateau(accuracies.into_iter().take(epochs)), expected, "{epochs}");
        }
        assert_eq!(Decay::Constant.plateau(accuracies), 1.0);
    }

    #[test]
    fn a_line_can_take_up_the_end_of_the_run_only() {
        let whole = Decay::Linear { floor: 0.5, part: 1.0 };
        assert_eq!([20, 60, 100].map(|i| whole.factor(i, 20, &LENGTH)), [1.0, 0.75, 0.5]);
        let end = Decay::Linear { floor: 0.0, part: 0.2 };
        assert_eq!([20, 79, 80, 90, 100].map(|i| end.factor(i, 20, &LENGTH)), [1.0, 1.0, 1.0, 0.5, 0.0]);
    }
}
