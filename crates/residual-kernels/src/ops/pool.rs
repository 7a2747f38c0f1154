//! Where the window of a pooling goes: the geometry that a layer has, and what it becomes for a given
//! shape. No arithmetic on elements, which is in [`max_pool`](mod@super::max_pool) and
//! [`avg_pool`](mod@super::avg_pool).
//!
//! Windows see each channel alone and have no weights.

use std::ops::Range;

use residual_tensor::Shape;
use serde::{Deserialize, Serialize};

use crate::{
    KernelError, Result,
    ops::window::{Pair, Window},
};

/// Kernel size, stride and padding of a pooling window.
///
/// ```
/// use residual_kernels::Pool2dGeometry;
///
/// let stem = Pool2dGeometry::new(3, 3).stride(2).padding(1);
/// assert_eq!(stem.output_size([112, 112])?, [56, 56]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pool2dGeometry {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Distance between neighbouring windows.
    pub stride: [usize; 2],
    /// Rows and columns added on each side.
    pub padding: [usize; 2],
    /// Whether there is another window where the last one leaves pixels over. It is cut off behind the
    /// padding.
    #[serde(default)]
    pub ceil_mode: bool,
}

impl Pool2dGeometry {
    /// A window of the given height and width, with the same stride and no padding.
    pub const fn new(height: usize, width: usize) -> Self {
        Self { kernel: [height, width], stride: [height, width], padding: [0; 2], ceil_mode: false }
    }

    /// Sets whether there is another window where the last one leaves pixels over.
    pub fn ceil_mode(self, ceil_mode: bool) -> Self {
        Self { ceil_mode, ..self }
    }

    /// Sets the stride, for both axes or each.
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: stride.into().0, ..self }
    }

    /// Sets the padding, for both axes or each.
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into().0, ..self }
    }

    /// Height and width of the output for those of the input.
    ///
    /// # Errors
    /// If a field is zero where it must not be or absurdly large, the padding exceeds half of the kernel, or the
    /// kernel is larger than the padded input.
    pub fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2]> {
        let &Self { kernel, stride, padding, ceil_mode } = self;
        let operation = "pool2d";
        let window = Window { operation, kernel, stride, padding, dilation: [1; 2] };
        let output = match ceil_mode {
            false => window.output_size(input)?,
            true => {
                let more = |axis: usize| input[axis].saturating_add(stride[axis].saturating_sub(1));
                let [rows, columns] = window.output_size([more(0), more(1)])?;
                // No window begins behind the pixels.
                let most = |axis: usize| (input[axis] + padding[axis]).div_ceil(stride[axis]);
                [rows.min(most(0)), columns.min(most(1))]
            }
        };
        if (0..2).any(|axis| padding[axis] > kernel[axis] / 2) {
            return Err(KernelError::PaddingTooLarge { operation, kernel, padding });
        }
        Ok(output)
    }

    /// Checks the geometry against the shape of the input, and works out the rest.
    ///
    /// # Errors
    /// If `x` does not have four axes or its images have no pixels, the output would have more
    /// elements than memory can address, or as [`output_size`](Self::output_size).
    pub fn resolve(&self, x: &Shape) -> Result<Pool2dShape> {
        let [batch, channels, height, width] = x.dims("pool2d")?;
        let input = [height, width];
        if input.contains(&0) {
            // Every window is to have an element; an even kernel would fit into mere padding.
            let (operation, shape) = ("pool2d", x.clone());
            return Err(KernelError::TooFewValues { operation, shape, count: 0, needed: 1 });
        }
        let output = self.output_size(input)?;
        Shape::count(&[batch, channels, output[0], output[1]])?;
        Ok(Pool2dShape { batch, channels, input, output, geometry: *self })
    }
}

/// A pooling with all its sizes, computed and checked once by [`Pool2dGeometry::resolve`] and passed
/// on.
///
/// Its fields are private, because functions that access memory rely on them:
///
/// ```compile_fail,E0616
/// fn enlarge(shape: &mut residual_kernels::Pool2dShape) {
///     shape.batch = 2;
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dShape {
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) geometry: Pool2dGeometry,
}

