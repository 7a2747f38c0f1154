//! A sum and a ReLU in one pass over memory: where a shortcut meets its branch in a compiled network and no
//! convolution stands there that could add it.

use residual_macros::compiled_here;
use residual_tensor::Float;

use crate::{
    Result,
    engine::parallel::{CHUNK, for_each_chunk},
    error::check_length,
};

/// `x + addend`, or `y + x` if `accumulate`, or just `x`; then `max(…, 0)` if there is a `relu`.
///
/// # Errors
/// If slices are not equally long.
#[compiled_here]
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
    for_each_chunk(y, CHUNK, |chunk, y| {
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
