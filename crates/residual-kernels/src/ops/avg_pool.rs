//! The average value under each window. Padding counts as zeros, as by PyTorch's default; what is behind it,
//! under a window of [`ceil_mode`](Pool2dGeometry::ceil_mode), does not count.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor};

use crate::{
    KernelError, Result,
    engine::parallel::{add_assign, for_each_chunk},
    ops::pool::{Pool2dGeometry, Pool2dShape},
};

/// The average of each channel under each window.
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, c, oh, ow]`.
///
/// # Errors
/// As [`Pool2dGeometry::resolve`].
#[compiled_here]
pub fn forward<'a, T: Float>(x: impl IntoView<'a, T>, geometry: &Pool2dGeometry) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    let shape = geometry.resolve(x.shape())?;
    let x = x.into_layout(Layout::ChannelsLast)?;
    let mut y = Tensor::try_unfilled(shape.y(), Layout::ChannelsLast)?;
    forward_into(x.as_slice(), y.as_mut_slice(), &shape)?;
    Ok(y)
}

/// [`forward`] between slices of channels-last memory.
///
/// # Errors
/// If a slice does not have as many elements as its shape.
#[compiled_here]
pub fn forward_into<T: Float>(x: &[T], y: &mut [T], shape: &Pool2dShape) -> Result<()> {
    shape.check(x, y)?;
    let (channels, [rows, columns]) = (shape.channels, shape.output);
    for_each_chunk(y, columns * channels, |row, y| {
        let image = row / rows * shape.input[0] * shape.input[1];
        for (column, y) in y.chunks_exact_mut(channels).enumerate() {
            y.fill(T::zero());
            for pixel in shape.window_pixels(row % rows, column) {
                add_assign(y, &x[(image + pixel) * channels..][..channels]);
            }
            let share = share(shape, row % rows, column);
            y.iter_mut().for_each(|y| *y *= share);
        }
    });
    Ok(())
}

/// The gradient: each pixel of a window gets an equal share of `dy`.
///
/// # Shapes
/// `dy [n, c, oh, ow]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the output's shape.
#[compiled_here]
pub fn backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    x_shape: &[usize],
    geometry: &Pool2dGeometry,
) -> Result<Tensor<T>> {
    let (dy, x_shape) = (dy.into_view()?, &Shape::new(x_shape)?);
    let shape = geometry.resolve(x_shape)?;
    KernelError::unless_same("avg_pool backward", ("dy", dy.shape()), ("the output", &shape.y()))?;
    let dy = dy.into_layout(Layout::ChannelsLast)?;
    let mut dx = Tensor::try_unfilled(x_shape, Layout::ChannelsLast)?;
    if dx.is_empty() {
        return Ok(dx);
    }
    let (dx_image, dy_image) = (dx.len() / shape.batch, dy.len() / shape.batch);
    let (channels, columns) = (shape.channels, shape.output[1]);
    for_each_chunk(dx.as_mut_slice(), dx_image, |image, dx| {
        let dy = &dy.as_slice()[image * dy_image..(image + 1) * dy_image];
        dx.fill(T::zero());
        for (output, dy) in dy.chunks_exact(channels).enumerate() {
            let (row, column) = (output / columns, output % columns);
            let share: T = share(&shape, row, column);
            for pixel in shape.window_pixels(row, column) {
                let dx = &mut dx[pixel * channels..][..channels];
                dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy * share);
            }
        }
    });
    Ok(dx)
}

/// The weight of a pixel in the average of output pixel `[i, j]`.
fn share<T: Float>(shape: &Pool2dShape, i: usize, j: usize) -> T {
    T::of(1.0 / shape.window_size(i, j) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_counts_as_zeros() {
        // The corner window of 3×3 with padding 1 holds four ones and five zeros.
        let x = Tensor::full([1, 2, 4, 4], 1.0f64);
        let y = forward(&x, &Pool2dGeometry::new(3, 3).stride(1).padding(1)).unwrap();
        let y = y.view();
        assert!((y[[0, 1, 0, 0]] - 4.0 / 9.0).abs() < 1e-15);
        assert!((y[[0, 1, 0, 1]] - 6.0 / 9.0).abs() < 1e-15);
        assert!((y[[0, 0, 2, 2]] - 1.0).abs() < 1e-15);
    }
}
