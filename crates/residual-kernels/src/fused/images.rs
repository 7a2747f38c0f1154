//! Pictures on their way into a network: from row-major memory into channels-last memory.

use residual_macros::compiled_here;
use residual_tensor::Float;

use crate::{Result, engine::parallel::for_each_chunk, error::check_length};

/// Copies row-major images `[n, c, h, w]` into channels-last memory.
///
/// # Errors
/// If a slice does not have as many elements as the shape.
#[compiled_here]
pub fn channels_last_into<T: Float>(x: &[T], y: &mut [T], x_shape: [usize; 4]) -> Result<()> {
    let [_, channels, height, width] = x_shape;
    check_length(x_shape, x.len())?;
    check_length(x_shape, y.len())?;
    let plane = height * width;
    for_each_chunk(y, width * channels, |line, y| {
        let x = &x[line / height * channels * plane + line % height * width..];
        if channels == 3 {
            // Colours: the common case, and worth not going over the line three times.
            let [red, green, blue] = [0, 1, 2].map(|channel| &x[channel * plane..][..width]);
            for (pixel, ((&red, &green), &blue)) in y.chunks_exact_mut(3).zip(red.iter().zip(green).zip(blue))
            {
                (pixel[0], pixel[1], pixel[2]) = (red, green, blue);
            }
            return;
        }
        for channel in 0..channels {
            let x = &x[channel * plane..][..width];
            y[channel..].iter_mut().step_by(channels).zip(x).for_each(|(y, &x)| *y = x);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use residual_tensor::{Generator, Layout};

    use super::*;

    #[test]
    fn it_is_what_a_tensor_does() {
        for shape in [[2, 3, 4, 5], [1, 1, 3, 3], [3, 7, 2, 6], [0, 3, 4, 4]] {
            let x = Generator::new(1).normal_tensor::<f32>(shape, 1.0);
            let mut y = vec![0.0; x.len()];
            channels_last_into(x.as_slice(), &mut y, shape).unwrap();
            assert_eq!(y, x.to_layout(Layout::ChannelsLast).as_slice());
        }
        assert!(channels_last_into(&[0.0; 5], &mut [0.0; 6], [1, 3, 1, 2]).is_err());
    }
}
