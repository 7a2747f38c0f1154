//! How much each class counts where some have more pictures than others.

use serde::{Deserialize, Serialize};

/// How much each class counts while a network learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// Every picture has the weight 1.
    #[default]
    Equal,
    /// A picture's weight is the inverse of the size of its class, so that all classes count the same. Rare classes
    /// are recognized more often, and the accuracy over all pictures falls.
    Balanced,
    /// The root of that: between the two.
    Root,
}

impl ClassWeights {
    /// The weight of a picture of each class that has so many; nothing if all are 1. Their mean over the
    /// pictures is 1.
    pub(crate) fn of(self, counts: &[usize]) -> Vec<f64> {
        let weight = |count: usize| match self {
            Self::Equal => 1.0,
            Self::Balanced => (count.max(1) as f64).recip(),
            Self::Root => (count.max(1) as f64).sqrt().recip(),
        };
        if self == Self::Equal {
            return Vec::new();
        }
        let whole: f64 = counts.iter().map(|&count| weight(count) * count as f64).sum();
        let scale = counts.iter().sum::<usize>() as f64 / whole;
        counts.iter().map(|&count| scale * weight(count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_classes_follow_from_their_pictures() {
        assert!(ClassWeights::Equal.of(&[1, 3]).is_empty());
        // sklearn.utils.class_weight.compute_class_weight("balanced")
        let balanced = ClassWeights::Balanced.of(&[10, 30]);
        assert!((balanced[0] - 2.0).abs() < 1e-12 && (balanced[1] - 2.0 / 3.0).abs() < 1e-12);
        let root = ClassWeights::Root.of(&[16, 4]);
        assert!(
            (root[1] / root[0] - 2.0).abs() < 1e-12 && (16.0 * root[0] + 4.0 * root[1] - 20.0).abs() < 1e-12
        );
    }
}
