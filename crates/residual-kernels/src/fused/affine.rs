//! A scale and a shift per channel: what batch normalization is once it no longer learns, where no
//! convolution stands before it that could take it up.

use residual_macros::compiled_here;
use residual_tensor::Float;

use crate::{
    Result,
    engine::parallel::{CHUNK, for_each_chunk},
    error::check_length,
};

/// `x · scale + shift` in each channel, then `max(…, 0)` if there is a `relu`. Slices are in
/// channels-last memory; there are as many channels as scales.
///
/// # Errors
/// If slices are not equally long, or not whole pixels.
#[compiled_here]
pub fn affine_into<T: Float>(x: &[T], y: &mut [T], scale: &[T], shift: &[T], relu: bool) -> Result<()> {
    let channels = scale.len();
    check_length([channels], shift.len())?;
    check_length([x.len() / channels.max(1), channels], y.len())?;
    check_length([y.len()], x.len())?;
    let size = CHUNK.next_multiple_of(channels.max(1));
    let least = if relu { T::zero() } else { T::neg_infinity() };
    for_each_chunk(y, size, |chunk, y| {
        for (y, x) in y.chunks_exact_mut(channels).zip(x[chunk * size..].chunks_exact(channels)) {
            for ((y, &x), (&scale, &shift)) in y.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                let value = x * scale + shift;
                *y = if value < least { least } else { value };
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_its_own_line() {
        let x = [1.0, 2.0, -3.0, -4.0];
        let mut y = [f64::NAN; 4];
        affine_into(&x, &mut y, &[2.0, 0.5], &[1.0, -1.0], false).unwrap();
        assert_eq!(y, [3.0, 0.0, -5.0, -3.0]);
        affine_into(&x, &mut y, &[2.0, 0.5], &[1.0, -1.0], true).unwrap();
        assert_eq!(y, [3.0, 0.0, 0.0, 0.0]);
        assert!(affine_into(&x, &mut y[..2], &[2.0, 0.5], &[1.0, -1.0], true).is_err());
        assert!(affine_into(&x[..3], &mut y[..3], &[2.0, 0.5], &[1.0, -1.0], true).is_err());
    }
}
