//! How the learning rate changes during a run: a pure function of the iteration, so that there is
//! nothing to save. What is done with the rate is the optimizer's business.

use std::{f64::consts::PI, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::TrainError;

/// A stretch of training, counted in epochs or iterations. Written as `"20 epochs"`, `"0.5
/// epochs"`, `"64000 iterations"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Span {
    /// Passes over the training pictures, also parts of one.
    Epochs(f64),
    /// Steps of the optimizer.
    Iterations(u64),
}

impl Span {
    /// How many iterations this is where an epoch has so many.
    pub fn iterations(self, per_epoch: u64) -> u64 {
        match self {
            Self::Epochs(epochs) => (epochs * per_epoch as f64).round() as u64,
            Self::Iterations(iterations) => iterations,
        }
    }
}

impl FromStr for Span {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        let refuse = || TrainError::Span { text: text.to_owned() };
        let (number, unit) = text.trim().split_once(' ').ok_or_else(refuse)?;
        match unit.trim() {
            "epoch" | "epochs" => match number.parse::<f64>() {
                Ok(epochs) if (0.0..1e9).contains(&epochs) => Ok(Self::Epochs(epochs)),
                _ => Err(refuse()),
            },
            "iteration" | "iterations" => number.parse().map(Self::Iterations).map_err(|_| refuse()),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Epochs(1.0) => f.write_str("1 epoch"),
            Self::Epochs(epochs) => write!(f, "{epochs} epochs"),
            Self::Iterations(1) => f.write_str("1 iteration"),
            Self::Iterations(iterations) => write!(f, "{iterations} iterations"),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = TrainError;
    fn try_from(text: String) -> Result<Self, TrainError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// The length of a run in iterations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLength {
    /// Iterations of an epoch.
    pub per_epoch: u64,
    /// Iterations of the run.
    pub iterations: u64,
}

impl RunLength {
    /// The number of epochs; the last one may be incomplete.
    pub fn epochs(&self) -> u64 {
        self.iterations.div_ceil(self.per_epoch)
    }

    /// The number of iterations of an epoch, counted from 0.
    pub fn iterations_of(&self, epoch: u64) -> u64 {
        self.iterations.saturating_sub(epoch * self.per_epoch).min(self.per_epoch)
    }
}

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
    /// The factor rises from near 0 to 1 in a straight line during this span, and decays only
    /// afterwards (Goyal et al. 2017).
    #[serde(default = "none")]
    pub warm_up: Span,
    /// How it falls.
    #[serde(default)]
    pub decay: Decay,
}

fn none() -> Span {
    Span::Iterations(0)
}

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
}

impl Schedule {
    /// This decay, without warm-up.
    pub fn new(decay: Decay) -> Self {
        Self { warm_up: none(), decay }
    }

    /// The same with a warm-up.
    pub fn warm_up(self, warm_up: Span) -> Self {
        Self { warm_up, ..self }
    }

    /// The factor of an iteration, counted from 0.
    pub fn factor(&self, iteration: u64, length: &RunLength) -> f64 {
        let warm_up = self.warm_up.iterations(length.per_epoch);
        if iteration < warm_up {
            return (iteration + 1) as f64 / warm_up as f64;
        }
        match &self.decay {
            Decay::Constant => 1.0,
            Decay::Step { every, factor } => {
                let every = every.iterations(length.per_epoch).max(1);
                power(*factor, iteration / every)
            }
            Decay::MultiStep { at, factor } => {
                let passed =
                    at.iter().filter(|point| point.iterations(length.per_epoch) <= iteration).count();
                power(*factor, passed as u64)
            }
            Decay::Cosine { floor } => {
                let length = length.iterations.saturating_sub(warm_up).max(1);
                let part = (iteration - warm_up).min(length) as f64 / length as f64;
                floor + (1.0 - floor) * 0.5 * (1.0 + (PI * part).cos())
            }
        }
    }

    /// # Errors
    /// [`TrainError::Setting`] if a factor would make the rate negative or grow without bound.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let (name, factor) = match self.decay {
            Decay::Constant => return Ok(()),
            Decay::Step { factor, .. } | Decay::MultiStep { factor, .. } => ("schedule.decay.factor", factor),
            Decay::Cosine { floor } => ("schedule.decay.floor", floor),
        };
        TrainError::unless_within(name, factor, 0.0..=1.0, "between 0 and 1")
    }
}

fn power(factor: f64, exponent: u64) -> f64 {
    factor.powi(exponent.min(i32::MAX as u64) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: RunLength = RunLength { per_epoch: 10, iterations: 100 };

    #[test]
    fn spans_are_written_as_they_are_read() {
        for text in ["20 epochs", "1 epoch", "0.5 epochs", "64000 iterations", "1 iteration"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["20", "epochs", "-1 epochs", "nan epochs", "1.5 iterations", "3 weeks"] {
            let message = text.parse::<Span>().unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("20 epochs"), "{message}");
        }
        assert_eq!(Span::Epochs(0.5).iterations(391), 196);
    }

    #[test]
    fn a_plan_ends_within_an_epoch() {
        let length = RunLength { per_epoch: 390, iterations: 64_000 };
        assert_eq!(length.epochs(), 165);
        assert_eq!([0, 163, 164, 165].map(|epoch| length.iterations_of(epoch)), [390, 390, 40, 0]);
    }

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
    fn factors_that_make_no_sense_are_refused() {
        assert!(Schedule::new(Decay::Step { every: Span::Epochs(1.0), factor: 10.0 }).check().is_err());
        assert!(Schedule::new(Decay::Cosine { floor: f64::NAN }).check().is_err());
    }
}
