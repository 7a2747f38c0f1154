//! The rectified linear unit, `max(x, 0)`. NaN stays NaN.

use residual_tensor::{Float, Tensor};

use crate::{
    KernelError, Result,
    engine::parallel::{map, zip_map},
};

/// `y = max(x, 0)`, in the layout of `x`.
pub fn forward<T: Float>(x: &Tensor<T>) -> Tensor<T> {
    map(x, |x| if x < T::zero() { T::zero() } else { x })
}

/// `dx = dy` where `y > 0`, and 0 elsewhere; the derivative at 0 is taken to be 0.
///
/// The output tells as much as the input would, and usually is kept anyway.
///
/// # Errors
/// If the shapes differ.
pub fn backward<T: Float>(dy: &Tensor<T>, y: &Tensor<T>) -> Result<Tensor<T>> {
    KernelError::unless_same("relu backward", ("dy", dy.shape()), ("y", y.shape()))?;
    Ok(zip_map(y, dy, |y, dy| if y <= T::zero() { T::zero() } else { dy }))
}
