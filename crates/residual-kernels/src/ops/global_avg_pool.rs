//! The average over a whole image: what stands between the last block and the classifier.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor};

use crate::{
    KernelError, Result,
    engine::parallel::{add_assign, for_each_chunk},
    error::check_length,
};

/// The average of each channel over the pixels of each image.
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, c]`.
///
/// # Errors
/// If `x` does not have four axes or its images have no pixels.
#[compiled_here]
pub fn forward<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    let [batch, channels, height, width] = x.dims("global_avg_pool")?;
    let x = x.into_layout(Layout::ChannelsLast)?;
    let mut y = Tensor::try_unfilled([batch, channels], Layout::Contiguous)?;
    forward_into(x.as_slice(), y.as_mut_slice(), [batch, channels, height, width])?;
    Ok(y)
}

/// Pixels that are added up one by one.
const RUN: usize = 64;
/// Channels whose runs are added up at once.
const BLOCK: usize = 64;

/// [`forward`] between slices of channels-last memory.
///
/// # Errors
/// If a slice does not have as many elements as its shape, or images have no pixels.
#[compiled_here]
pub fn forward_into<T: Float>(x: &[T], y: &mut [T], x_shape: [usize; 4]) -> Result<()> {
    let [batch, channels, height, width] = x_shape;
    check_length(x_shape, x.len())?;
    check_length([batch, channels], y.len())?;
    let share = share(height * width, || Shape::new([batch, channels, height, width]))?;
    let image = height * width * channels;
    for_each_chunk(y, channels, |index, y| {
        y.fill(T::zero());
        let image = &x[index * image..][..image];
        if height * width <= RUN {
            image.chunks_exact(channels).for_each(|x| add_assign(y, x));
        } else {
            // Run by run: a long sum loses what is small against it.
            for (first, y) in (0..channels).step_by(BLOCK).zip(y.chunks_mut(BLOCK)) {
                for run in image.chunks(RUN * channels) {
                    let sum = &mut [T::zero(); BLOCK][..y.len()];
                    run.chunks_exact(channels).for_each(|x| add_assign(sum, &x[first..][..sum.len()]));
                    add_assign(y, sum);
                }
            }
        }
        y.iter_mut().for_each(|y| *y *= share);
    });
    Ok(())
}

/// The gradient: each pixel gets an equal share of `dy`.
///
/// # Shapes
/// `dy [n, c]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// If `dy` is not `[n, c]`, or as [`forward`].
#[compiled_here]
pub fn backward<'a, T: Float>(dy: impl IntoView<'a, T>, x_shape: &[usize]) -> Result<Tensor<T>> {
    let (dy, x_shape) = (dy.into_view()?, &Shape::new(x_shape)?);
    let operation = "global_avg_pool backward";
    let [batch, channels, height, width] = x_shape.dims(operation)?;
    KernelError::unless_same(operation, ("dy", dy.shape()), ("the output", &Shape::new([batch, channels])?))?;
    let share: T = share(height * width, || Ok(x_shape.clone()))?;
    let mut dx = Tensor::try_unfilled(x_shape, Layout::ChannelsLast)?;
    let image = (height * width * channels).max(1);
    for_each_chunk(dx.as_mut_slice(), image, |image, dx| {
        let dy = &dy.as_slice()[image * channels..(image + 1) * channels];
        for dx in dx.chunks_exact_mut(channels) {
            for (dx, &dy) in dx.iter_mut().zip(dy) {
                *dx = dy * share;
            }
        }
    });
    Ok(dx)
}

/// The weight of a pixel in the average. `x` gives the input's shape, for an error.
fn share<T: Float>(pixels: usize, x: impl FnOnce() -> residual_tensor::Result<Shape>) -> Result<T> {
    if pixels == 0 {
        let (operation, shape) = ("global_avg_pool", x()?);
        return Err(KernelError::TooFewValues { operation, shape, count: 0, needed: 1 });
    }
    Ok(T::of(1.0 / pixels as f64))
}
