//! The logistic function, `1 / (1 + e⁻ˣ)` (*Deep Learning*, equation 3.30).

use ndarray::{Array, ArrayView, Dimension};

use super::unless_same;
use crate::Result;

/// `y = 1 / (1 + e⁻ˣ)`, for any number of axes.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::sigmoid;
///
/// assert_eq!(sigmoid::forward(array![0.0, f64::INFINITY].view()), array![0.5, 1.0]);
/// ```
pub fn forward<D: Dimension>(x: ArrayView<'_, f64, D>) -> Array<f64, D> {
    let mut y = x.to_owned();
    for y in &mut y {
        *y = 1.0 / (1.0 + (-*y).exp());
    }
    y
}

/// `dx = dy · y · (1 − y)`.
///
/// # Errors
/// If the shapes differ.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::sigmoid;
///
/// let (y, dy) = (array![0.5, 1.0], array![8.0, 8.0]);
/// assert_eq!(sigmoid::backward(dy.view(), y.view())?, array![2.0, 0.0]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward<D: Dimension>(dy: ArrayView<'_, f64, D>, y: ArrayView<'_, f64, D>) -> Result<Array<f64, D>> {
    unless_same("sigmoid backward", ("dy", dy.shape()), ("y", y.shape()))?;
    let mut dx = dy.to_owned();
    for (dx, &y) in dx.iter_mut().zip(&y) {
        *dx *= y * (1.0 - y);
    }
    Ok(dx)
}
