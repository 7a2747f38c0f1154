//! The product of two matrices: the one place that knows which library multiplies them.
//!
//! `matrixmultiply` chooses its instruction set when it runs and packs both operands into
//! panels, whatever their strides. Its own threads stay off; rows of the result are divided
//! among threads here, in blocks of a fixed size.
//!
//! Not here: convolution, which brings its own blocking and calls [`gemm_on_this_thread`].

use residual_tensor::{Float, PerFloat, Shape};

use crate::{KernelError, Result, engine::parallel::for_each_chunk};

/// Rows of the result that one task computes.
const ROWS: usize = 64;
/// Fewer multiply-adds than this are not worth waking a thread for.
const SERIAL: usize = 1 << 18;

/// A matrix to read: a slice with a row stride and a column stride.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T: Float> Matrix<'a, T> {
    /// The `rows` × `columns` matrix whose rows begin `row_stride` elements apart.
    ///
    /// # Errors
    /// If the slice is too short for it.
    pub(crate) fn new(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Result<Self> {
        check_extent(data.len(), rows, columns, row_stride)?;
        Ok(Self { data, rows, columns, row_stride, column_stride: 1 })
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// `count` rows from row `first` on; there are that many.
    fn row_block(self, first: usize, count: usize) -> Self {
        debug_assert!(first + count <= self.rows);
        Self { data: &self.data[first * self.row_stride..], rows: count, ..self }
    }
}

/// A matrix to write: like [`Matrix`], with elements of a row next to each other.
#[derive(Debug)]
pub(crate) struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a, T: Float> MatrixMut<'a, T> {
    /// The `rows` × `columns` matrix whose rows begin `row_stride` elements apart.
    ///
    /// # Errors
    /// If the slice is too short for it, or the rows overlap.
    pub(crate) fn new(data: &'a mut [T], rows: usize, columns: usize, row_stride: usize) -> Result<Self> {
        check_extent(data.len(), rows, columns, row_stride)?;
        if rows > 1 && row_stride < columns {
            return Err(KernelError::MatrixOutOfBounds { rows, columns, row_stride, elements: data.len() });
        }
        Ok(Self { data, rows, columns, row_stride })
    }
}

/// An error unless element `[rows − 1, columns − 1]` lies within `elements`.
fn check_extent(elements: usize, rows: usize, columns: usize, row_stride: usize) -> Result<()> {
    let needed = match (rows, columns) {
        (0, _) | (_, 0) => Some(0),
        _ => (rows - 1).checked_mul(row_stride).and_then(|last| last.checked_add(columns)),
    };
    match needed {
        Some(needed) if needed <= elements => Ok(()),
        _ => Err(KernelError::MatrixOutOfBounds { rows, columns, row_stride, elements }),
    }
}

/// `C = α·A·B + β·C`, with C `[m, n]`, A `[m, k]`, B `[k, n]`, on all threads.
///
/// If β is zero, what C held before is not read.
///
/// # Errors
/// If the sizes do not fit.
pub(crate) fn gemm<T: Float>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: MatrixMut<'_, T>,
) -> Result<()> {
    check_sizes(&a, &b, &c)?;
    let MatrixMut { data, rows, columns, row_stride } = c;
    if rows <= ROWS || rows * columns * a.columns < SERIAL {
        multiply(alpha, a, b, beta, MatrixMut { data, rows, columns, row_stride });
        return Ok(());
    }
    let used = (rows - 1) * row_stride + columns;
    for_each_chunk(&mut data[..used], ROWS * row_stride, |block, data| {
        let first = block * ROWS;
        let rows = ROWS.min(rows - first);
        multiply(alpha, a.row_block(first, rows), b, beta, MatrixMut { data, rows, columns, row_stride });
    });
    Ok(())
}

/// [`gemm`] on the calling thread, for kernels that have divided their work already.
///
/// # Errors
/// If the sizes do not fit.
pub(crate) fn gemm_on_this_thread<T: Float>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: MatrixMut<'_, T>,
) -> Result<()> {
    check_sizes(&a, &b, &c)?;
    multiply(alpha, a, b, beta, c);
    Ok(())
}

fn check_sizes<T: Float>(a: &Matrix<'_, T>, b: &Matrix<'_, T>, c: &MatrixMut<'_, T>) -> Result<()> {
    let mismatch = |left: (_, [usize; 2]), right: (_, [usize; 2]), rule| {
        let (left_shape, right_shape) = (Shape::new(left.1)?, Shape::new(right.1)?);
        Err(KernelError::mismatch("gemm", (left.0, &left_shape), (right.0, &right_shape), rule))
    };
    let (a_size, b_size) = ([a.rows, a.columns], [b.rows, b.columns]);
    if a.columns != b.rows {
        return mismatch(("A", a_size), ("B", b_size), "A must have as many columns as B has rows");
    }
    if [c.rows, c.columns] != [a.rows, b.columns] {
        let size = ([c.rows, c.columns], [a.rows, b.columns]);
        return mismatch(("C", size.0), ("A·B", size.1), "both must have the same shape");
    }
    Ok(())
}

