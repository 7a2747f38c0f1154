//! The average over a whole image (Lin, Chen and Yan 2013, section 3.2).

use ndarray::{Array2, Array4, ArrayView2, ArrayView4};

use super::unless_same;
use residual_tensor::Shape;

use crate::{KernelError, Result};

/// `y[n, c] = Σ h, w  x[n, c, h, w] / (h · w)`
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, c]`.
///
/// # Errors
/// If images have no pixels.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::global_avg_pool;
///
/// let x = array![[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 8.0]]]];
/// assert_eq!(global_avg_pool::forward(x.view())?, array![[3.0, 2.0]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(x: ArrayView4<'_, f64>) -> Result<Array2<f64>> {
    let (batch, channels, height, width) = x.dim();
    if height * width == 0 {
        let (operation, shape) = ("global_avg_pool", Shape::new(x.shape())?);
        return Err(KernelError::TooFewValues { operation, shape, count: 0, needed: 1 });
    }
    let mut y = Array2::zeros([batch, channels]);
    for n in 0..batch {
        for c in 0..channels {
            for h in 0..height {
                for w in 0..width {
                    y[[n, c]] += x[[n, c, h, w]] / (height * width) as f64;
                }
            }
        }
    }
    Ok(y)
}

/// The gradient: each pixel gets an equal share of `dy`.
///
/// # Shapes
/// `dy [n, c]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// If `dy` is not `[n, c]`.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::global_avg_pool;
///
/// let dx = global_avg_pool::backward(array![[8.0]].view(), [1, 1, 2, 2])?;
/// assert_eq!(dx, array![[[[2.0, 2.0], [2.0, 2.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(dy: ArrayView2<'_, f64>, x_shape: [usize; 4]) -> Result<Array4<f64>> {
    let [batch, channels, height, width] = x_shape;
    unless_same("global_avg_pool backward", ("dy", dy.shape()), ("the output", &[batch, channels]))?;
    let mut dx = Array4::zeros(x_shape);
    for n in 0..batch {
        for c in 0..channels {
            for h in 0..height {
                for w in 0..width {
                    dx[[n, c, h, w]] = dy[[n, c]] / (height * width) as f64;
                }
            }
        }
    }
    Ok(dx)
}
