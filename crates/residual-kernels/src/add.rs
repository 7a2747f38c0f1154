//! Sums of tensors of the same shape: where a shortcut meets its branch, and where gradients
//! of a value that was used twice meet. The gradient of a sum is `dy` for both operands.

use residual_tensor::{Float, Tensor};

use crate::{KernelError, Result, parallel};

/// `a + b`, in the layout of `a`.
///
/// # Errors
/// If the shapes differ.
pub fn forward<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
    KernelError::unless_same("add", ("a", a.shape()), ("b", b.shape()))?;
    Ok(parallel::zip_map(a, b, |a, b| a + b))
}

/// `a += b`, in the layout of `a`.
///
/// # Errors
/// If the shapes differ.
pub fn accumulate<T: Float>(a: &mut Tensor<T>, b: &Tensor<T>) -> Result<()> {
    KernelError::unless_same("add", ("a", a.shape()), ("b", b.shape()))?;
    let b = b.to_layout(a.layout());
    parallel::zip_update(a.as_mut_slice(), b.as_slice(), |a, b| a + b);
    Ok(())
}
