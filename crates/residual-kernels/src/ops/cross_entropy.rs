//! The loss of a classifier: softmax and negative log-likelihood in one, with label smoothing.
//!
//! With smoothing ε the target is 1 − ε + ε/c for the label and ε/c for every other of the c
//! classes, as in PyTorch's `CrossEntropyLoss`.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Shape, Tensor, TensorView};

use crate::{KernelError, Result, ops::softmax};

/// The mean loss over the batch, and the probabilities, which the gradient is made of.
///
/// # Shapes
/// `logits [n, c]`, `n` labels below `c` → scalar, `[n, c]`.
///
/// # Errors
/// If there are no logits, their number is not that of the labels, a label is not a class, or
/// the smoothing is not between 0 and 1.
#[compiled_here]
pub fn forward<'a, T: Float>(
    logits: impl IntoView<'a, T>,
    labels: &[usize],
    smoothing: f64,
) -> Result<(T, Tensor<T>)> {
    let logits = logits.into_view()?;
    let [n, classes] = check("cross_entropy", &logits, labels, smoothing)?;
    let probabilities = softmax::forward(&logits)?;
    let mut loss = 0.0;
    for (logits, &label) in logits.as_slice().chunks_exact(classes).zip(labels) {
        // −ln p[j] = ln Σ exp(logits) − logits[j]
        let log_sum = softmax::log_sum_exp(logits);
        let of_label = log_sum - logits[label].to_f64();
        loss += (1.0 - smoothing) * of_label;
        // A logit of −∞ must not count where its target is 0.
        if smoothing > 0.0 {
            let mean = logits.iter().map(|&logit| logit.to_f64()).sum::<f64>() / classes as f64;
            loss += smoothing * (log_sum - mean);
        }
    }
    Ok((T::of(loss / n as f64), probabilities))
}

/// The gradient with respect to the logits: `(probabilities − target) · upstream / n`.
///
/// # Shapes
/// `probabilities [n, c]` as [`forward`] gave them, scalar `upstream` → `[n, c]`.
///
/// # Errors
/// As [`forward`].
#[compiled_here]
pub fn backward<'a, T: Float>(
    upstream: T,
    probabilities: impl IntoView<'a, T>,
    labels: &[usize],
    smoothing: f64,
) -> Result<Tensor<T>> {
    let probabilities = probabilities.into_view()?;
    let [n, classes] = check("cross_entropy backward", &probabilities, labels, smoothing)?;
    let scale = upstream / T::of(n as f64);
    let (on_label, on_all) = (T::of(1.0 - smoothing), T::of(smoothing / classes as f64));
    let mut gradient = probabilities.into_tensor()?;
    for (row, &label) in gradient.as_mut_slice().chunks_exact_mut(classes).zip(labels) {
        row[label] -= on_label;
        for value in row {
            *value = (*value - on_all) * scale;
        }
    }
    Ok(gradient)
}

fn check<T: Float>(
    operation: &'static str,
    rows: &TensorView<'_, T>,
    labels: &[usize],
    smoothing: f64,
) -> Result<[usize; 2]> {
    let [n, classes] = rows.dims(operation)?;
    if rows.is_empty() {
        let shape = rows.shape().clone();
        return Err(KernelError::TooFewValues { operation, shape, count: 0, needed: 1 });
    }
    if labels.len() != n {
        let (labels, rule) = (Shape::new([labels.len()])?, "there must be one label for each row");
        return Err(KernelError::mismatch(operation, ("labels", &labels), ("logits", rows.shape()), rule));
    }
    if let Some(position) = labels.iter().position(|&label| label >= classes) {
        return Err(KernelError::LabelOutOfRange { operation, label: labels[position], position, classes });
    }
    if !(0.0..=1.0).contains(&smoothing) {
        let (parameter, range) = ("smoothing", "between 0 and 1");
        return Err(KernelError::OutOfRange { operation, parameter, value: smoothing, range });
    }
    Ok([n, classes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confident_mistake_costs_the_difference_of_the_logits() {
        // exp(−500) vanishes beside 1: the loss is 500 exactly, where ln(softmax) were ln(0).
        let logits = Tensor::from_vec([1, 2], vec![500.0f32, 0.0]).unwrap();
        let (loss, probabilities) = forward(&logits, &[1], 0.0).unwrap();
        assert_eq!(loss, 500.0);
        assert_eq!(backward(2.0, &probabilities, &[1], 0.0).unwrap().to_vec(), [2.0, -2.0]);
    }

    /// torch.nn.functional.cross_entropy of the same.
    #[test]
    fn a_logit_of_minus_infinity_counts_where_its_target_is_not_zero() {
        let logits = Tensor::from_vec([1, 2], vec![0.0f32, f32::NEG_INFINITY]).unwrap();
        let loss = |label, smoothing| forward(&logits, &[label], smoothing).unwrap().0;
        assert_eq!((loss(0, 0.0), loss(1, 0.0), loss(0, 0.1)), (0.0, f32::INFINITY, f32::INFINITY));
        let wide = ndarray::array![[0.0, f64::NEG_INFINITY]];
        for (label, smoothing) in [(0, 0.0), (1, 0.0), (0, 0.1)] {
            let defined = crate::reference::cross_entropy::forward(wide.view(), &[label], smoothing).unwrap();
            assert_eq!(f64::from(loss(label, smoothing)), defined);
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let logits = Tensor::<f32>::zeros([2, 3]);
        let message =
            |labels: &[usize], smoothing| forward(&logits, labels, smoothing).unwrap_err().to_string();
        assert_eq!(
            message(&[0, 3], 0.0),
            "cross_entropy: label 3 at position 1 is not below the number of classes, 3"
        );
        assert_eq!(
            message(&[0], 0.0),
            "cross_entropy: labels [1] does not fit logits [2, 3]: there must be one label for each row"
        );
        assert_eq!(message(&[0, 1], 1.5), "cross_entropy: smoothing must be between 0 and 1, but is 1.5");
        assert!(forward(&logits, &[0, 1], f64::NAN).is_err());
        assert_eq!(
            forward(Tensor::<f32>::zeros([0, 3]), &[], 0.0).unwrap_err().to_string(),
            "cross_entropy: [0, 3] has 0 values, but needs at least 1"
        );
    }
}
