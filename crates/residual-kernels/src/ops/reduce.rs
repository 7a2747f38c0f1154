//! Sum, mean and largest value over axes, each gradient under its forward pass.
//!
//! Long sums are taken in pieces whose size depends on the shape alone, and pieces are summed in
//! order: the same bits for any number of threads, and rounding errors that grow with the logarithm
//! of the length rather than with the length.

use std::ops::RangeFull;

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorView};

use crate::{
    KernelError, Result,
    engine::{
        isa::{InstructionSet, Loop, vectorized},
        parallel::{CHUNK, map, try_for_each_chunk, zip_map},
    },
    ops::broadcast::{expand, stored_axes, zip},
};

/// The axes that a reduction goes over: `..` for all, `1`, or `[0, 2]`.
///
/// They are left out of the result, or [`kept`](Self::kept) with length 1.
///
/// ```
/// use residual_kernels::reduce::{Axes, sum};
/// use residual_tensor::Tensor;
///
/// let x = Tensor::<f32>::full([2, 3], 1.0);
/// assert_eq!(**sum(&x, ..)?.shape(), []);
/// assert_eq!(**sum(&x, 1)?.shape(), [2]);
/// assert_eq!(**sum(&x, Axes::from([0]).kept())?.shape(), [1, 3]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes {
    /// None for all.
    chosen: Option<Vec<usize>>,
    kept: bool,
}

impl Axes {
    /// These axes, which stay in the result with length 1.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { kept: true, ..self }
    }
}

impl From<RangeFull> for Axes {
    fn from(_: RangeFull) -> Self {
        Self { chosen: None, kept: false }
    }
}

impl From<Vec<usize>> for Axes {
    fn from(axes: Vec<usize>) -> Self {
        Self { chosen: Some(axes), kept: false }
    }
}

impl From<&[usize]> for Axes {
    fn from(axes: &[usize]) -> Self {
        axes.to_vec().into()
    }
}

impl<const N: usize> From<[usize; N]> for Axes {
    fn from(axes: [usize; N]) -> Self {
        axes.to_vec().into()
    }
}

impl From<usize> for Axes {
    fn from(axis: usize) -> Self {
        vec![axis].into()
    }
}

/// The shapes of a reduction, worked out once from that of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduction {
    /// For each axis of the input, whether it is reduced.
    reduced: Vec<bool>,
    /// The input's shape with 1 for reduced axes.
    kept: Shape,
    output: Shape,
    /// How many values make one.
    count: usize,
}

impl Reduction {
    /// Of an input of shape `x`.
    ///
    /// # Errors
    /// [`KernelError::Axes`] naming `operation` if an axis is not there, or named twice.
    pub fn new(operation: &'static str, x: &[usize], axes: impl Into<Axes>) -> Result<Self> {
        let x = Shape::new(x)?;
        let Axes { chosen, kept } = axes.into();
        let chosen = chosen.unwrap_or_else(|| (0..x.rank()).collect());
        let mut reduced = vec![false; x.rank()];
        for &axis in &chosen {
            if axis >= x.rank() || reduced[axis] {
                return Err(KernelError::Axes { operation, axes: chosen, shape: x });
            }
            reduced[axis] = true;
        }
        let ones: Vec<usize> =
            x.iter().zip(&reduced).map(|(&n, &reduced)| if reduced { 1 } else { n }).collect();
        let left = x.iter().zip(&reduced).filter(|&(_, &reduced)| !reduced).map(|(&n, _)| n);
        let output = Shape::new(if kept { ones.clone() } else { left.collect() })?;
        let count = chosen.iter().map(|&axis| x[axis]).product();
        Ok(Self { reduced, kept: Shape::new(ones)?, output, count })
    }

    /// The result's shape.
    pub fn output(&self) -> &Shape {
        &self.output
    }

    /// How many values make one.
    pub fn count(&self) -> usize {
        self.count
    }

    fn run<T: Float, F: Fold<T>>(&self, x: &TensorView<'_, T>, fold: F) -> Result<Tensor<T>> {
        let values = self.fold(x, fold)?;
        let y = match x.layout() {
            Layout::Contiguous => values,
            Layout::ChannelsLast => {
                let mut y = Tensor::try_unfilled(&self.kept, Layout::ChannelsLast)?;
                y.as_mut_slice().copy_from_slice(values.as_slice());
                y
            }
        };
        if *y.shape() == self.output { Ok(y) } else { Ok(y.reshape(&self.output)?) }
    }

