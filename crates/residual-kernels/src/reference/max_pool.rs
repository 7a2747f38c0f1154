//! The largest value under each window (*Deep Learning*, section 9.3; *PyTorch*'s `MaxPool2d`).
//!
//! Padding never wins: a window is cut off at the edge of the image. NaN wins over every number, and of
//! several NaNs the last; of equal numbers the first in row-major order wins.

use ndarray::{Array4, ArrayView4};

use super::unless_same;
use residual_tensor::Shape;

use crate::{KernelError, Pool2dGeometry, Result};

/// `y[n, c, i, j] = max a, b  x[n, c, i·stride + a − padding, j·… + b − …]`, and the row and column of x
/// that it comes from.
///
/// # Shapes
/// `x [n, c, h, w]` → `[n, c, i, j]`, `[n, c, i, j]`.
///
/// # Errors
/// As [`Pool2dGeometry::resolve`].
///
/// ```
/// use ndarray::array;
/// use residual_kernels::{Pool2dGeometry, reference::max_pool};
///
/// let x = array![[[[1.0, 7.0, 7.0, f64::NAN]]]];
/// let (y, from) = max_pool::forward(x.view(), &Pool2dGeometry::new(1, 3).stride(1))?;
/// assert_eq!((y[[0, 0, 0, 0]], from[[0, 0, 0, 0]]), (7.0, [0, 1])); // the first of the two
/// assert!(y[[0, 0, 0, 1]].is_nan());
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(
    x: ArrayView4<'_, f64>,
    geometry: &Pool2dGeometry,
) -> Result<(Array4<f64>, Array4<[usize; 2]>)> {
    geometry.resolve(&Shape::new(x.shape())?)?;
    let &Pool2dGeometry { kernel, stride, padding: [top, left], .. } = geometry;
    let (batch, channels, height, width) = x.dim();
    let [rows, columns] = geometry.output_size([height, width])?;
    let mut y = Array4::from_elem([batch, channels, rows, columns], f64::NEG_INFINITY);
    let mut from = Array4::from_elem(y.dim(), None);
    for n in 0..batch {
        for c in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    for a in 0..kernel[0] {
                        for b in 0..kernel[1] {
                            // Counted from the corner of the padding.
                            let (h, w) = (i * stride[0] + a, j * stride[1] + b);
                            if (top..top + height).contains(&h) && (left..left + width).contains(&w) {
                                let value = x[[n, c, h - top, w - left]];
                                let first = from[[n, c, i, j]].is_none();
                                if first || value > y[[n, c, i, j]] || value.is_nan() {
                                    y[[n, c, i, j]] = value;
                                    from[[n, c, i, j]] = Some([h - top, w - left]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    // Padding is at most half of a window, so that every window has seen something.
    Ok((y, from.mapv(Option::unwrap_or_default)))
}

/// The gradient: each `dy` goes to the pixel that was the maximum.
///
/// # Shapes
/// `dy [n, c, i, j]` and `from` as [`forward`] gave it → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// If `dy`, `from` and `x_shape` do not fit each other.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::{Pool2dGeometry, reference::max_pool};
///
/// let x = array![[[[1.0, 9.0, 2.0, 3.0]]]];
/// let (_, from) = max_pool::forward(x.view(), &Pool2dGeometry::new(1, 2).stride(1))?;
/// let dx = max_pool::backward(array![[[[10.0, 20.0, 30.0]]]].view(), from.view(), [1, 1, 1, 4])?;
/// assert_eq!(dx, array![[[[0.0, 10.0 + 20.0, 0.0, 30.0]]]]); // 9 won twice
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(
    dy: ArrayView4<'_, f64>,
    from: ArrayView4<'_, [usize; 2]>,
    x_shape: [usize; 4],
) -> Result<Array4<f64>> {
    let (batch, channels, rows, columns) = dy.dim();
    unless_same("max_pool backward", ("dy", dy.shape()), ("from", from.shape()))?;
    unless_same("max_pool backward", ("batch and channels of dy", &[batch, channels]), ("x", &x_shape[..2]))?;
    if let Some(index) = from.iter().find(|[h, w]| *h >= x_shape[2] || *w >= x_shape[3]) {
        let (index, x) =
            (("from", &Shape::new(index)?), ("height and width of x", &Shape::new(&x_shape[2..])?));
        return Err(KernelError::mismatch(
            "max_pool backward",
            index,
            x,
            "an index must lie within the image",
        ));
    }
    let mut dx = Array4::zeros(x_shape);
    for n in 0..batch {
        for c in 0..channels {
            for i in 0..rows {
                for j in 0..columns {
                    let [h, w] = from[[n, c, i, j]];
                    dx[[n, c, h, w]] += dy[[n, c, i, j]];
                }
            }
        }
    }
    Ok(dx)
}
