//! Sums of tensors of the same shape: where a shortcut meets its branch, and where gradients
//! of a value that was used twice meet. The gradient of a sum is `dy` for both operands.

use residual_tensor::{Float, Tensor};

use crate::{
    KernelError, Result,
    engine::parallel::{self, CHUNK},
    error::check_length,
};

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

/// `x + addend`, or `y + x` if `accumulate`, or just `x`; then `max(…, 0)` if there is a `relu`.
///
/// # Errors
/// If slices are not equally long.
pub fn sum_into<T: Float>(
    x: &[T],
    addend: Option<&[T]>,
    y: &mut [T],
    accumulate: bool,
    relu: bool,
) -> Result<()> {
    check_length([y.len()], x.len())?;
    addend.map_or(Ok(()), |addend| check_length([y.len()], addend.len()))?;
    let least = if relu { T::zero() } else { T::neg_infinity() };
    let cut = |value: T| if value < least { least } else { value };
    parallel::for_each_chunk(y, CHUNK, |chunk, y| {
        let x = &x[chunk * CHUNK..][..y.len()];
        match addend {
            Some(addend) => {
                let addend = &addend[chunk * CHUNK..][..y.len()];
                y.iter_mut().zip(x.iter().zip(addend)).for_each(|(y, (&x, &addend))| *y = cut(x + addend));
            }
            None if accumulate => y.iter_mut().zip(x).for_each(|(y, &x)| *y = cut(*y + x)),
            None => y.iter_mut().zip(x).for_each(|(y, &x)| *y = cut(x)),
        }
    });
    Ok(())
}
