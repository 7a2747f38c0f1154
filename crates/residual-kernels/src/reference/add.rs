//! The sum of two arrays of the same shape: where a shortcut meets its branch (He et al. 2015, eq. 1).

use ndarray::{Array, ArrayView, Dimension};

use super::unless_same;
use crate::Result;

/// `y = a + b`, for any number of axes.
///
/// # Errors
/// If the shapes differ.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::add;
///
/// assert_eq!(add::forward(array![1.0, 2.0].view(), array![10.0, 20.0].view())?, array![11.0, 22.0]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward<D: Dimension>(a: ArrayView<'_, f64, D>, b: ArrayView<'_, f64, D>) -> Result<Array<f64, D>> {
    unless_same("add", ("a", a.shape()), ("b", b.shape()))?;
    let mut y = a.to_owned();
    for (y, &b) in y.iter_mut().zip(&b) {
        *y += b;
    }
    Ok(y)
}

/// `da = dy` and `db = dy`: a sum hands its gradient on to both operands. This is why gradients pass
/// through any number of shortcuts (He et al. 2016, *Identity Mappings*, eq. 5).
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::add;
///
/// let (da, db) = add::backward(array![5.0, 7.0].view());
/// assert_eq!((da, db), (array![5.0, 7.0], array![5.0, 7.0]));
/// ```
pub fn backward<D: Dimension>(dy: ArrayView<'_, f64, D>) -> (Array<f64, D>, Array<f64, D>) {
    (dy.to_owned(), dy.to_owned())
}
