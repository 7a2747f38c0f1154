//! Whether a file's tensors are those that a network expects: all differences in one error.

use std::fmt;

use residual_tensor::Shape;

use crate::{Weights, error::shown};

/// Everything in which weights differ from what a network expects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Expected, and not in the file.
    pub missing: Vec<String>,
    /// In the file, and not expected.
    pub unexpected: Vec<String>,
    /// In both, with different shapes.
    pub wrong_shape: Vec<WrongShape>,
}

/// A tensor whose shape is not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongShape {
    /// The tensor.
    pub name: String,
    /// The shape that the network expects.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub found: Shape,
}

/// How batch normalization's counter ends. PyTorch before 0.4.1 did not save it.
const COUNTER: &str = "num_batches_tracked";

impl Weights {
    /// Compares names and shapes with those that a network expects.
    ///
    /// An absent `num_batches_tracked` is not missed: old files do not have it.
    ///
    /// # Errors
    /// A [`Mismatch`] with every difference.
    pub fn check<N: AsRef<str>, S: AsRef<[usize]>>(
        &self,
        expected: impl IntoIterator<Item = (N, S)>,
    ) -> Result<(), Mismatch> {
        let mut mismatch = Mismatch::default();
        let mut known = std::collections::HashSet::new();
        for (name, shape) in expected {
            let (name, expected) = (name.as_ref().to_owned(), shape.as_ref().to_vec());
            match self.get(&name) {
                None if name.rsplit('.').next() == Some(COUNTER) => {}
                None => mismatch.missing.push(name.clone()),
                Some(entry) if **entry.shape() != *expected => {
                    let found = entry.shape().clone();
                    mismatch.wrong_shape.push(WrongShape { name: name.clone(), expected, found });
                }
                Some(_) => {}
            }
            known.insert(name);
        }
        let unexpected = self.names().filter(|&name| !known.contains(name));
        mismatch.unexpected = unexpected.map(str::to_owned).collect();
        if mismatch == Mismatch::default() { Ok(()) } else { Err(mismatch) }
    }
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the weights do not fit the network: ")?;
        let parts = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape", &self.wrong_shape.iter().map(ToString::to_string).collect()),
        ];
        let mut separator = "";
        for (kind, items) in parts.into_iter().filter(|(_, items)| !items.is_empty()) {
            write!(f, "{separator}{} {kind} ({})", items.len(), FirstFew(items))?;
            separator = "; ";
        }
        Ok(())
    }
}

impl fmt::Display for WrongShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {:?}", shown(&self.name), self.found, self.expected)
    }
}

/// The first few items, and how many more there are.
struct FirstFew<'a>(&'a [String]);

impl fmt::Display for FirstFew<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FEW: usize = 3;
        let first: Vec<String> = self.0.iter().take(FEW).map(|item| shown(item)).collect();
        f.write_str(&first.join(", "))?;
        match self.0.len() - first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use residual_tensor::Tensor;

    use super::*;

    fn weights(names: &[&str]) -> Weights {
        names.iter().map(|&name| (name, Tensor::<f32>::zeros([2, 3]))).collect()
    }

    #[test]
    fn every_difference_is_reported_at_once() {
        let found = weights(&["conv1.weight", "linear.weight", "linear.bias", "x", "y", "fc.weight"]);
        let expected =
            [("conv1.weight", [2, 3]), ("fc.weight", [7, 3]), ("fc.bias", [7, 1]), ("bn1.weight", [2, 3])];
        let mismatch = found.check(expected).unwrap_err();
        assert_eq!(mismatch.missing, ["fc.bias", "bn1.weight"]);
        assert_eq!(mismatch.unexpected, ["linear.weight", "linear.bias", "x", "y"]);
        assert_eq!(mismatch.wrong_shape.len(), 1);
        assert_eq!(
            mismatch.to_string(),
            "the weights do not fit the network: 2 missing (fc.bias, bn1.weight); \
             4 unexpected (linear.weight, linear.bias, x and 1 more); \
             1 of another shape (fc.weight is [2, 3], not [7, 3])"
        );
    }

    #[test]
    fn names_of_a_file_stay_in_the_line_of_the_message() {
        let found = weights(&["a\nb", "c\u{1b}[2J"]);
        let mismatch = found.check([("c\u{1b}[2J", [7, 3])]).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "the weights do not fit the network: 1 unexpected (a\\nb); \
             1 of another shape (c\\u{1b}[2J is [2, 3], not [7, 3])"
        );
        let rule: crate::Rename = "x=y".parse().unwrap();
        let error = weights(&["a\nb"]).rename(&[rule]).unwrap_err();
        assert_eq!(error.to_string(), "`x=y` fits no name in the file, which begins with a\\nb");
    }

    #[test]
    fn the_counter_of_batches_may_be_absent_but_not_misshapen() {
        let counter = ("layer1.0.bn1.num_batches_tracked", [1, 1]);
        let missed = ("my_num_batches_tracked", [2, 3]);
        assert_eq!(weights(&["a"]).check([("a", [2, 3]), counter]), Ok(()));
        assert!(weights(&["a", counter.0]).check([("a", [2, 3]), counter]).is_err());
        assert!(weights(&["a"]).check([("a", [2, 3]), missed]).is_err());
    }
}
