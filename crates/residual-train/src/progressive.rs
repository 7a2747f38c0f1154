//! Progressive resizing: pictures are small in the first epochs and grow. Small ones are learned from faster, and
//! what a network sees first needs few details (Howard 2018, "Training Imagenet in 3 hours for 25 minutes").

use serde::{Deserialize, Serialize};

use crate::{Result, TrainError};

/// How training pictures grow: evenly over the epochs, in steps of eight pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgressiveResizing {
    /// Height and width in the first epoch, as a part of those at the end.
    pub from: f64,
    /// The part of the epochs after which pictures have their whole size.
    pub until: f64,
}

impl Default for ProgressiveResizing {
    /// From half the size to the whole in 70 % of the epochs.
    fn default() -> Self {
        Self { from: 0.5, until: 0.7 }
    }
}

/// Heights and widths are multiples of this.
const STEP: usize = 8;

impl ProgressiveResizing {
    /// # Errors
    /// [`TrainError::Setting`] naming a number that makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, value) in
            [("progressive_resizing.from", self.from), ("progressive_resizing.until", self.until)]
        {
            TrainError::unless_within(name, value, 0.0..=1.0, "between 0 and 1")?;
        }
        Ok(())
    }

    /// Height or width in an epoch, counted from 0, of a run of so many, where it is `whole` at the end.
    pub(crate) fn side(&self, whole: usize, epoch: u64, epochs: u64) -> usize {
        let growing = self.until * epochs as f64;
        let grown = if (epoch as f64) < growing { epoch as f64 / growing } else { 1.0 };
        let part = self.from + (1.0 - self.from) * grown;
        let steps = (part * whole as f64 / STEP as f64).round() as usize;
        (steps * STEP).clamp(STEP.min(whole), whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_grow_in_steps_to_their_whole_size() {
        let half = ProgressiveResizing { from: 0.5, until: 0.5 };
        let sides = |whole| (0..10).map(|epoch| half.side(whole, epoch, 10)).collect::<Vec<_>>();
        assert_eq!(sides(112), [56, 64, 80, 88, 104, 112, 112, 112, 112, 112]);
        // A whole size that is no multiple of the step, and one that is less than a step.
        assert_eq!(sides(44)[..6], [24, 24, 32, 32, 40, 44]);
        assert_eq!(sides(5), [5; 10]);
        assert_eq!(ProgressiveResizing { until: 0.0, ..half }.side(112, 0, 10), 112);
        assert_eq!(ProgressiveResizing { from: 0.0, ..half }.side(112, 0, 10), 8);
    }

    #[test]
    fn parts_are_parts() {
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(ProgressiveResizing { from: bad, ..Default::default() }.check().is_err());
            assert!(ProgressiveResizing { until: bad, ..Default::default() }.check().is_err());
        }
        assert!(ProgressiveResizing::default().check().is_ok());
    }
}
