//! The shortcut without parameters (He et al. 2015, option A): where a block halves the size
//! and adds channels, the identity takes every other pixel and fills the new channels with
//! zeros, half before and half after the old ones.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor};

use crate::{KernelError, Result, engine::parallel::for_each_chunk, error::check_length};

/// Every `stride`-th pixel of `x`, with zeros for the channels that `x` does not have.
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]`.
///
/// # Errors
/// If `x` does not have four axes or has more channels than `out_channels`, or the stride is 0.
#[compiled_here]
pub fn forward<'a, T: Float>(
    x: impl IntoView<'a, T>,
    stride: usize,
    out_channels: usize,
) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    let sizes = Sizes::new("subsample_pad", x.shape(), stride, out_channels)?;
    let x = x.into_layout(Layout::ChannelsLast)?;
    let mut y = Tensor::try_unfilled(sizes.y(), Layout::ChannelsLast)?;
    sizes.subsample_pad(x.as_slice(), y.as_mut_slice());
    Ok(y)
}

/// [`forward`] between slices of channels-last memory.
///
/// # Errors
/// As [`forward`] for an input of shape `x_shape`, and if a slice does not have as
/// many elements as its shape.
#[compiled_here]
pub fn forward_into<T: Float>(
    x: &[T],
    y: &mut [T],
    x_shape: [usize; 4],
    stride: usize,
    out_channels: usize,
) -> Result<()> {
    let sizes = Sizes::of("subsample_pad", x_shape, stride, out_channels)?;
    let [rows, columns] = sizes.output;
    check_length(x_shape, x.len())?;
    check_length([sizes.batch, out_channels, rows, columns], y.len())?;
    sizes.subsample_pad(x, y);
    Ok(())
}

/// The gradient: that of the old channels, at the pixels that were taken; zero elsewhere.
///
/// # Shapes
/// `dy [n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the output's shape.
#[compiled_here]
pub fn backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    stride: usize,
    x_shape: &[usize],
) -> Result<Tensor<T>> {
    let (dy, x_shape) = (dy.into_view()?, &Shape::new(x_shape)?);
    let [_, out_channels, _, _] = dy.dims("subsample_pad backward")?;
    let sizes = Sizes::new("subsample_pad backward", x_shape, stride, out_channels)?;
    KernelError::unless_same("subsample_pad backward", ("dy", dy.shape()), ("the output", &sizes.y()))?;
    let dy = dy.into_layout(Layout::ChannelsLast)?;
    let mut dx = Tensor::try_unfilled(x_shape, Layout::ChannelsLast)?;
    dx.as_mut_slice().fill(T::zero());
    let to = dx.as_mut_slice();
    for row in 0..sizes.batch * sizes.output[0] {
        for column in 0..sizes.output[1] {
            let from = (row * sizes.output[1] + column) * out_channels + sizes.before;
            let dy = &dy.as_slice()[from..][..sizes.channels];
            to[sizes.x_pixel(row, column)..][..sizes.channels].copy_from_slice(dy);
        }
    }
    Ok(dx)
}

struct Sizes {
    batch: usize,
    channels: usize,
    out_channels: usize,
    input: [usize; 2],
    output: [usize; 2],
    stride: usize,
    /// Zero channels before the old ones.
    before: usize,
}

impl Sizes {
    fn new(operation: &'static str, x: &Shape, stride: usize, out_channels: usize) -> Result<Self> {
        Self::of(operation, x.dims(operation)?, stride, out_channels)
    }

    fn of(operation: &'static str, x: [usize; 4], stride: usize, out_channels: usize) -> Result<Self> {
        let [batch, channels, height, width] = x;
        if stride == 0 {
            return Err(KernelError::ZeroGeometry { operation, parameter: "stride", value: [0, 0] });
        }
        let output = [height, width].map(|size| size.div_ceil(stride));
        let Some(extra) = out_channels.checked_sub(channels) else {
            let (x, y) = (Shape::new(x)?, Shape::new([batch, out_channels, output[0], output[1]])?);
            let rule = "channels can be added, but not taken away";
            return Err(KernelError::mismatch(operation, ("x", &x), ("the output", &y), rule));
        };
        Shape::count(&[batch, out_channels, output[0], output[1]])?;
        let input = [height, width];
        Ok(Self { batch, channels, out_channels, input, output, stride, before: extra / 2 })
    }

    fn y(&self) -> Shape {
        let y = [self.batch, self.out_channels, self.output[0], self.output[1]];
        Shape::new(y).expect("a size that was checked when the sizes were made")
    }

    fn subsample_pad<T: Float>(&self, x: &[T], y: &mut [T]) {
        let (channels, out_channels) = (self.channels, self.out_channels);
        for_each_chunk(y, self.output[1] * out_channels, |row, y| {
            for (column, y) in y.chunks_exact_mut(out_channels).enumerate() {
                let (before, old) = y.split_at_mut(self.before);
                let (old, after) = old.split_at_mut(channels);
                before.fill(T::zero());
                old.copy_from_slice(&x[self.x_pixel(row, column)..][..channels]);
                after.fill(T::zero());
            }
        });
    }

    /// Where the pixel of `x` begins that output row `row` (counted through the batch) takes
    /// at `column`.
    fn x_pixel(&self, row: usize, column: usize) -> usize {
        let (image, row) = (row / self.output[0], row % self.output[0] * self.stride);
        ((image * self.input[0] + row) * self.input[1] + column * self.stride) * self.channels
    }
}
