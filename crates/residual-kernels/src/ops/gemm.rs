//! The product of two matrices: the one place that knows which library multiplies them.
//!
//! `matrixmultiply` chooses its instruction set when it runs and packs both operands into
//! panels, whatever their strides. Its own threads stay off; the result is divided among threads
//! here, in blocks of a fixed size: of rows, or of columns where there are few rows. A small result
//! of long sums is computed in parts, which are added up in their order.
//!
//! Not here: convolution, which brings its own blocking and calls [`gemm_on_this_thread`].

use residual_macros::compiled_here;
use residual_tensor::{Buffer, Float, PerFloat, Shape};

use crate::{
    KernelError, Result,
    engine::{
        parallel::{add_assign, for_each_task, try_for_each_chunk},
        shared::Shared,
    },
};

/// Rows of the result that a task computes at least, ...
const ROWS: usize = 64;
/// ... or columns, where there are no more rows than these.
const COLUMNS: usize = 128;
/// Multiply-adds of a task at least, unless there are no more.
const TASK: usize = 1 << 15;
/// Products in each sum of a part, where neither rows nor columns are enough for two tasks.
const TERMS: usize = 2048;
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

    /// `count` columns from column `first` on; there are that many.
    fn column_block(self, first: usize, count: usize) -> Self {
        self.transposed().row_block(first, count).transposed()
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
#[compiled_here]
pub(crate) fn gemm<T: Float>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: MatrixMut<'_, T>,
) -> Result<()> {
    check_sizes(&a, &b, &c)?;
    let [rows, columns, terms] = [c.rows, c.columns, a.columns];
    if rows * columns * terms < SERIAL {
        multiply(alpha, a, b, beta, c);
    } else if rows > ROWS || columns > COLUMNS {
        multiply_in_blocks(alpha, a, b, beta, c);
    } else if terms >= 2 * TERMS {
        multiply_in_parts(alpha, a, b, beta, c)?;
    } else {
        multiply(alpha, a, b, beta, c);
    }
    Ok(())
}

/// A block of rows, or of columns, for each task.
fn multiply_in_blocks<T: Float>(alpha: T, a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, c: MatrixMut<'_, T>) {
    let MatrixMut { data, rows, columns, row_stride } = c;
    let by_rows = rows > ROWS;
    // More of them where sums are so short that a task would be over at once.
    let enough = |least: usize, work: usize| (TASK / work).next_multiple_of(least).max(least);
    let [height, width] = match by_rows {
        true => [enough(ROWS, columns * a.columns), columns],
        false => [rows, enough(COLUMNS, rows * a.columns)],
    };
    let shared = Shared::new(data);
    for_each_task(rows.div_ceil(height) * columns.div_ceil(width), |task| {
        let [row, column] = if by_rows { [task * height, 0] } else { [0, task * width] };
        let (rows, columns) = (height.min(rows - row), width.min(columns - column));
        let (a, b) = (a.row_block(row, rows), b.column_block(column, columns));
        // SAFETY: the block lies within C, and no other task has its elements.
        unsafe { product(alpha, a, b, beta, shared.at(row * row_stride + column), row_stride) };
    });
}

/// Some of the products of all sums for each task, added up in their order.
///
/// # Errors
/// If there is no memory for the parts.
fn multiply_in_parts<T: Float>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: MatrixMut<'_, T>,
) -> Result<()> {
    let MatrixMut { data, rows, columns, row_stride } = c;
    let (terms, size) = (a.columns, rows * columns);
    let mut parts = Buffer::try_unfilled(size * terms.div_ceil(TERMS))?;
    try_for_each_chunk(&mut parts, size, |part, sums| {
        let first = part * TERMS;
        let terms = TERMS.min(terms - first);
        let (a, b) = (a.column_block(first, terms), b.row_block(first, terms));
        multiply(alpha, a, b, T::zero(), MatrixMut { data: sums, rows, columns, row_stride: columns });
        Ok(())
    })?;
    let (sums, others) = parts.split_at_mut(size);
    others.chunks_exact(size).for_each(|part| add_assign(sums, part));
    for (c, sums) in data.chunks_mut(row_stride.max(columns)).zip(sums.chunks_exact(columns)) {
        for (c, &sum) in c.iter_mut().zip(sums) {
            *c = if beta == T::zero() { sum } else { beta * *c + sum };
        }
    }
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
    debug_assert!(c.rows == a.rows && c.columns == b.columns);
    // SAFETY: `MatrixMut` was built with every element within its slice (`check_extent`), which is
    // borrowed mutably, and rows that do not overlap.
    unsafe { product(alpha, a, b, beta, c.data.as_mut_ptr(), c.row_stride) };
}

/// The product itself, written to where the elements of a row lie next to each other.
///
/// # Safety
/// There must be room at `c` for as many rows as A has and as many columns as B has, with rows
/// `row_stride` apart that do not overlap each other; nothing else may access them.
unsafe fn product<T: Float>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: *mut T,
    row_stride: usize,
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    debug_assert_eq!(b.rows, k);
    // Strides fit: they lie within slices, or belong to matrices of one row or none.
    let [rsa, csa, rsb, csb, rsc] =
        [a.row_stride, a.column_stride, b.row_stride, b.column_stride, row_stride].map(|s| s as isize);
    let (pa, pb) = (a.data.as_ptr(), b.data.as_ptr());
    // SAFETY: `Matrix` was built with every element within its slice (`check_extent`; `row_block`,
    // `column_block` and `transposed` keep that), the sizes agree, and what is written overlaps neither
    // A nor B, which are borrowed. The rest is passed on to the caller.
    unsafe { T::pick(Library)(m, k, n, alpha, pa, rsa, csa, pb, rsb, csb, beta, c, rsc, 1) };
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
        for (m, k, n) in [
            (1, 1, 1),
            (5, 3, 4),
            (200, 40, 70),
            (130, 300, 17),
            (3, 0, 2),
            (33, 50, 700),
            (7, 5000, 9),
            (4000, 3, 30),
        ] {
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
