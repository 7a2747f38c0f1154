//! The softmax: from scores to probabilities (*Deep Learning*, eq. 6.29).

use ndarray::{Array2, ArrayView2};

use super::unless_same;
use crate::Result;

/// `y[n, c] = exp(x[n, c]) / Σ k exp(x[n, k])`
///
/// The largest x of a row is subtracted first, which changes nothing but that no exponential
/// overflows (eq. 6.33).
///
/// # Shapes
/// `x [n, c]` → `[n, c]`.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::softmax;
///
/// let y = softmax::forward(array![[0.0, 3f64.ln()], [1000.0, 1000.0]].view());
/// assert!((y - array![[0.25, 0.75], [0.5, 0.5]]).iter().all(|error| error.abs() < 1e-15)); // 1 : 3
/// ```
pub fn forward(x: ArrayView2<'_, f64>) -> Array2<f64> {
    let (batch, classes) = x.dim();
    let mut y = Array2::zeros(x.dim());
    for n in 0..batch {
        let mut largest = f64::NEG_INFINITY;
        for c in 0..classes {
            largest = largest.max(x[[n, c]]);
        }
        let mut sum = 0.0;
        for c in 0..classes {
            y[[n, c]] = (x[[n, c]] - largest).exp();
            sum += y[[n, c]];
        }
        for c in 0..classes {
            y[[n, c]] /= sum;
        }
    }
    y
}

/// The gradient: `dx[n, c] = y[n, c] · (dy[n, c] − Σ k dy[n, k] · y[n, k])`
///
/// It follows from `∂y[c] / ∂x[k] = y[c] · (δ[c, k] − y[k])`.
///
/// # Shapes
/// `dy [n, c]`, and `y [n, c]` as [`forward`] gave it → `[n, c]`.
///
/// # Errors
/// If the shapes differ.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::softmax;
///
/// let dx = softmax::backward(array![[4.0, 0.0]].view(), array![[0.25, 0.75]].view())?;
/// assert_eq!(dx, array![[0.25 * (4.0 - 1.0), 0.75 * (0.0 - 1.0)]]); // Σ = 4 · 0.25
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(dy: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    unless_same("softmax backward", ("dy", dy.shape()), ("y", y.shape()))?;
    let (batch, classes) = y.dim();
    let mut dx = Array2::zeros(y.dim());
    for n in 0..batch {
        let mut sum = 0.0;
        for k in 0..classes {
            sum += dy[[n, k]] * y[[n, k]];
        }
        for c in 0..classes {
            dx[[n, c]] = y[[n, c]] * (dy[[n, c]] - sum);
        }
    }
    Ok(dx)
}