    /// The results in the order of `x`'s memory.
    fn fold<T: Float, F: Fold<T>>(&self, x: &TensorView<'_, T>, fold: F) -> Result<Tensor<T>> {
        // Neighbouring axes that are both reduced, or both not, are one.
        let mut axes: Vec<(usize, bool)> = vec![];
        for axis in stored_axes(x.layout(), x.shape().rank()) {
            let (size, reduced) = (x.shape()[axis], self.reduced[axis]);
            match axes.last_mut() {
                Some(last) if last.1 == reduced => last.0 *= size,
                _ => axes.push((size, reduced)),
            }
        }
        let mut values = None;
        while let Some(axis) = axes.iter().rposition(|&(_, reduced)| reduced) {
            let size = |axes: &[(usize, bool)]| axes.iter().map(|&(size, _)| size).product::<usize>();
            let sizes = [size(&axes[..axis]), axes[axis].0, size(&axes[axis + 1..])];
            let source = values.as_ref().map_or_else(|| x.as_slice(), Tensor::as_slice);
            values = Some(fold_rows(source, sizes, fold)?);
            axes.remove(axis);
        }
        values.map_or_else(|| Ok(Tensor::from_slice([x.len()], x.as_slice())?), Ok)
    }
}

/// The sum over axes; 0 where there is nothing to add.
///
/// # Errors
/// If an axis is not there, or named twice.
pub fn sum<'a, T: Float>(x: impl IntoView<'a, T>, axes: impl Into<Axes>) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    let reduction = Reduction::new("sum", x.shape(), axes)?;
    sum_over(&reduction, x)
}

#[compiled_here]
fn sum_over<T: Float>(reduction: &Reduction, x: TensorView<'_, T>) -> Result<Tensor<T>> {
    reduction.run(&x, Sum)
}

/// The gradient of [`sum`] with respect to its input, of shape `x`: `dy`, repeated.
///
/// # Errors
/// If `dy` does not have the shape of the result.
pub fn sum_backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    reduction: &Reduction,
    x: &[usize],
    layout: Layout,
) -> Result<Tensor<T>> {
    let dy = dy.into_view()?;
    KernelError::unless_same("sum backward", ("dy", dy.shape()), ("the output", &reduction.output))?;
    expand(dy.into_reshaped(&reduction.kept)?, x, layout)
}

/// The mean over axes; NaN where there is nothing to average.
///
/// # Errors
/// As [`sum`].
pub fn mean<'a, T: Float>(x: impl IntoView<'a, T>, axes: impl Into<Axes>) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    let reduction = Reduction::new("mean", x.shape(), axes)?;
    mean_over(&reduction, x)
}

#[compiled_here]
fn mean_over<T: Float>(reduction: &Reduction, x: TensorView<'_, T>) -> Result<Tensor<T>> {
    let count = T::of(reduction.count as f64);
    map(&(&reduction.run(&x, Sum)?).into(), |sum| sum / count)
}

/// The gradient of [`mean`] with respect to its input, of shape `x`: an equal share of `dy`.
///
/// # Errors
/// As [`sum_backward`].
#[compiled_here]
pub fn mean_backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    reduction: &Reduction,
    x: &[usize],
    layout: Layout,
) -> Result<Tensor<T>> {
    let count = T::of(reduction.count as f64);
    sum_backward(map(&dy.into_view()?, |dy| dy / count)?, reduction, x, layout)
}

/// The largest value over axes; NaN where one of them is NaN.
///
/// # Errors
/// As [`sum`], and if there is nothing to compare.
pub fn max<'a, T: Float>(x: impl IntoView<'a, T>, axes: impl Into<Axes>) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    let reduction = Reduction::new("max", x.shape(), axes)?;
    if reduction.count == 0 {
        let (operation, shape) = ("max", x.shape().clone());
        return Err(KernelError::TooFewValues { operation, shape, count: 0, needed: 1 });
    }
    max_over(&reduction, x)
}

#[compiled_here]
fn max_over<T: Float>(reduction: &Reduction, x: TensorView<'_, T>) -> Result<Tensor<T>> {
    reduction.run(&x, Largest)
}

/// The gradient of [`max`] with respect to its input: `dy`, shared evenly by all that are largest,
/// as in PyTorch's `amax`.
///
/// # Errors
/// If the shapes do not fit.
#[compiled_here]
pub fn max_backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    x: impl IntoView<'a, T>,
    y: impl IntoView<'a, T>,
    reduction: &Reduction,
) -> Result<Tensor<T>> {
    let (dy, x, y) = (dy.into_view()?, x.into_view()?, y.into_view()?);
    KernelError::unless_same("max backward", ("dy", dy.shape()), ("y", y.shape()))?;
    KernelError::unless_same("max backward", ("dy", dy.shape()), ("the output", &reduction.output))?;
    let is_largest = |x: T, y: T| if x == y { T::one() } else { T::zero() };
    let largest = zip("max backward", x, y.into_reshaped(&reduction.kept)?, is_largest)?;
    let count = reduction.run(&(&largest).into(), Sum)?;
    let share = zip_map(&dy, (&count).into(), |dy, count| dy / count)?.reshape(&reduction.kept)?;
    zip("max backward", (&largest).into(), (&share).into(), |largest, share| largest * share)
}

