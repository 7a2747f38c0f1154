//! The arithmetic of a window that slides over a padded axis, shared by convolution and
//! pooling.

use residual_tensor::{Shape, TensorError};

use crate::{KernelError, Result};

/// The most that a length of a window may be: a billion where addresses have 64 bits. The product
/// of two such lengths, and any position in a padded axis, then fits `isize`.
const MOST: usize = 1 << (usize::BITS / 2 - 2);

/// Height and width, given as one number for both or as two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(both: usize) -> Self {
        Self([both; 2])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Self(pair)
    }
}

/// A window over height and width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) operation: &'static str,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
}

impl Window {
    /// How often the window fits: `(input + 2·padding − dilation·(kernel − 1) − 1) / stride + 1`.
    pub(crate) fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2]> {
        let &Self { operation, kernel, stride, padding, dilation } = self;
        for (parameter, value) in [("kernel", kernel), ("stride", stride), ("dilation", dilation)] {
            if value.contains(&0) {
                return Err(KernelError::ZeroGeometry { operation, parameter, value });
            }
        }
        for (parameter, value) in
            [("kernel", kernel), ("stride", stride), ("padding", padding), ("dilation", dilation)]
        {
            if value.iter().any(|&value| value > MOST) {
                return Err(KernelError::LargeGeometry { operation, parameter, value, most: MOST });
            }
        }
        if input.iter().any(|&length| length > Shape::MAX_ELEMENTS) {
            return Err(TensorError::TooLarge { axes: input.into() }.into());
        }
        let mut output = [0; 2];
        for axis in 0..2 {
            let padded = input[axis] + 2 * padding[axis];
            let reach = dilation[axis] * (kernel[axis] - 1);
            if padded <= reach {
                return Err(KernelError::WindowTooLarge { operation, kernel, dilation, input, padding });
            }
            output[axis] = (padded - reach - 1) / stride[axis] + 1;
        }
        Ok(output)
    }
}
