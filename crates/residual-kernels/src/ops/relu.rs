//! The rectified linear unit, `max(x, 0)`. NaN stays NaN.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Tensor};

use crate::{
    KernelError, Result,
    engine::parallel::{zip_into, zip_update},
};

/// `y = max(x, 0)`, in the layout of `x`.
///
/// # Errors
/// As [`IntoView::into_view`].
#[compiled_here]
pub fn forward<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    let mut y = Tensor::try_unfilled(x.shape(), x.layout())?;
    zip_update(y.as_mut_slice(), x.as_slice(), cut_off)?;
    Ok(y)
}

/// `dx = dy` where `y > 0`, and 0 elsewhere; the derivative at 0 is taken to be 0.
///
/// The output tells as much as the input would, and usually is kept anyway.
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn backward<'a, T: Float>(dy: impl IntoView<'a, T>, y: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    let (dy, y) = (dy.into_view()?, y.into_view()?);
    KernelError::unless_same("relu backward", ("dy", dy.shape()), ("y", y.shape()))?;
    let dy = dy.into_layout(y.layout())?;
    let mut dx = Tensor::try_unfilled(y.shape(), y.layout())?;
    zip_into(y.as_slice(), dy.as_slice(), dx.as_mut_slice(), pass)?;
    Ok(dx)
}

// Functions, and not closures, so that loops are not compiled anew for each kind of operand.

#[inline(always)]
fn cut_off<T: Float>(_: T, x: T) -> T {
    if x < T::zero() { T::zero() } else { x }
}

#[inline(always)]
fn pass<T: Float>(y: T, dy: T) -> T {
    if y <= T::zero() { T::zero() } else { dy }
}
