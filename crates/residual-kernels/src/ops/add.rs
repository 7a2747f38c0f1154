//! Sums of tensors of the same shape: where a shortcut meets its branch, and where gradients
//! of a value that was used twice meet. The gradient of a sum is `dy` for both operands.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Tensor};

use crate::{KernelError, Result, engine::parallel};

/// `a + b`, in the layout of `a`.
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn forward<'a, T: Float>(a: impl IntoView<'a, T>, b: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    let (a, b) = (a.into_view()?, b.into_view()?);
    KernelError::unless_same("add", ("a", a.shape()), ("b", b.shape()))?;
    let b = b.into_layout(a.layout())?;
    let mut y = Tensor::try_unfilled(a.shape(), a.layout())?;
    parallel::zip_into(a.as_slice(), b.as_slice(), y.as_mut_slice(), T::add)?;
    Ok(y)
}

/// `a += b`, in the layout of `a`.
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn accumulate<'a, T: Float>(a: &mut Tensor<T>, b: impl IntoView<'a, T>) -> Result<()> {
    let b = b.into_view()?;
    KernelError::unless_same("add", ("a", a.shape()), ("b", b.shape()))?;
    let b = b.into_layout(a.layout())?;
    parallel::zip_update(a.as_mut_slice(), b.as_slice(), T::add)
}