/// The product itself. The sizes have been checked against each other.
fn multiply<T: Float>(alpha: T, a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, c: MatrixMut<'_, T>) {
    let (m, k, n) = (c.rows, a.columns, c.columns);
    debug_assert!(a.rows == m && b.rows == k && b.columns == n);
    // Strides fit: they lie within slices, or belong to matrices of one row or none.
    let [rsa, csa, rsb, csb, rsc] =
        [a.row_stride, a.column_stride, b.row_stride, b.column_stride, c.row_stride].map(|s| s as isize);
    let (pa, pb, pc) = (a.data.as_ptr(), b.data.as_ptr(), c.data.as_mut_ptr());

    // SAFETY: `Matrix` and `MatrixMut` were built with every element within their slices
    // (`check_extent`; `row_block` and `transposed` keep that), the sizes agree, rows of C do not
    // overlap each other, and C is borrowed mutably, so overlaps neither A nor B.
    unsafe { T::pick(Library)(m, k, n, alpha, pa, rsa, csa, pb, rsb, csb, beta, pc, rsc, 1) };
}

/// The library's function for each type of numbers.
struct Library;

impl PerFloat for Library {
    #[rustfmt::skip]
    type For<T: Float> = unsafe fn(
        usize, usize, usize,
        T, *const T, isize, isize,
        *const T, isize, isize,
        T, *mut T, isize, isize,
    );

    fn f32(self) -> Self::For<f32> {
        matrixmultiply::sgemm
    }

    fn f64(self) -> Self::For<f64> {
        matrixmultiply::dgemm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use residual_tensor::Generator;

    /// The definition, for any strides.
    fn expected(a: Matrix<'_, f64>, b: Matrix<'_, f64>, i: usize, j: usize) -> f64 {
        let at = |m: &Matrix<'_, f64>, i: usize, j: usize| m.data[i * m.row_stride + j * m.column_stride];
        (0..a.columns).map(|p| at(&a, i, p) * at(&b, p, j)).sum()
    }

    #[test]
    fn equals_its_definition_for_strides_and_transposes() {
        let mut generator = Generator::new(7);
        for (m, k, n) in [(1, 1, 1), (5, 3, 4), (200, 40, 70), (130, 300, 17), (3, 0, 2)] {
            for (pad, a_transposed, b_transposed) in [(0, false, false), (3, true, false), (2, false, true)] {
                let mut random =
                    |len: usize| -> Vec<f64> { (0..len).map(|_| generator.between(-1.0, 1.0)).collect() };
                let (a_rows, a_columns) = if a_transposed { (k, m) } else { (m, k) };
                let (b_rows, b_columns) = if b_transposed { (n, k) } else { (k, n) };
                let a = random(a_rows * (a_columns + pad));
                let b = random(b_rows * (b_columns + pad));
                let mut a = Matrix::new(&a, a_rows, a_columns, a_columns + pad).unwrap();
                let mut b = Matrix::new(&b, b_rows, b_columns, b_columns + pad).unwrap();
                if a_transposed {
                    a = a.transposed();
                }
                if b_transposed {
                    b = b.transposed();
                }
                let before = random(m * (n + pad));
                let mut c = before.clone();
                gemm(2.0, a, b, 0.5, MatrixMut::new(&mut c, m, n, n + pad).unwrap()).unwrap();
                for (i, row) in c.chunks_exact(n + pad).enumerate() {
                    for (j, &value) in row.iter().enumerate() {
                        let old = before[i * (n + pad) + j];
                        let want = if j < n { 2.0 * expected(a, b, i, j) + 0.5 * old } else { old };
                        assert!((value - want).abs() < 1e-12 * (k as f64 + 1.0), "[{i}, {j}] {value} {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_beta_of_zero_does_not_read() {
        let mut c = [f32::NAN; 4];
        let a = [1.0, 2.0];
        let (column, row) = (Matrix::new(&a, 2, 1, 1).unwrap(), Matrix::new(&a, 1, 2, 2).unwrap());
        gemm(1.0, column, row, 0.0, MatrixMut::new(&mut c, 2, 2, 2).unwrap()).unwrap();
        assert_eq!(c, [1.0, 2.0, 2.0, 4.0]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let a = [0.0f32; 6];
        let mut c = [0.0f32; 6];
        assert_eq!(
            Matrix::new(&a, 2, 4, 4).unwrap_err().to_string(),
            "gemm: a 2 × 4 matrix with rows 4 apart does not fit a slice of 6 elements"
        );
        assert!(Matrix::new(&a, 2, 3, usize::MAX).is_err());
        assert!(MatrixMut::new(&mut c, 2, 3, 2).is_err());
        let a = Matrix::new(&a, 2, 3, 3).unwrap();
        assert_eq!(
            gemm(1.0, a, a, 0.0, MatrixMut::new(&mut c, 2, 3, 3).unwrap()).unwrap_err().to_string(),
            "gemm: A [2, 3] does not fit B [2, 3]: A must have as many columns as B has rows"
        );
        assert_eq!(
            gemm(1.0, a, a.transposed(), 0.0, MatrixMut::new(&mut c, 2, 3, 3).unwrap())
                .unwrap_err()
                .to_string(),
            "gemm: C [2, 3] does not fit A·B [2, 2]: both must have the same shape"
        );
    }
}
