//! Where a convolution's window goes: the geometry that a layer has, and what it becomes for
//! given shapes. No arithmetic on elements.

use std::fmt;

use residual_tensor::Shape;
use serde::{Deserialize, Serialize};

use crate::{
    KernelError, Result,
    ops::window::{Pair, Window},
};

/// Kernel size, stride, padding, dilation and groups of a convolution.
///
/// ```
/// use residual_kernels::Conv2dGeometry;
///
/// let stem = Conv2dGeometry::new(7, 7).stride(2).padding(3);
/// assert_eq!(stem.output_size([224, 224])?, [112, 112]);
/// let wide = Conv2dGeometry::new(1, 3).padding([0, 1]);
/// assert_eq!(wide.output_size([5, 8])?, [5, 8]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conv2dGeometry {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Distance between neighbouring windows.
    pub stride: [usize; 2],
    /// Rows and columns of zeros added on each side.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps of the kernel.
    pub dilation: [usize; 2],
    /// Number of groups of channels that do not see each other.
    pub groups: usize,
}

impl Conv2dGeometry {
    /// A kernel of the given height and width; stride, dilation and groups 1, no padding.
    pub const fn new(height: usize, width: usize) -> Self {
        Self { kernel: [height, width], stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }

    /// Sets the stride, for both axes or each.
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: stride.into().0, ..self }
    }

    /// Sets the padding, for both axes or each.
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into().0, ..self }
    }

    /// Sets the dilation, for both axes or each.
    pub fn dilation(self, dilation: impl Into<Pair>) -> Self {
        Self { dilation: dilation.into().0, ..self }
    }

    /// Sets the number of groups.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Height and width of the output for those of the input.
    ///
    /// # Errors
    /// If a field is zero where it must not be or absurdly large, or the kernel is larger than the
    /// padded input.
    pub fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2]> {
        let &Self { kernel, stride, padding, dilation, .. } = self;
        Window { operation: "conv2d", kernel, stride, padding, dilation }.output_size(input)
    }

    /// Checks the geometry against the shapes of input and weight, and works out the rest.
    ///
    /// # Errors
    /// If a shape does not have four axes, the weight is not of this kernel, its channels are
    /// not those of the input, the groups do not divide the channels, the output would have more
    /// elements than memory can address, or as in [`output_size`](Self::output_size).
    pub fn resolve(&self, x: &Shape, weight: &Shape) -> Result<Conv2dShape> {
        let [batch, in_channels, height, width] = x.dims("conv2d")?;
        let [out_channels, group_channels, kernel_height, kernel_width] = weight.dims("conv2d")?;
        let mismatch = |rule| KernelError::mismatch("conv2d", ("weight", weight), ("x", x), rule);
        if [kernel_height, kernel_width] != self.kernel {
            let kernel = Shape::new(self.kernel)?;
            return Err(KernelError::mismatch(
                "conv2d",
                ("weight", weight),
                ("kernel", &kernel),
                "axes 2 and 3 of the weight must be the kernel's height and width",
            ));
        }
        let groups = self.groups;
        if groups == 0 {
            return Err(KernelError::ZeroGeometry {
                operation: "conv2d",
                parameter: "groups",
                value: [0, 0],
            });
        }
        if in_channels % groups != 0 || out_channels % groups != 0 {
            return Err(KernelError::Groups { groups, in_channels, out_channels });
        }
        if group_channels != in_channels / groups {
            return Err(mismatch("x must have axis 1 of the weight times groups as channels"));
        }
        let input = [height, width];
        let output = self.output_size(input)?;
        Shape::count(&[batch, out_channels, output[0], output[1]])?;
        Ok(Conv2dShape { batch, in_channels, out_channels, input, output, geometry: *self })
    }
}

impl fmt::Display for Conv2dGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, stride, padding, dilation, groups } = self;
        write!(f, "kernel {kernel:?}, stride {stride:?}, padding {padding:?}, dilation {dilation:?}, ")?;
        write!(f, "groups {groups}")
    }
}

/// A convolution with all its sizes, computed and checked once by [`Conv2dGeometry::resolve`] and
/// passed on.
///
/// Its fields are private, because functions that access memory rely on them:
///
/// ```compile_fail,E0616
/// fn enlarge(shape: &mut residual_kernels::Conv2dShape) {
///     shape.batch = 2;
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dShape {
    pub(super) batch: usize,
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) geometry: Conv2dGeometry,
}

