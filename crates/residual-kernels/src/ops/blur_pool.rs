//! Every `stride`-th pixel of a blurred image (Zhang 2019, "Making Convolutional Networks Shift-Invariant
//! Again"): a triangle filter of 3×3 removes what is too fine for the smaller image before pixels are skipped.
//! Beyond its edge an image is mirrored.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor};

use crate::{KernelError, Result, engine::parallel::for_each_chunk, error::check_length};

/// Weights of a pixel and its two neighbors along an axis.
const TRIANGLE: [f64; 3] = [0.25, 0.5, 0.25];

/// Every `stride`-th pixel of `x` after blurring.
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, c, ⌈h / stride⌉, ⌈w / stride⌉]`.
///
/// # Errors
/// If `x` does not have four axes or its images have no pixels, or the stride is 0.
#[compiled_here]
pub fn forward<'a, T: Float>(x: impl IntoView<'a, T>, stride: usize) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    let sizes = Sizes::new(x.dims("blur_pool")?, stride)?;
    let x = x.into_layout(Layout::ChannelsLast)?;
    let mut y = Tensor::try_unfilled(sizes.y(), Layout::ChannelsLast)?;
    sizes.forward(x.as_slice(), y.as_mut_slice());
    Ok(y)
}

/// [`forward`] between slices of channels-last memory.
///
/// # Errors
/// As [`forward`] for an input of shape `x_shape`, and if a slice does not have as many elements as its shape.
#[compiled_here]
pub fn forward_into<T: Float>(x: &[T], y: &mut [T], x_shape: [usize; 4], stride: usize) -> Result<()> {
    let sizes = Sizes::new(x_shape, stride)?;
    check_length(x_shape, x.len())?;
    check_length(sizes.y(), y.len())?;
    sizes.forward(x, y);
    Ok(())
}

/// The gradient: each pixel gets `dy` of the pixels that it was blurred into, by its weight in them.
///
/// # Shapes
/// `dy [n, c, ⌈h / stride⌉, ⌈w / stride⌉]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the output's shape.
#[compiled_here]
pub fn backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    stride: usize,
    x_shape: &[usize],
) -> Result<Tensor<T>> {
    let (dy, x_shape) = (dy.into_view()?, Shape::new(x_shape)?);
    let operation = "blur_pool backward";
    let sizes = Sizes::new(x_shape.dims(operation)?, stride)?;
    KernelError::unless_same(operation, ("dy", dy.shape()), ("the output", &Shape::new(sizes.y())?))?;
    let dy = dy.into_layout(Layout::ChannelsLast)?;
    let mut dx = Tensor::try_unfilled(&x_shape, Layout::ChannelsLast)?;
    sizes.backward(dy.as_slice(), dx.as_mut_slice());
    Ok(dx)
}

struct Sizes {
    batch: usize,
    channels: usize,
    input: [usize; 2],
    output: [usize; 2],
    stride: usize,
}

impl Sizes {
    fn new([batch, channels, height, width]: [usize; 4], stride: usize) -> Result<Self> {
        let operation = "blur_pool";
        if stride == 0 {
            return Err(KernelError::ZeroGeometry { operation, parameter: "stride", value: [0, 0] });
        }
        let input = [height, width];
        if input.contains(&0) {
            let shape = Shape::new([batch, channels, height, width])?;
            return Err(KernelError::TooFewValues { operation, shape, count: 0, needed: 1 });
        }
        Ok(Self { batch, channels, input, output: input.map(|size| size.div_ceil(stride)), stride })
    }

    fn y(&self) -> [usize; 4] {
        [self.batch, self.channels, self.output[0], self.output[1]]
    }

    fn forward<T: Float>(&self, x: &[T], y: &mut [T]) {
        let (channels, [rows, columns]) = (self.channels, self.output);
        let image = self.input[0] * self.input[1] * channels;
        for_each_chunk(y, columns * channels, |row, y| {
            let x = &x[row / rows * image..][..image];
            for (column, y) in y.chunks_exact_mut(channels).enumerate() {
                y.fill(T::zero());
                for (pixel, weight) in self.window(row % rows, column) {
                    let weight = T::of(weight);
                    let x = &x[pixel * channels..][..channels];
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y += x * weight);
                }
            }
        });
    }

    fn backward<T: Float>(&self, dy: &[T], dx: &mut [T]) {
        let (channels, [rows, columns]) = (self.channels, self.output);
        let image = self.input[0] * self.input[1] * channels;
        for_each_chunk(dx, image, |index, dx| {
            dx.fill(T::zero());
            let dy = &dy[index * rows * columns * channels..][..rows * columns * channels];
            for (output, dy) in dy.chunks_exact(channels).enumerate() {
                for (pixel, weight) in self.window(output / columns, output % columns) {
                    let weight = T::of(weight);
                    let dx = &mut dx[pixel * channels..][..channels];
                    dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy * weight);
                }
            }
        });
    }

    /// The pixels under the filter at output pixel `[i, j]`, as `row · width + column`, and their weights.
    fn window(&self, i: usize, j: usize) -> impl Iterator<Item = (usize, f64)> + use<> {
        let (rows, columns, width) = (self.neighbors(0, i), self.neighbors(1, j), self.input[1]);
        (0..9).map(move |tap| {
            let (a, b) = (tap / 3, tap % 3);
            (rows[a] * width + columns[b], TRIANGLE[a] * TRIANGLE[b])
        })
    }

    /// The place of an output pixel along an axis, with the one before it and the one behind it.
    fn neighbors(&self, axis: usize, at: usize) -> [usize; 3] {
        let (place, last) = (at * self.stride, self.input[axis] - 1);
        // Mirrored: the neighbor on the other side, if there is one.
        let before = if place == 0 { last.min(1) } else { place - 1 };
        let behind = if place == last { last.saturating_sub(1) } else { place + 1 };
        [before, place, behind]
    }
}