impl Pool2dShape {
    /// Number of images.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Channels of input and output.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width of the input.
    pub fn input(&self) -> [usize; 2] {
        self.input
    }

    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    /// The geometry that led here.
    pub fn geometry(&self) -> Pool2dGeometry {
        self.geometry
    }

    /// The shape of the input, `[batch, channels, height, width]`.
    pub fn x(&self) -> Shape {
        Shape::new([self.batch, self.channels, self.input[0], self.input[1]]).expect("checked by resolve")
    }

    /// The shape of the output, `[batch, channels, height, width]`.
    pub fn y(&self) -> Shape {
        Shape::new([self.batch, self.channels, self.output[0], self.output[1]]).expect("checked by resolve")
    }

    /// An error unless slices have as many elements as input and output.
    pub(super) fn check<T>(&self, x: &[T], y: &[T]) -> Result<()> {
        let &Self { batch, channels, input, output, .. } = self;
        crate::error::check_length([batch, channels, input[0], input[1]], x.len())?;
        crate::error::check_length([batch, channels, output[0], output[1]], y.len())
    }

    /// The rows and the columns of the input under the window of output pixel `[i, j]`, without
    /// those in the padding. There is at least one of each: the padding is at most half of the
    /// kernel, and the input has pixels.
    pub(super) fn window(&self, i: usize, j: usize) -> [Range<usize>; 2] {
        let inside = |axis: usize, at: usize| {
            let start = at * self.geometry.stride[axis];
            let end = (start + self.geometry.kernel[axis]).saturating_sub(self.geometry.padding[axis]);
            start.saturating_sub(self.geometry.padding[axis])..end.min(self.input[axis])
        };
        [inside(0, i), inside(1, j)]
    }

    /// How many pixels are under the window of output pixel `[i, j]`, those of the padding included.
    pub(super) fn window_size(&self, i: usize, j: usize) -> usize {
        let length = |axis: usize, at: usize| {
            let start = at * self.geometry.stride[axis];
            let padded = self.input[axis] + 2 * self.geometry.padding[axis];
            self.geometry.kernel[axis].min(padded - start)
        };
        length(0, i) * length(1, j)
    }

    /// The pixels of [`window`](Self::window), as `row · width + column` within an image.
    pub(super) fn window_pixels(&self, i: usize, j: usize) -> impl Iterator<Item = usize> + use<> {
        let ([rows, columns], width) = (self.window(i, j), self.input[1]);
        rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceil_mode_leaves_no_pixel_over() {
        // torch.nn.functional.avg_pool2d(torch.zeros(1, 1, height, width), …, ceil_mode=True).shape
        let halves = Pool2dGeometry::new(2, 2).ceil_mode(true);
        for (input, output) in [([7, 8], [4, 4]), ([1, 2], [1, 1]), ([5, 3], [3, 2])] {
            assert_eq!(halves.output_size(input).unwrap(), output);
        }
        // A window that would begin in the padding on the right is none.
        let padded = Pool2dGeometry::new(3, 3).stride(2).padding(1).ceil_mode(true);
        assert_eq!(padded.output_size([4, 5]).unwrap(), [3, 3]);
        let apart = Pool2dGeometry::new(2, 2).stride(3).padding(1).ceil_mode(true);
        assert_eq!(apart.output_size([5, 6]).unwrap(), [2, 3]);
    }

    #[test]
    fn a_geometry_that_does_not_fit_says_why() {
        let message = |geometry: Pool2dGeometry| geometry.output_size([4, 4]).unwrap_err().to_string();
        assert_eq!(
            message(Pool2dGeometry::new(3, 3).padding(2)),
            "pool2d: padding [2, 2] may be at most half of kernel [3, 3]"
        );
        assert_eq!(message(Pool2dGeometry::new(0, 3)), "pool2d: kernel must be at least 1, but is [0, 3]");
        assert_eq!(
            message(Pool2dGeometry::new(5, 3)),
            "pool2d: kernel [5, 3] with dilation [1, 1] is larger than the input [4, 4] with padding [0, 0]; \
             use a larger input or more padding"
        );
    }
}
