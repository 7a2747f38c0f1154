//! Whether a network is right as often as it is sure (Guo et al. 2017, "On Calibration of Modern Neural
//! Networks").

/// Predictions by how sure they were.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    bins: Vec<Bin>,
}

/// The predictions of an interval of probabilities, open below and closed above.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// How many there are.
    pub images: u64,
    /// How many of them are right.
    pub correct: u64,
    /// The sum of their probabilities.
    confidence: f64,
}

impl Bin {
    /// The part that is right; 0 without predictions.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }

    /// Their mean probability; 0 without predictions.
    pub fn confidence(&self) -> f64 {
        self.confidence / self.images.max(1) as f64
    }
}

impl Calibration {
    /// Intervals of equal length, as in the paper.
    pub const BINS: usize = 15;

    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { bins: vec![Bin::default(); Self::BINS] }
    }

    /// Counts a prediction by the probability that the network gave it.
    pub fn add(&mut self, probability: f64, is_right: bool) {
        // A probability on a border belongs to the interval below; one that is not a number to the first.
        let number = (probability * Self::BINS as f64).ceil() as usize;
        let bin = &mut self.bins[number.clamp(1, Self::BINS) - 1];
        bin.images += 1;
        bin.correct += u64::from(is_right);
        bin.confidence += probability;
    }

    /// The intervals, from 0 to 1.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// The expected calibration error: how far accuracy and mean probability are apart, on average over the
    /// predictions (equation 3).
    pub fn error(&self) -> f64 {
        let images: u64 = self.bins.iter().map(|bin| bin.images).sum();
        let apart = self.bins.iter().map(|bin| bin.images as f64 * (bin.accuracy() - bin.confidence()).abs());
        apart.sum::<f64>() / images.max(1) as f64
    }
}

impl Default for Calibration {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_that_of_the_definition() {
        let mut calibration = Calibration::new();
        assert_eq!(calibration.error(), 0.0);
        // Four of 0.9, of which two are right; one of 0.5 that is right.
        for is_right in [true, true, false, false] {
            calibration.add(0.9, is_right);
        }
        calibration.add(0.5, true);
        assert!((calibration.error() - (4.0 * 0.4 + 0.5) / 5.0).abs() < 1e-12);
    }

    #[test]
    fn intervals_are_closed_above() {
        let mut calibration = Calibration::new();
        for probability in [0.0, 1.0 / 15.0, 1.0 / 15.0 + 1e-9, 1.0, f64::NAN] {
            calibration.add(probability, false);
        }
        let images: Vec<u64> = calibration.bins().iter().map(|bin| bin.images).collect();
        assert_eq!((images[0], images[1], images[14]), (3, 1, 1));
    }
}
