//! Every `stride`-th pixel of a blurred image (Zhang 2019, section 3.2, "Triangle-3"). Beyond its edge an image
//! is mirrored, its last row and column not repeated (*PyTorch*'s padding by reflection); a single one is.

use ndarray::{Array4, ArrayView4};

use super::unless_same;
use crate::{KernelError, Result};

/// `y[n, c, i, j] = Σ a, b  k[a] · k[b] · x[n, c, i · stride + a − 1, j · stride + b − 1]` with `k = [¼, ½, ¼]`.
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, c, ⌈h / stride⌉, ⌈w / stride⌉]`.
///
/// # Errors
/// If the stride is 0.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::blur_pool;
///
/// let y = blur_pool::forward(array![[[[0.0, 4.0, 8.0, 0.0]]]].view(), 2)?;
/// // Mirrored: 4 | 0 4 8 0 | 8
/// assert_eq!(y, array![[[[(4.0 + 2.0 * 0.0 + 4.0) / 4.0, (4.0 + 2.0 * 8.0 + 0.0) / 4.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(x: ArrayView4<'_, f64>, stride: usize) -> Result<Array4<f64>> {
    let (batch, channels, height, width) = x.dim();
    let (rows, columns) = (smaller(height, stride)?, smaller(width, stride)?);
    let mut y = Array4::zeros([batch, channels, rows, columns]);
    for n in 0..batch {
        for c in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    for a in 0..3 {
                        for b in 0..3 {
                            let (h, w) = (mirrored(i * stride + a, height), mirrored(j * stride + b, width));
                            y[[n, c, i, j]] += TRIANGLE[a] * TRIANGLE[b] * x[[n, c, h, w]];
                        }
                    }
                }
            }
        }
    }
    Ok(y)
}

/// The gradient: `dx[n, c, h, w]` is the sum of `k[a] · k[b] · dy[n, c, i, j]` over all that it was in.
///
/// # Shapes
/// `dy [n, c, ⌈h / stride⌉, ⌈w / stride⌉]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the output's shape.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::blur_pool;
///
/// let dx = blur_pool::backward(array![[[[4.0, 8.0]]]].view(), 2, [1, 1, 1, 3])?;
/// assert_eq!(dx, array![[[[4.0 / 2.0, 4.0 / 2.0 + 8.0 / 2.0, 8.0 / 2.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(dy: ArrayView4<'_, f64>, stride: usize, x_shape: [usize; 4]) -> Result<Array4<f64>> {
    let [batch, channels, height, width] = x_shape;
    let (rows, columns) = (smaller(height, stride)?, smaller(width, stride)?);
    let y = [batch, channels, rows, columns];
    unless_same("blur_pool backward", ("dy", dy.shape()), ("the output", &y))?;
    let mut dx = Array4::zeros(x_shape);
    for n in 0..batch {
        for c in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    for a in 0..3 {
                        for b in 0..3 {
                            let (h, w) = (mirrored(i * stride + a, height), mirrored(j * stride + b, width));
                            dx[[n, c, h, w]] += TRIANGLE[a] * TRIANGLE[b] * dy[[n, c, i, j]];
                        }
                    }
                }
            }
        }
    }
    Ok(dx)
}

/// `k`
const TRIANGLE: [f64; 3] = [0.25, 0.5, 0.25];

/// The pixel that is seen at `place`, which is counted from the one before the edge.
fn mirrored(place: usize, length: usize) -> usize {
    match place {
        _ if length == 1 => 0,
        0 => 1,
        place if place > length => length - 2,
        place => place - 1,
    }
}

/// Pixels along an axis after every `stride`-th was taken.
fn smaller(length: usize, stride: usize) -> Result<usize> {
    let (operation, parameter) = ("blur_pool", "stride");
    if stride == 0 {
        return Err(KernelError::ZeroGeometry { operation, parameter, value: [0, 0] });
    }
    Ok(length.div_ceil(stride))
}
