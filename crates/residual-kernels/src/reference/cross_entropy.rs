//! The loss of a classifier: the cross-entropy between its softmax and the label, with label smoothing
//! (Szegedy et al. 2016, *Rethinking the Inception Architecture*, section 7).

use ndarray::{Array2, ArrayView2};

use super::{softmax, unless_same};
use residual_tensor::Shape;

use crate::{KernelError, Result};

/// `−Σ n, c  target[n, c] · ln softmax(logits)[n, c] / n`, the mean over the batch.
///
/// The target of a class is `smoothing / classes`, and that of the label `1 − smoothing` more.
/// `ln softmax` is computed as `x − largest − ln Σ exp(x − largest)`, which is finite where softmax
/// itself is rounded to zero.
///
/// # Shapes
/// `logits [n, c]`, `n` labels below `c` → a number.
///
/// # Errors
/// If there are no logits, their number is not that of the labels, a label is not a class, or the
/// smoothing is not between 0 and 1.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::cross_entropy;
///
/// let logits = array![[0.0, 3f64.ln()]]; // probabilities 1/4 and 3/4
/// let loss = cross_entropy::forward(logits.view(), &[0], 0.0)?;
/// assert!((loss - 4f64.ln()).abs() < 1e-15);
/// let smooth = cross_entropy::forward(logits.view(), &[0], 0.5)?; // targets 3/4 and 1/4
/// assert!((smooth - (0.75 * 4f64.ln() + 0.25 * (4f64 / 3.0).ln())).abs() < 1e-15);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(logits: ArrayView2<'_, f64>, labels: &[usize], smoothing: f64) -> Result<f64> {
    check(logits, labels, smoothing)?;
    let (batch, classes) = logits.dim();
    let mut loss = 0.0;
    for n in 0..batch {
        let mut largest = f64::NEG_INFINITY;
        for c in 0..classes {
            largest = largest.max(logits[[n, c]]);
        }
        let mut sum = 0.0;
        for c in 0..classes {
            sum += (logits[[n, c]] - largest).exp();
        }
        for c in 0..classes {
            let target = smoothing / classes as f64 + if c == labels[n] { 1.0 - smoothing } else { 0.0 };
            // A logit of −∞ does not count where its target is 0.
            if target > 0.0 {
                loss -= target * (logits[[n, c]] - largest - sum.ln()) / batch as f64;
            }
        }
    }
    Ok(loss)
}

/// The gradient with respect to the logits, `upstream · (softmax(logits) − target) / n` (section 7 of
/// the same paper).
///
/// # Shapes
/// `logits [n, c]`, `n` labels below `c` → `[n, c]`.
///
/// # Errors
/// As [`forward`].
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::cross_entropy;
///
/// let logits = array![[0.0, 0.0], [0.0, 0.0]]; // all probabilities 1/2
/// let dlogits = cross_entropy::backward(1.0, logits.view(), &[0, 1], 0.0)?;
/// assert_eq!(dlogits, array![[-0.25, 0.25], [0.25, -0.25]]); // (½ − 1) / 2, (½ − 0) / 2, …
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(
    upstream: f64,
    logits: ArrayView2<'_, f64>,
    labels: &[usize],
    smoothing: f64,
) -> Result<Array2<f64>> {
    check(logits, labels, smoothing)?;
    let (batch, classes) = logits.dim();
    let mut dlogits = softmax::forward(logits);
    for n in 0..batch {
        for c in 0..classes {
            let target = smoothing / classes as f64 + if c == labels[n] { 1.0 - smoothing } else { 0.0 };
            dlogits[[n, c]] = upstream * (dlogits[[n, c]] - target) / batch as f64;
        }
    }
    Ok(dlogits)
}

fn check(logits: ArrayView2<'_, f64>, labels: &[usize], smoothing: f64) -> Result<()> {
    let (operation, classes) = ("cross_entropy", logits.ncols());
    if logits.is_empty() {
        let shape = Shape::new(logits.shape())?;
        return Err(KernelError::TooFewValues { operation, shape, count: 0, needed: 1 });
    }
    unless_same(operation, ("labels", &[labels.len()]), ("rows of logits", &[logits.nrows()]))?;
    if let Some(position) = labels.iter().position(|&label| label >= classes) {
        return Err(KernelError::LabelOutOfRange { operation, label: labels[position], position, classes });
    }
    if !(0.0..=1.0).contains(&smoothing) {
        let (parameter, range) = ("smoothing", "between 0 and 1");
        return Err(KernelError::OutOfRange { operation, parameter, value: smoothing, range });
    }
    Ok(())
}
