//! The fully connected layer (*PyTorch*'s `Linear`).

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use super::unless_same;
use crate::Result;

/// `y[n, o] = Σ i  x[n, i] · weight[o, i] + bias[o]`
///
/// # Shapes
/// `x [n, in]`, `weight [out, in]`, `bias [out]` → `[n, out]`.
///
/// # Errors
/// If the shapes do not fit.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::linear;
///
/// let (x, weight, bias) = (array![[1.0, 2.0]], array![[3.0, 4.0], [5.0, 6.0]], array![100.0, 200.0]);
/// let y = linear::forward(x.view(), weight.view(), bias.view())?;
/// assert_eq!(y, array![[1.0 * 3.0 + 2.0 * 4.0 + 100.0, 1.0 * 5.0 + 2.0 * 6.0 + 200.0]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(
    x: ArrayView2<'_, f64>,
    weight: ArrayView2<'_, f64>,
    bias: ArrayView1<'_, f64>,
) -> Result<Array2<f64>> {
    let ((batch, inputs), outputs) = (x.dim(), weight.nrows());
    unless_same("linear", ("weight", weight.shape()), ("outputs and inputs", &[outputs, inputs]))?;
    unless_same("linear", ("bias", bias.shape()), ("the outputs", &[outputs]))?;
    let mut y = Array2::zeros([batch, outputs]);
    for n in 0..batch {
        for o in 0..outputs {
            for i in 0..inputs {
                y[[n, o]] += x[[n, i]] * weight[[o, i]];
            }
            y[[n, o]] += bias[o];
        }
    }
    Ok(y)
}

/// The gradients with respect to x, weight and bias: each product and each bias passes `dy` on.
///
/// # Shapes
/// `x [n, in]`, `weight [out, in]`, `dy [n, out]` → `[n, in]`, `[out, in]`, `[out]`.
///
/// # Errors
/// If the shapes do not fit.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::linear;
///
/// let (x, weight) = (array![[1.0, 2.0]], array![[3.0, 4.0], [5.0, 6.0]]);
/// let (dx, dweight, dbias) = linear::backward(x.view(), weight.view(), array![[10.0, 100.0]].view())?;
/// assert_eq!(dx, array![[10.0 * 3.0 + 100.0 * 5.0, 10.0 * 4.0 + 100.0 * 6.0]]);
/// assert_eq!(dweight, array![[10.0 * 1.0, 10.0 * 2.0], [100.0 * 1.0, 100.0 * 2.0]]);
/// assert_eq!(dbias, array![10.0, 100.0]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(
    x: ArrayView2<'_, f64>,
    weight: ArrayView2<'_, f64>,
    dy: ArrayView2<'_, f64>,
) -> Result<(Array2<f64>, Array2<f64>, Array1<f64>)> {
    let ((batch, inputs), outputs) = (x.dim(), weight.nrows());
    unless_same("linear backward", ("weight", weight.shape()), ("outputs and inputs", &[outputs, inputs]))?;
    unless_same("linear backward", ("dy", dy.shape()), ("the output", &[batch, outputs]))?;
    let (mut dx, mut dweight, mut dbias) =
        (Array2::zeros(x.dim()), Array2::zeros(weight.dim()), Array1::zeros(outputs));
    for n in 0..batch {
        for o in 0..outputs {
            for i in 0..inputs {
                dx[[n, i]] += dy[[n, o]] * weight[[o, i]];
                dweight[[o, i]] += dy[[n, o]] * x[[n, i]];
            }
            dbias[o] += dy[[n, o]];
        }
    }
    Ok((dx, dweight, dbias))
}
