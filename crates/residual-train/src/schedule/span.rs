//! Stretches of training, and how long a run is.

use std::{fmt, str::FromStr};

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
    /// The length of a run over so many batches per epoch.
    pub fn of(span: Span, per_epoch: u64) -> Self {
        Self { per_epoch, iterations: span.iterations(per_epoch) }
    }

    /// The number of epochs; the last one may be incomplete.
    pub fn epochs(&self) -> u64 {
        self.iterations.div_ceil(self.per_epoch)
    }

    /// The number of iterations of an epoch, counted from 0.
    pub fn iterations_of(&self, epoch: u64) -> u64 {
        self.iterations.saturating_sub(epoch * self.per_epoch).min(self.per_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
