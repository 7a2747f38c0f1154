//! The average under each window (*PyTorch*'s `AvgPool2d`). Padding counts as zeros, as by default there; what
//! is behind it does not count.

use ndarray::{Array4, ArrayView4};

use super::unless_same;
use residual_tensor::Shape;

use crate::{Pool2dGeometry, Result};

/// `y[n, c, i, j] = Σ a, b  x[n, c, i·stride + a − padding, j·… + b − …] / (height · width of the window)`
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, c, i, j]`.
///
/// # Errors
/// As [`Pool2dGeometry::resolve`].
///
/// ```
/// use ndarray::array;
/// use residual_kernels::{Pool2dGeometry, reference::avg_pool};
///
/// let x = array![[[[3.0, 6.0, 9.0]]]];
/// let y = avg_pool::forward(x.view(), &Pool2dGeometry::new(1, 3).stride(1).padding([0, 1]))?;
/// assert_eq!(y, array![[[[(0.0 + 3.0 + 6.0) / 3.0, 6.0, (6.0 + 9.0 + 0.0) / 3.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(x: ArrayView4<'_, f64>, geometry: &Pool2dGeometry) -> Result<Array4<f64>> {
    geometry.resolve(&Shape::new(x.shape())?)?;
    let &Pool2dGeometry { kernel, stride, padding: [top, left], .. } = geometry;
    let (batch, channels, height, width) = x.dim();
    let [rows, columns] = geometry.output_size([height, width])?;
    let size = |i, j| size(geometry, [height, width], [i, j]);
    let mut y = Array4::zeros([batch, channels, rows, columns]);
    for n in 0..batch {
        for c in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    for a in 0..kernel[0] {
                        for b in 0..kernel[1] {
                            // Counted from the corner of the padding.
                            let (h, w) = (i * stride[0] + a, j * stride[1] + b);
                            if (top..top + height).contains(&h) && (left..left + width).contains(&w) {
                                y[[n, c, i, j]] += x[[n, c, h - top, w - left]] / size(i, j);
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(y)
}

/// The gradient: each pixel under a window gets an equal share of its `dy`.
///
/// # Shapes
/// `dy [n, c, i, j]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the output's shape.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::{Pool2dGeometry, reference::avg_pool};
///
/// let geometry = Pool2dGeometry::new(1, 2).stride(1);
/// let dx = avg_pool::backward(array![[[[10.0, 20.0]]]].view(), [1, 1, 1, 3], &geometry)?;
/// assert_eq!(dx, array![[[[10.0 / 2.0, 10.0 / 2.0 + 20.0 / 2.0, 20.0 / 2.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(
    dy: ArrayView4<'_, f64>,
    x_shape: [usize; 4],
    geometry: &Pool2dGeometry,
) -> Result<Array4<f64>> {
    unless_same(
        "avg_pool backward",
        ("dy", dy.shape()),
        ("the output", &geometry.resolve(&Shape::new(x_shape)?)?.y()),
    )?;
    let &Pool2dGeometry { kernel, stride, padding: [top, left], .. } = geometry;
    let ([_, _, height, width], (batch, channels, rows, columns)) = (x_shape, dy.dim());
    let size = |i, j| size(geometry, [height, width], [i, j]);
    let mut dx = Array4::zeros(x_shape);
    for n in 0..batch {
        for c in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    for a in 0..kernel[0] {
                        for b in 0..kernel[1] {
                            let (h, w) = (i * stride[0] + a, j * stride[1] + b);
                            if (top..top + height).contains(&h) && (left..left + width).contains(&w) {
                                dx[[n, c, h - top, w - left]] += dy[[n, c, i, j]] / size(i, j);
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(dx)
}

/// The pixels under the window of output pixel `[i, j]`, those of the padding included.
fn size(geometry: &Pool2dGeometry, input: [usize; 2], output: [usize; 2]) -> f64 {
    let mut size = 0.0;
    for a in 0..geometry.kernel[0] {
        for b in 0..geometry.kernel[1] {
            let place = [output[0] * geometry.stride[0] + a, output[1] * geometry.stride[1] + b];
            if (0..2).all(|axis| place[axis] < input[axis] + 2 * geometry.padding[axis]) {
                size += 1.0;
            }
        }
    }
    size
}
