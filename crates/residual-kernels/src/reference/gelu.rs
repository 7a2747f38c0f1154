//! Gaussian error linear units (Hendrycks & Gimpel 2016, equation 2), in their exact form.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use ndarray::{Array, ArrayView, Dimension};

use super::unless_same;
use crate::Result;

/// `y = x · Φ(x)`, for any number of axes, where `Φ(x) = ½ · (1 + erf(x / √2))` is the probability that a normal
/// number is below `x`.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::gelu;
///
/// let y = gelu::forward(array![0.0, 10.0, -40.0].view());
/// assert_eq!(y, array![0.0, 10.0, 0.0]); // about 0, x and 0
/// ```
pub fn forward<D: Dimension>(x: ArrayView<'_, f64, D>) -> Array<f64, D> {
    let mut y = x.to_owned();
    for y in &mut y {
        *y *= below(*y);
    }
    y
}

/// `dx = dy · (Φ(x) + x · φ(x))`, where `φ(x) = exp(−x² / 2) / √(2π)`.
///
/// # Errors
/// If the shapes differ.
pub fn backward<D: Dimension>(dy: ArrayView<'_, f64, D>, x: ArrayView<'_, f64, D>) -> Result<Array<f64, D>> {
    unless_same("gelu backward", ("dy", dy.shape()), ("x", x.shape()))?;
    let mut dx = dy.to_owned();
    for (dx, &x) in dx.iter_mut().zip(&x) {
        let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
        *dx *= below(x) + x * density;
    }
    Ok(dx)
}

/// Φ, by way of `erfc`, which loses nothing where Φ is small.
fn below(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}
