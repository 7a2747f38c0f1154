//! The arithmetic of a window that slides over a padded axis, shared by convolution and
//! pooling.

use crate::{KernelError, Result};

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
        let mut output = [0; 2];
        for axis in 0..2 {
            // Saturation turns absurd numbers into a window or an input that is too large.
            let padded = input[axis].saturating_add(padding[axis].saturating_mul(2));
            let reach = dilation[axis].saturating_mul(kernel[axis] - 1);
            if padded <= reach {
                return Err(KernelError::WindowTooLarge { operation, kernel, dilation, input, padding });
            }
            output[axis] = (padded - reach - 1) / stride[axis] + 1;
        }
        Ok(output)
    }
}
