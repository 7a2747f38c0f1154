//! What a network says about a picture.

use std::sync::Arc;

/// The probability of each class.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    probabilities: Vec<f32>,
    classes: Arc<[String]>,
}

/// A class with its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The name of the class.
    pub class: String,
    /// Its number.
    pub index: usize,
    /// From 0 to 1.
    pub probability: f32,
}

impl Prediction {
    /// As many probabilities as classes.
    pub(crate) fn new(probabilities: Vec<f32>, classes: Arc<[String]>) -> Self {
        Self { probabilities, classes }
    }

    /// The `k` most probable classes, or all if there are fewer, the most probable first. Of equally
    /// probable ones, the one with the smaller number is first.
    pub fn top(&self, k: usize) -> Vec<Guess> {
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]));
        let guess = |index: usize| Guess {
            class: self.classes[index].clone(),
            index,
            probability: self.probabilities[index],
        };
        order.into_iter().take(k).map(guess).collect()
    }

    /// The probability of each class, in the classes' order; their sum is 1.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_come_first_and_equal_ones_in_their_order() {
        let classes: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let prediction = Prediction::new(vec![0.2, 0.3, 0.3, 0.2], classes.into());
        let top = |k: usize| prediction.top(k).into_iter().map(|guess| guess.class).collect::<String>();
        assert_eq!([top(0), top(1), top(3), top(9)], ["", "b", "bca", "bcad"]);
    }
}