impl Conv2dShape {
    /// Number of images.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Channels of the input, over all groups.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Channels of the output, over all groups.
    pub fn out_channels(&self) -> usize {
        self.out_channels
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
    pub fn geometry(&self) -> Conv2dGeometry {
        self.geometry
    }

    /// The shape of the input, `[batch, in_channels, height, width]`.
    pub fn x(&self) -> Shape {
        checked([self.batch, self.in_channels, self.input[0], self.input[1]])
    }

    /// The shape of the output, `[batch, out_channels, height, width]`.
    pub fn y(&self) -> Shape {
        checked([self.batch, self.out_channels, self.output[0], self.output[1]])
    }

    /// The shape of the weight, `[out_channels, in_channels / groups, height, width]`.
    pub fn weight(&self) -> Shape {
        let [height, width] = self.geometry.kernel;
        checked([self.out_channels, self.group_inputs(), height, width])
    }

    /// Input channels of one group.
    pub fn group_inputs(&self) -> usize {
        self.in_channels / self.geometry.groups
    }

    /// Output channels of one group.
    pub fn group_outputs(&self) -> usize {
        self.out_channels / self.geometry.groups
    }

    /// Multiplications (each with an addition) of the forward pass, padding included.
    pub fn multiply_adds(&self) -> u64 {
        let [kernel_height, kernel_width] = self.geometry.kernel;
        let per_output = kernel_height.saturating_mul(kernel_width).saturating_mul(self.group_inputs());
        (self.y().elements() as u64).saturating_mul(per_output as u64)
    }
}

/// The shape of axes that [`Conv2dGeometry::resolve`] has checked.
fn checked(axes: [usize; 4]) -> Shape {
    Shape::new(axes).expect("a size that resolve has checked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape<const N: usize>(axes: [usize; N]) -> Shape {
        Shape::new(axes).unwrap()
    }

    #[test]
    fn sizes_are_those_of_the_paper() {
        // He et al. 2015, table 1: 224 → 112 by the 7×7 stem, 56 → 28 by a strided 3×3.
        let stem = Conv2dGeometry::new(7, 7).stride(2).padding(3);
        let shape = stem.resolve(&shape([2, 3, 224, 224]), &shape([64, 3, 7, 7])).unwrap();
        assert_eq!(*shape.y(), [2, 64, 112, 112]);
        assert_eq!(shape.multiply_adds(), 2 * 112 * 112 * 64 * 3 * 49);
        let down = Conv2dGeometry::new(3, 3).stride(2).padding(1);
        assert_eq!(down.output_size([56, 55]).unwrap(), [28, 28]);
        assert_eq!(down.dilation(2).output_size([9, 12]).unwrap(), [4, 5]);
    }

    #[test]
    fn a_geometry_that_does_not_fit_says_why() {
        let geometry = Conv2dGeometry::new(3, 3);
        let message = |geometry: Conv2dGeometry, x: [usize; 4], weight: [usize; 4]| {
            geometry.resolve(&shape(x), &shape(weight)).unwrap_err().to_string()
        };
        assert_eq!(
            message(geometry, [2, 3, 2, 9], [4, 3, 3, 3]),
            "conv2d: kernel [3, 3] with dilation [1, 1] is larger than the input [2, 9] with padding \
             [0, 0]; use a larger input or more padding"
        );
        assert_eq!(
            message(geometry.stride([1, 0]), [2, 3, 9, 9], [4, 3, 3, 3]),
            "conv2d: stride must be at least 1, but is [1, 0]"
        );
        assert_eq!(
            message(geometry.groups(2), [2, 3, 9, 9], [4, 3, 3, 3]),
            "conv2d: 2 groups do not divide 3 input and 4 output channels"
        );
        assert_eq!(
            message(geometry, [2, 3, 9, 9], [4, 5, 3, 3]),
            "conv2d: weight [4, 5, 3, 3] does not fit x [2, 3, 9, 9]: \
             x must have axis 1 of the weight times groups as channels"
        );
        assert_eq!(
            message(geometry, [2, 3, 9, 9], [4, 3, 1, 3]),
            "conv2d: weight [4, 3, 1, 3] does not fit kernel [3, 3]: \
             axes 2 and 3 of the weight must be the kernel's height and width"
        );
        let flat = geometry.resolve(&shape([2, 27]), &shape([4, 3, 3, 3])).unwrap_err();
        assert_eq!(flat.to_string(), "conv2d needs 4 axes, but the shape is [2, 27]");
        assert!(geometry.padding(usize::MAX).dilation(usize::MAX).output_size([4, 4]).is_err());
    }
}