/// What makes one value of many.
pub(crate) trait Fold<T>: Copy + Sync {
    /// The value of nothing.
    fn start(self) -> T;
    fn join(self, a: T, b: T) -> T;
}

#[derive(Clone, Copy)]
pub(crate) struct Sum;

impl<T: Float> Fold<T> for Sum {
    #[inline(always)]
    fn start(self) -> T {
        T::zero()
    }

    #[inline(always)]
    fn join(self, a: T, b: T) -> T {
        a + b
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Largest;

impl<T: Float> Fold<T> for Largest {
    #[inline(always)]
    fn start(self) -> T {
        T::neg_infinity()
    }

    /// NaN stays NaN.
    #[inline(always)]
    fn join(self, a: T, b: T) -> T {
        if a >= b || a.is_nan() { a } else { b }
    }
}

/// `[outer, rows, columns]` to `[outer, columns]`.
fn fold_rows<T: Float, F: Fold<T>>(x: &[T], sizes: [usize; 3], fold: F) -> Result<Tensor<T>> {
    let [outer, rows, columns] = sizes;
    // So many rows are a piece; the pieces are folded in another turn.
    let piece = (CHUNK / columns.max(1)).max(BLOCK).min(rows.max(1));
    let pieces = rows.div_ceil(piece).max(1);
    let set = InstructionSet::active()?;
    let mut y = Tensor::try_unfilled([outer * pieces * columns], Layout::Contiguous)?;
    let per_task = (2 * CHUNK / piece).max(columns.min(COLUMNS));
    try_for_each_chunk(y.as_mut_slice(), per_task, |task, y| {
        vectorized(set, Piece { x, sizes, piece, pieces, first: task * per_task, y, fold });
        Ok(())
    })?;
    if pieces == 1 { Ok(y) } else { fold_rows(y.as_slice(), [outer, pieces, columns], fold) }
}

/// Rows that are folded one by one. A long sum is one of these, and so rounds less.
const BLOCK: usize = 64;
/// Columns that are folded side by side.
const COLUMNS: usize = 256;
/// Elements of a single row that are folded side by side.
const LANES: usize = 32;

/// Results that one task computes.
struct Piece<'a, T, F> {
    x: &'a [T],
    sizes: [usize; 3],
    piece: usize,
    pieces: usize,
    /// The first of the results among all, which are `[outer, pieces, columns]`.
    first: usize,
    y: &'a mut [T],
    fold: F,
}

impl<T: Float, F: Fold<T>> Loop for Piece<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { x, sizes: [_, rows, columns], piece, pieces, first, mut y, fold } = self;
        let mut at = first;
        while !y.is_empty() {
            let (part, column) = (at / columns, at % columns);
            let (outer, from) = (part / pieces, part % pieces * piece);
            let to = rows.min(from + piece);
            if columns == 1 {
                y[0] = fold_run(&x[outer * rows + from..outer * rows + to], fold);
                (at, y) = (at + 1, &mut y[1..]);
                continue;
            }
            let (now, later) = y.split_at_mut(y.len().min(columns - column).min(COLUMNS));
            now.fill(fold.start());
            let mut block = [fold.start(); COLUMNS];
            let block = &mut block[..now.len()];
            for start in (from..to).step_by(BLOCK) {
                block.fill(fold.start());
                for row in start..to.min(start + BLOCK) {
                    let values = &x[(outer * rows + row) * columns + column..][..block.len()];
                    block.iter_mut().zip(values).for_each(|(sum, &value)| *sum = fold.join(*sum, value));
                }
                now.iter_mut().zip(&*block).for_each(|(y, &value)| *y = fold.join(*y, value));
            }
            at += now.len();
            y = later;
        }
    }
}

/// One value of neighbours.
#[inline(always)]
pub(crate) fn fold_run<T: Float, F: Fold<T>>(x: &[T], fold: F) -> T {
    let mut lanes = [fold.start(); LANES];
    let (wide, rest) = x.as_chunks::<LANES>();
    for values in wide {
        for (lane, &value) in lanes.iter_mut().zip(values) {
            *lane = fold.join(*lane, value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = fold.join(*lane, value);
    }
    let mut width = LANES.min(x.len().next_power_of_two());
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] = fold.join(lanes[i], lanes[i + width]);
        }
    }
    lanes[0]
}
