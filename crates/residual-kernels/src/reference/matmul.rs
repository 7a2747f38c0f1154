//! The product of two matrices (*Deep Learning*, eq. 2.5).

use ndarray::{Array2, ArrayView2};

use super::unless_same;
use residual_tensor::Shape;

use crate::{KernelError, Result};

/// `y[i, j] = Σ k  a[i, k] · b[k, j]`
///
/// # Shapes
/// `a [m, k]`, `b [k, n]` → `[m, n]`.
///
/// # Errors
/// If the shapes do not fit.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::matmul;
///
/// let y = matmul::forward(array![[1.0, 2.0]].view(), array![[3.0, 5.0], [4.0, 6.0]].view())?;
/// assert_eq!(y, array![[1.0 * 3.0 + 2.0 * 4.0, 1.0 * 5.0 + 2.0 * 6.0]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let ((rows, inner), (b_rows, columns)) = (a.dim(), b.dim());
    if inner != b_rows {
        let (a, b) = (("a", &Shape::new(a.shape())?), ("b", &Shape::new(b.shape())?));
        return Err(KernelError::mismatch("matmul", a, b, "a must have as many columns as b has rows"));
    }
    let mut y = Array2::zeros([rows, columns]);
    for i in 0..rows {
        for j in 0..columns {
            for k in 0..inner {
                y[[i, j]] += a[[i, k]] * b[[k, j]];
            }
        }
    }
    Ok(y)
}

/// The gradients with respect to a and b: `da = dy · bᵀ` and `db = aᵀ · dy` (*Deep Learning*,
/// section 6.5.6).
///
/// # Shapes
/// `a [m, k]`, `b [k, n]`, `dy [m, n]` → `[m, k]`, `[k, n]`.
///
/// # Errors
/// If the shapes do not fit.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::matmul;
///
/// let (a, b) = (array![[1.0, 2.0]], array![[3.0, 5.0], [4.0, 6.0]]);
/// let (da, db) = matmul::backward(a.view(), b.view(), array![[10.0, 100.0]].view())?;
/// assert_eq!(da, array![[10.0 * 3.0 + 100.0 * 5.0, 10.0 * 4.0 + 100.0 * 6.0]]);
/// assert_eq!(db, array![[1.0 * 10.0, 1.0 * 100.0], [2.0 * 10.0, 2.0 * 100.0]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward(
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    dy: ArrayView2<'_, f64>,
) -> Result<(Array2<f64>, Array2<f64>)> {
    let ((rows, inner), (b_rows, columns)) = (a.dim(), b.dim());
    unless_same("matmul backward", ("dy", dy.shape()), ("the output", &[rows, columns]))?;
    unless_same("matmul backward", ("a's columns", &[inner]), ("b's rows", &[b_rows]))?;
    let (mut da, mut db) = (Array2::zeros(a.dim()), Array2::zeros(b.dim()));
    for i in 0..rows {
        for j in 0..columns {
            for k in 0..inner {
                da[[i, k]] += dy[[i, j]] * b[[k, j]];
                db[[k, j]] += dy[[i, j]] * a[[i, k]];
            }
        }
    }
    Ok((da, db))
}
