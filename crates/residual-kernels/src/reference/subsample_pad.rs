//! The shortcut without parameters (He et al. 2015, section 3.3, option A): every `stride`-th pixel,
//! with zeros for the channels that the input does not have. The paper does not say where the zeros
//! go; here half of them come before the channels and half after them.

use ndarray::{Array4, ArrayView4};

use super::unless_same;
use residual_tensor::Shape;

use crate::{KernelError, Result};

/// `y[n, before + c, i, j] = x[n, c, i · stride, j · stride]`, and zero in the other channels.
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]`.
///
/// # Errors
/// If `x` has more channels than `out_channels`, or the stride is 0.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::subsample_pad;
///
/// let x = array![[[[1.0, 2.0, 3.0]]]];
/// let y = subsample_pad::forward(x.view(), 2, 3)?;
/// assert_eq!(y, array![[[[0.0, 0.0]], [[1.0, 3.0]], [[0.0, 0.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(x: ArrayView4<'_, f64>, stride: usize, out_channels: usize) -> Result<Array4<f64>> {
    let (batch, channels, height, width) = x.dim();
    let before = zeros_before(channels, stride, out_channels)?;
    let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
    let mut y = Array4::zeros([batch, out_channels, rows, columns]);
    for n in 0..batch {
        for c in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    y[[n, before + c, i, j]] = x[[n, c, i * stride, j * stride]];
                }
            }
        }
    }
    Ok(y)
}

/// The gradient: `dx[n, c, i · stride, j · stride] = dy[n, before + c, i, j]`, and zero elsewhere.
///
/// # Shapes
/// `dy [n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the output's shape.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::subsample_pad;
///
/// let dy = array![[[[5.0, 6.0]], [[7.0, 8.0]], [[9.0, 10.0]]]];
/// let dx = subsample_pad::backward(dy.view(), 2, [1, 1, 1, 3])?;
/// assert_eq!(dx, array![[[[7.0, 0.0, 8.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(dy: ArrayView4<'_, f64>, stride: usize, x_shape: [usize; 4]) -> Result<Array4<f64>> {
    let ([batch, channels, height, width], out_channels) = (x_shape, dy.dim().1);
    let before = zeros_before(channels, stride, out_channels)?;
    let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
    let y = [batch, out_channels, rows, columns];
    unless_same("subsample_pad backward", ("dy", dy.shape()), ("the output", &y))?;
    let mut dx = Array4::zeros(x_shape);
    for n in 0..batch {
        for c in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    dx[[n, c, i * stride, j * stride]] = dy[[n, before + c, i, j]];
                }
            }
        }
    }
    Ok(dx)
}

/// How many of the new channels come before the old ones.
fn zeros_before(channels: usize, stride: usize, out_channels: usize) -> Result<usize> {
    let operation = "subsample_pad";
    if stride == 0 {
        return Err(KernelError::ZeroGeometry { operation, parameter: "stride", value: [0, 0] });
    }
    let (x, y) = (Shape::new([channels])?, Shape::new([out_channels])?);
    let rule = "channels can be added, but not taken away";
    let extra = out_channels.checked_sub(channels);
    let extra = extra.ok_or_else(|| KernelError::mismatch(operation, ("x", &x), ("the output", &y), rule))?;
    Ok(extra / 2)
}
