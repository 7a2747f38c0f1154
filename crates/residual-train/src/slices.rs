//! The loops of optimizers and averages over the numbers of a parameter. They are compiled in this crate, so that
//! they are fast also in a program that is not optimised itself.

use residual_macros::compiled_here;
use residual_tensor::Float;

/// `y = a · y + b · x`
#[compiled_here]
pub(crate) fn combine<T: Float>(a: T, y: &mut [T], b: T, x: &[T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = a * *y + b * x);
}

/// `y = factor · y`
#[compiled_here]
pub(crate) fn scale<T: Float>(y: &mut [T], factor: T) {
    y.iter_mut().for_each(|y| *y *= factor);
}

/// Moves an average this part of the way towards a value.
#[compiled_here]
pub(crate) fn approach<T: Float>(average: &mut [T], value: &[T], part: T) {
    average.iter_mut().zip(value).for_each(|(average, &value)| *average += part * (value - *average));
}

/// The sum of squares, in double precision.
#[compiled_here]
pub(crate) fn squares<T: Float>(x: &[T]) -> f64 {
    x.iter().map(|&x| Float::to_f64(x).powi(2)).sum()
}

/// Whether all numbers are finite. Blocks are looked at as a whole: an answer for each number would keep
/// the processor from looking at many at once.
#[compiled_here]
pub(crate) fn are_finite<T: Float>(x: &[T]) -> bool {
    x.chunks(256).all(|block| block.iter().fold(true, |all, x| all & x.is_finite()))
}
