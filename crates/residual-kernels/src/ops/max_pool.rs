//! The largest value under each window. Padding never wins: it counts as −∞.

use std::ops::Range;

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorError};

use crate::{
    KernelError, Result,
    engine::{
        isa::{self, Largest},
        parallel::{for_each_chunk, for_each_run_of_two},
    },
    ops::pool::{Pool2dGeometry, Pool2dShape},
};

/// Channels that are compared at the same time, in registers.
const LANES: usize = 16;

/// Where each maximum came from, for the way back.
#[derive(Debug, Clone)]
pub struct MaxIndices {
    x: Shape,
    /// For each element of the output, the pixel `row · width + column` of its image.
    pixels: Tensor<i32>,
}

/// The largest value of each channel under each window. NaN is larger than anything; of equal
/// values the first in row-major order is meant.
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, c, oh, ow]`.
///
/// # Errors
/// As [`Pool2dGeometry::resolve`], or if an image has more pixels than `i32` can number.
#[compiled_here]
pub fn forward<'a, T: Float>(
    x: impl IntoView<'a, T>,
    geometry: &Pool2dGeometry,
) -> Result<(Tensor<T>, MaxIndices)> {
    let x = x.into_view()?;
    let shape = geometry.resolve(x.shape())?;
    if shape.input[0] * shape.input[1] > i32::MAX as usize {
        return Err(TensorError::TooLarge { axes: x.shape().to_vec() }.into());
    }
    let x = x.into_layout(Layout::ChannelsLast)?;
    let mut y = Tensor::try_unfilled(shape.y(), Layout::ChannelsLast)?;
    let mut pixels = Tensor::try_unfilled(shape.y(), Layout::ChannelsLast)?;
    let (channels, [rows, columns]) = (shape.channels, shape.output);
    let row_size = (columns * channels).max(1);
    for_each_run_of_two(y.as_mut_slice(), pixels.as_mut_slice(), row_size, |run, y, pixels| {
        let row = run.start / row_size;
        let image = row / rows * shape.input[0] * shape.input[1] * channels;
        let outputs = y.chunks_exact_mut(channels).zip(pixels.chunks_exact_mut(channels));
        for (column, (y, pixels)) in outputs.enumerate() {
            let window = shape.window(row % rows, column);
            let lanes = y.chunks_mut(LANES).zip(pixels.chunks_mut(LANES)).enumerate();
            for (block, (y, pixels)) in lanes {
                let x = &x.as_slice()[image + block * LANES..];
                if y.len() == LANES {
                    largest(x, &shape, &window, y, pixels, LANES);
                } else {
                    largest(x, &shape, &window, y, pixels, y.len());
                }
            }
        }
    });
    Ok((y, MaxIndices { x: shape.x(), pixels }))
}

/// [`forward`] between slices of channels-last memory, without indices.
///
/// # Errors
/// If a slice does not have as many elements as its shape.
#[compiled_here]
pub fn forward_into<T: Float>(x: &[T], y: &mut [T], shape: &Pool2dShape) -> Result<()> {
    shape.check(x, y)?;
    let (isa, channels, [rows, columns]) = (isa::active::<T>()?, shape.channels, shape.output);
    for_each_chunk(y, columns * channels, |line, y| {
        let image = line / rows * shape.input[0] * shape.input[1];
        for (column, y) in y.chunks_exact_mut(channels).enumerate() {
            let [rows, columns] = shape.window(line % rows, column);
            let first = image + rows.start * shape.input[1] + columns.start;
            let window = Largest {
                x: x[first * channels..].as_ptr(),
                row: shape.input[1] * channels,
                rows: rows.len(),
                columns: columns.len(),
                channels,
                y: y.as_mut_ptr(),
            };
            // SAFETY: `check` has held both slices against the shape, which only `resolve` makes: the
            // window is within the image and not empty. The pixel of the output is this one's.
            unsafe { (isa.largest)(&window) };
        }
    });
    Ok(())
}

/// The largest value under a window in each of the first `lanes` channels of `x`, and the pixel
/// that it comes from.
#[inline(always)]
fn largest<T: Float>(
    x: &[T],
    shape: &Pool2dShape,
    [rows, columns]: &[Range<usize>; 2],
    y: &mut [T],
    pixels: &mut [i32],
    lanes: usize,
) {
    let (mut largest, mut from) = ([T::neg_infinity(); LANES], [0; LANES]);
    from.fill((rows.start * shape.input[1] + columns.start) as i32);
    for row in rows.clone() {
        for column in columns.clone() {
            let pixel = row * shape.input[1] + column;
            let x = &x[pixel * shape.channels..][..lanes];
            for lane in 0..lanes {
                let larger = (x[lane] > largest[lane]) | x[lane].is_nan();
                largest[lane] = if larger { x[lane] } else { largest[lane] };
                from[lane] = if larger { pixel as i32 } else { from[lane] };
            }
        }
    }
    y[..lanes].copy_from_slice(&largest[..lanes]);
    pixels[..lanes].copy_from_slice(&from[..lanes]);
}

/// The gradient: each `dy` goes to the pixel that was the maximum.
///
/// # Shapes
/// `dy [n, c, oh, ow]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// If `indices` come from an input of another shape, or `dy` does not have their shape.
#[compiled_here]
pub fn backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    indices: &MaxIndices,
    x_shape: &[usize],
) -> Result<Tensor<T>> {
    let (dy, x_shape) = (dy.into_view()?, &Shape::new(x_shape)?);
    let operation = "max_pool backward";
    KernelError::unless_same(operation, ("x", x_shape), ("the indices' input", &indices.x))?;
    KernelError::unless_same(operation, ("dy", dy.shape()), ("the indices", indices.pixels.shape()))?;
    let [batch, channels, _, _] = x_shape.dims(operation)?;
    let dy = dy.into_layout(Layout::ChannelsLast)?;
    let mut dx = Tensor::try_unfilled(x_shape, Layout::ChannelsLast)?;
    if dx.is_empty() {
        return Ok(dx);
    }
    let (dx_image, dy_image) = (dx.len() / batch, dy.len() / batch);
    for_each_chunk(dx.as_mut_slice(), dx_image, |image, dx| {
        let run = image * dy_image..(image + 1) * dy_image;
        let (dy, pixels) = (&dy.as_slice()[run.clone()], &indices.pixels.as_slice()[run]);
        dx.fill(T::zero());
        for (dy, pixels) in dy.chunks_exact(channels).zip(pixels.chunks_exact(channels)) {
            for (channel, (&dy, &pixel)) in dy.iter().zip(pixels).enumerate() {
                dx[pixel as usize * channels + channel] += dy;
            }
        }
    });
    Ok(dx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_take_the_first_and_nan_stays() {
        let x = Tensor::from_vec([1, 1, 2, 4], vec![1.0, 3.0, f32::NAN, 0.0, 3.0, 3.0, 5.0, 7.0]).unwrap();
        let geometry = Pool2dGeometry::new(2, 2);
        let (y, indices) = forward(&x, &geometry).unwrap();
        assert!(y.to_vec()[0] == 3.0 && y.to_vec()[1].is_nan());
        let dy = Tensor::from_vec([1, 1, 1, 2], vec![10.0, 20.0]).unwrap();
        let dx = backward(&dy, &indices, x.shape()).unwrap();
        assert_eq!(dx.to_vec(), [0.0, 10.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn padding_never_wins() {
        let x = Tensor::full([1, 2, 3, 3], -5.0f32);
        let (y, _) = forward(&x, &Pool2dGeometry::new(3, 3).stride(2).padding(1)).unwrap();
        assert_eq!(y.to_vec(), [-5.0; 8]);
    }

    #[test]
    fn with_and_without_indices_agree() {
        let geometry = Pool2dGeometry::new(3, 2).stride([2, 1]).padding(1);
        for channels in [1, 16, 19, 64] {
            let x = residual_tensor::Generator::new(1).normal_tensor::<f32>([2, channels, 7, 6], 1.0);
            let x = x.to_layout(Layout::ChannelsLast);
            let (y, _) = forward(&x, &geometry).unwrap();
            let mut without = y.map(|_| 0.0);
            forward_into(x.as_slice(), without.as_mut_slice(), &geometry.resolve(x.shape()).unwrap())
                .unwrap();
            assert_eq!(without, y);
        }
    }

    #[test]
    fn foreign_indices_are_an_error() {
        let geometry = Pool2dGeometry::new(2, 2);
        let (y, indices) = forward(Tensor::<f32>::zeros([1, 1, 4, 4]), &geometry).unwrap();
        let error = backward(&y, &indices, &Shape::new([1, 1, 2, 8]).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "max_pool backward: x [1, 1, 2, 8] does not fit the indices' input [1, 1, 4, 4]: \
             both must have the same shape"
        );
    }
}
