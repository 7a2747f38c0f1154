//! The rectified linear unit, `max(x, 0)` (Nair and Hinton 2010). NaN stays NaN, as in
//! *PyTorch*.

use ndarray::{Array, ArrayView, Dimension};

use super::unless_same;
use crate::Result;

/// `y = max(x, 0)`, for any number of axes.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::relu;
///
/// assert_eq!(relu::forward(array![-2.0, 0.0, 3.0].view()), array![0.0, 0.0, 3.0]);
/// assert!(relu::forward(array![f64::NAN].view())[0].is_nan());
/// ```
pub fn forward<D: Dimension>(x: ArrayView<'_, f64, D>) -> Array<f64, D> {
    let mut y = x.to_owned();
    for y in &mut y {
        if *y < 0.0 {
            *y = 0.0;
        }
    }
    y
}

/// `dx = dy` where `y > 0`, and 0 elsewhere. There is no derivative at 0; it is taken to be 0. Where y
/// is NaN, `dx = dy`.
///
/// # Errors
/// If the shapes differ.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::relu;
///
/// let (y, dy) = (array![0.0, 0.0, 3.0], array![5.0, 6.0, 7.0]);
/// assert_eq!(relu::backward(dy.view(), y.view())?, array![0.0, 0.0, 7.0]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward<D: Dimension>(dy: ArrayView<'_, f64, D>, y: ArrayView<'_, f64, D>) -> Result<Array<f64, D>> {
    unless_same("relu backward", ("dy", dy.shape()), ("y", y.shape()))?;
    let mut dx = dy.to_owned();
    for (dx, &y) in dx.iter_mut().zip(&y) {
        if y <= 0.0 {
            *dx = 0.0;
        }
    }
    Ok(dx)
}
