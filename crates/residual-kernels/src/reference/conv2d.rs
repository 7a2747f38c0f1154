//! The convolution of a network (mathematically a cross-correlation) and its two gradients.
//!
//! ```text
//! y[n, o, i, j] = Σ c, a, b  x[n, first(o) + c, i·stride + a·dilation − padding, j·… + b·… − …] · weight[o, c, a, b]
//! ```
//!
//! `first(o)` is the first input channel of the group that output channel `o` belongs to. What lies
//! outside of the image is zero. The formula is *Deep Learning*, eq. 9.8 (stride), with the groups of
//! Krizhevsky et al. 2012, section 3.5, and the dilation of Yu and Koltun 2016, eq. 2; the
//! size of y is that of Dumoulin and Visin 2016, relationship 15.
//!
//! Every product `x · weight` that is added to an element of `y` takes part in both gradients: by the
//! product rule as `dy · weight` in that of `x`, and as `dy · x` in that of the weight. So the three
//! functions are the same seven loops; only the line in the middle differs.

use ndarray::{Array4, ArrayView4};

use super::unless_same;
use residual_tensor::Shape;

use crate::{Conv2dGeometry, Result};

/// `y += x · weight`, over everything that the loops visit.
///
/// # Shapes
/// `x [n, c, h, w]`, `weight [o, c / groups, a, b]` → `[n, o, i, j]`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`].
///
/// ```
/// use ndarray::array;
/// use residual_kernels::{Conv2dGeometry, reference::conv2d};
///
/// // Two channels in two groups: each output channel sees its own input channel.
/// let x = array![[[[1.0, 2.0, 3.0]], [[10.0, 20.0, 30.0]]]];
/// let weight = array![[[[1.0, 1.0, 1.0]]], [[[1.0, 0.0, -1.0]]]];
/// let geometry = Conv2dGeometry::new(1, 3).padding([0, 1]).groups(2);
/// let y = conv2d::forward(x.view(), weight.view(), &geometry)?;
/// // 0 + 1 + 2, 1 + 2 + 3, 2 + 3 + 0; then 0 − 20, 10 − 30, 20 − 0
/// assert_eq!(y, array![[[[3.0, 6.0, 5.0]], [[-20.0, -20.0, 20.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(
    x: ArrayView4<'_, f64>,
    weight: ArrayView4<'_, f64>,
    geometry: &Conv2dGeometry,
) -> Result<Array4<f64>> {
    geometry.resolve(&Shape::new(x.shape())?, &Shape::new(weight.shape())?)?;
    let &Conv2dGeometry { stride, padding: [top, left], dilation, groups, .. } = geometry;
    let (batch, _, height, width) = x.dim();
    let (outputs, group_inputs, kernel_height, kernel_width) = weight.dim();
    let [rows, columns] = geometry.output_size([height, width])?;
    let mut y = Array4::zeros([batch, outputs, rows, columns]);
    for n in 0..batch {
        for o in 0..outputs {
            let first = o / (outputs / groups) * group_inputs;
            for i in 0..rows {
                for j in 0..columns {
                    for c in 0..group_inputs {
                        for a in 0..kernel_height {
                            for b in 0..kernel_width {
                                // Counted from the corner of the padding.
                                let (h, w) =
                                    (i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]);
                                if (top..top + height).contains(&h) && (left..left + width).contains(&w) {
                                    y[[n, o, i, j]] +=
                                        x[[n, first + c, h - top, w - left]] * weight[[o, c, a, b]];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(y)
}

/// `dx += dy · weight`, over the same loops (*Deep Learning*, eq. 9.13).
///
/// # Shapes
/// `dy [n, o, i, j]`, `weight [o, c / groups, a, b]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the output's shape.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::{Conv2dGeometry, reference::conv2d};
///
/// // A window of two at stride 2: every pixel is seen once, by the tap that lies on it.
/// let dy = array![[[[10.0, 100.0]]]];
/// let weight = array![[[[2.0, 3.0]]]];
/// let geometry = Conv2dGeometry::new(1, 2).stride([1, 2]);
/// let dx = conv2d::backward_data(dy.view(), weight.view(), [1, 1, 1, 5], &geometry)?;
/// assert_eq!(dx, array![[[[20.0, 30.0, 200.0, 300.0, 0.0]]]]); // the fifth is seen by none
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward_data(
    dy: ArrayView4<'_, f64>,
    weight: ArrayView4<'_, f64>,
    x_shape: [usize; 4],
    geometry: &Conv2dGeometry,
) -> Result<Array4<f64>> {
    let y = geometry.resolve(&Shape::new(x_shape)?, &Shape::new(weight.shape())?)?.y();
    unless_same("conv2d backward", ("dy", dy.shape()), ("the output", &y))?;
    let &Conv2dGeometry { stride, padding: [top, left], dilation, groups, .. } = geometry;
    let [batch, _, height, width] = x_shape;
    let (outputs, group_inputs, kernel_height, kernel_width) = weight.dim();
    let (_, _, rows, columns) = dy.dim();
    let mut dx = Array4::zeros(x_shape);
    for n in 0..batch {
        for o in 0..outputs {
            let first = o / (outputs / groups) * group_inputs;
            for i in 0..rows {
                for j in 0..columns {
                    for c in 0..group_inputs {
                        for a in 0..kernel_height {
                            for b in 0..kernel_width {
                                let (h, w) =
                                    (i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]);
                                if (top..top + height).contains(&h) && (left..left + width).contains(&w) {
                                    dx[[n, first + c, h - top, w - left]] +=
                                        dy[[n, o, i, j]] * weight[[o, c, a, b]];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(dx)
}

/// `dweight += dy · x`, over the same loops (*Deep Learning*, eq. 9.11).
///
/// # Shapes
/// `x [n, c, h, w]`, `dy [n, o, i, j]` → `weight_shape`, which is `[o, c / groups, a, b]`.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the output's shape.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::{Conv2dGeometry, reference::conv2d};
///
/// let (x, dy) = (array![[[[1.0, 2.0, 3.0, 4.0]]]], array![[[[10.0, 100.0]]]]);
/// let geometry = Conv2dGeometry::new(1, 2).dilation([1, 2]);
/// let dw = conv2d::backward_weights(x.view(), dy.view(), [1, 1, 1, 2], &geometry)?;
/// // The first tap meets 1 and 2, the second, two pixels on, meets 3 and 4.
/// assert_eq!(dw, array![[[[1.0 * 10.0 + 2.0 * 100.0, 3.0 * 10.0 + 4.0 * 100.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward_weights(
    x: ArrayView4<'_, f64>,
    dy: ArrayView4<'_, f64>,
    weight_shape: [usize; 4],
    geometry: &Conv2dGeometry,
) -> Result<Array4<f64>> {
    let y = geometry.resolve(&Shape::new(x.shape())?, &Shape::new(weight_shape)?)?.y();
    unless_same("conv2d backward", ("dy", dy.shape()), ("the output", &y))?;
    let &Conv2dGeometry { stride, padding: [top, left], dilation, groups, .. } = geometry;
    let (batch, _, height, width) = x.dim();
    let [outputs, group_inputs, kernel_height, kernel_width] = weight_shape;
    let (_, _, rows, columns) = dy.dim();
    let mut dweight = Array4::zeros(weight_shape);
    for n in 0..batch {
        for o in 0..outputs {
            let first = o / (outputs / groups) * group_inputs;
            for i in 0..rows {
                for j in 0..columns {
                    for c in 0..group_inputs {
                        for a in 0..kernel_height {
                            for b in 0..kernel_width {
                                let (h, w) =
                                    (i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]);
                                if (top..top + height).contains(&h) && (left..left + width).contains(&w) {
                                    dweight[[o, c, a, b]] +=
                                        dy[[n, o, i, j]] * x[[n, first + c, h - top, w - left]];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(dweight)
}
