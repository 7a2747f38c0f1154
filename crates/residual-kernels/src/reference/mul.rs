//! The product of two arrays, element by element; the second may have axes of length 1, which repeat
//! (*PyTorch*, "broadcasting semantics"). A factor for each channel is `[n, c, 1, 1]`.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::unless_same;
use crate::Result;

/// `y[i, j, …] = a[i, j, …] · b[i, j, …]`, where an index of `b` is 0 along an axis of length 1.
///
/// # Errors
/// If an axis of `b` is neither as long as that of `a` nor 1.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::mul;
///
/// let (a, b) = (array![[1.0, 2.0], [3.0, 4.0]].into_dyn(), array![[10.0], [100.0]].into_dyn());
/// assert_eq!(mul::forward(a.view(), b.view())?, array![[10.0, 20.0], [300.0, 400.0]].into_dyn());
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(a: ArrayViewD<'_, f64>, b: ArrayViewD<'_, f64>) -> Result<ArrayD<f64>> {
    unless_repeated(a.shape(), b.shape())?;
    let mut y = a.to_owned();
    for (index, y) in y.indexed_iter_mut() {
        *y *= b[&repeated(&index, b.shape())[..]];
    }
    Ok(y)
}

/// The gradients with respect to `a`, which is `dy · b`, and `b`: the sum of `dy · a` over all that an
/// element of `b` is repeated for.
///
/// # Errors
/// If an axis of `b` is neither as long as that of `a` nor 1, or `dy` does not have the shape of `a`.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::mul;
///
/// let (a, b) = (array![[1.0, 2.0]].into_dyn(), array![[10.0]].into_dyn());
/// let (da, db) = mul::backward(array![[3.0, 5.0]].into_dyn().view(), a.view(), b.view())?;
/// assert_eq!(da, array![[30.0, 50.0]].into_dyn());
/// assert_eq!(db, array![[3.0 * 1.0 + 5.0 * 2.0]].into_dyn());
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(
    dy: ArrayViewD<'_, f64>,
    a: ArrayViewD<'_, f64>,
    b: ArrayViewD<'_, f64>,
) -> Result<(ArrayD<f64>, ArrayD<f64>)> {
    unless_same("mul backward", ("dy", dy.shape()), ("a", a.shape()))?;
    let da = forward(dy.view(), b.view())?;
    let mut db = ArrayD::zeros(b.shape());
    for (index, &dy) in dy.indexed_iter() {
        db[&repeated(&index, b.shape())[..]] += dy * a[&index];
    }
    Ok((da, db))
}

fn unless_repeated(a: &[usize], b: &[usize]) -> Result<()> {
    let axis = |(&a, &b): (&usize, &usize)| if b == 1 { 1 } else { a };
    let expected: Vec<usize> = a.iter().zip(b).map(axis).collect();
    unless_same("mul", ("a", if a.len() == b.len() { &expected } else { a }), ("b", b))
}

/// An index with 0 along the axes of length 1.
fn repeated(index: &IxDyn, shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| if shape[axis] == 1 { 0 } else { index[axis] }).collect()
}
