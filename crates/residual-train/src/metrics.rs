//! How good predictions are: counts over batches, and the scores that follow from them.
//! Whole-number counts and double-precision sums in order of the batches: nothing here depends on
//! threads.

use residual_tensor::{Float, Tensor};
use serde::{Deserialize, Serialize};

/// Loss and hits, summed over the images so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Images seen.
    pub images: u64,
    /// Images whose class has the highest logit.
    pub correct: u64,
    /// Images whose class is among the five highest logits.
    pub top5: u64,
    loss: f64,
}

impl Tally {
    /// Adds a batch: logits `[n, classes]`, the classes of its images and its mean loss.
    pub fn add<T: Float>(&mut self, logits: &Tensor<T>, labels: &[usize], mean_loss: f64) {
        for (logits, &label) in rows(logits, labels).zip(labels) {
            let rank = rank(logits, label);
            self.correct += u64::from(rank == 0);
            self.top5 += u64::from(rank < 5);
        }
        self.add_loss(labels.len(), mean_loss);
    }

    /// Adds a batch of which nothing but its mean loss counts.
    pub fn add_loss(&mut self, images: usize, mean_loss: f64) {
        self.images += images as u64;
        self.loss += mean_loss * images as f64;
    }

    /// The mean loss of an image.
    pub fn loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    /// The fraction of images whose class has the highest logit.
    pub fn accuracy(&self) -> f64 {
        fraction(self.correct, self.images)
    }

    /// The fraction of images whose class is among the five highest logits.
    pub fn top5_accuracy(&self) -> f64 {
        fraction(self.top5, self.images)
    }
}

/// How often images of a class were taken for which: rows are true classes, columns predictions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Confusion {
    counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Nothing counted yet.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes]; classes] }
    }

    /// Counts one image.
    pub fn add(&mut self, label: usize, predicted: usize) {
        self.counts[label][predicted] += 1;
    }

    /// The counts by row.
    pub fn rows(&self) -> &[Vec<u64>] {
        &self.counts
    }

    /// Precision and recall of each class; 0 where there is nothing to divide by.
    pub fn per_class(&self, names: &[String]) -> Vec<ClassScore> {
        let of = |(class, name): (usize, &String)| {
            let support = self.counts[class].iter().sum();
            let predicted = self.counts.iter().map(|row| row[class]).sum();
            let hits = self.counts[class][class];
            let (precision, recall) = (fraction(hits, predicted), fraction(hits, support));
            ClassScore { name: name.clone(), precision, recall, support }
        };
        names.iter().enumerate().map(of).collect()
    }
}

/// How well one class is told from the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// The class.
    pub name: String,
    /// Of the images taken for it, the fraction that are.
    pub precision: f64,
    /// Of its images, the fraction that were found.
    pub recall: f64,
    /// The number of its images.
    pub support: u64,
}

/// The class with the highest logit; of equal ones, the first. A logit that is not a number comes last.
pub fn predicted<T: Float>(logits: &[T]) -> usize {
    let is_better = |class: usize, best: usize| {
        logits[class] > logits[best] || (logits[best].is_nan() && !logits[class].is_nan())
    };
    (1..logits.len()).fold(0, |best, class| if is_better(class, best) { class } else { best })
}

/// The number of classes that come before this one. A logit that is not a number comes last.
fn rank<T: Float>(logits: &[T], label: usize) -> usize {
    let of_label = logits[label];
    if of_label.is_nan() {
        return logits.len();
    }
    let before = |&class: &usize| logits[class] > of_label || (logits[class] == of_label && class < label);
    (0..logits.len()).filter(before).count()
}

/// The logits of each image.
pub(crate) fn rows<'a, T: Float>(logits: &'a Tensor<T>, labels: &[usize]) -> std::slice::ChunksExact<'a, T> {
    logits.as_slice().chunks_exact((logits.len() / labels.len().max(1)).max(1))
}

fn fraction(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_number_is_never_the_answer() {
        let logits = Tensor::from_vec([3, 2], vec![f64::NAN, 1.0, 1.0, f64::NAN, 2.0, 1.0]).unwrap();
        let labels = [1, 0, 0];
        assert!(rows(&logits, &labels).map(predicted).eq(labels));
        let mut tally = Tally::default();
        tally.add(&logits, &labels, 0.0);
        assert_eq!(tally.correct, 3);
    }

    #[test]
    fn hits_are_counted_by_rank() {
        let logits = Tensor::from_vec(
            [2, 7],
            vec![
                0.1,
                0.9,
                0.3,
                0.4,
                0.5,
                0.6,
                0.7, // class 1 first, then 6, 5, 4, 3
                7.0,
                6.0,
                5.0,
                4.0,
                3.0,
                2.0,
                f32::NAN,
            ],
        )
        .unwrap();
        let tallied = |labels: [usize; 2]| {
            let mut tally = Tally::default();
            tally.add(&logits, &labels, 2.0);
            (tally.correct, tally.top5)
        };
        assert_eq!(tallied([1, 0]), (2, 2));
        assert_eq!(tallied([3, 4]), (0, 2));
        assert_eq!(tallied([2, 5]), (0, 0));
        assert_eq!(tallied([1, 6]), (1, 1)); // not a number is never right
    }

    #[test]
    fn the_mean_loss_is_over_images_not_batches() {
        let mut tally = Tally::default();
        tally.add(&Tensor::<f32>::zeros([3, 2]), &[0, 0, 1], 1.0);
        tally.add(&Tensor::<f32>::zeros([1, 2]), &[0], 5.0);
        assert_eq!((tally.loss(), tally.accuracy(), tally.images), (2.0, 0.75, 4));
        assert_eq!(Tally::default().accuracy(), 0.0);
    }

    #[test]
    fn scores_are_those_of_the_definition() {
        let mut confusion = Confusion::new(3);
        for (label, predicted) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0)] {
            confusion.add(label, predicted);
        }
        // sklearn.metrics.precision_recall_fscore_support(zero_division=0)
        let names = ["a", "b", "c"].map(str::to_owned);
        let scores = confusion.per_class(&names);
        let expected = [(2.0 / 3.0, 2.0 / 3.0, 3), (0.5, 0.5, 2), (0.0, 0.0, 0)];
        for (score, (precision, recall, support)) in scores.iter().zip(expected) {
            assert_eq!((score.precision, score.recall, score.support), (precision, recall, support));
        }
    }

    proptest! {
        /// Exactly one class has rank 0, and it is the predicted one.
        #[test]
        fn the_predicted_class_has_rank_zero(logits in prop::collection::vec(-3i8..3, 1..12)) {
            let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
            let first: Vec<usize> = (0..logits.len()).filter(|&class| rank(&logits, class) == 0).collect();
            prop_assert_eq!(first, vec![predicted(&logits)]);
        }
    }
}
