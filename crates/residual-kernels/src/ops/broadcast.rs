//! Two tensors of different shapes, element by element, by the rule of NumPy and PyTorch: axes are
//! matched from the last; they are equal, or one of them is 1 or missing and repeats. The gradient
//! of what was repeated is a sum.
//!
//! Not here: what is done with two elements, which is in [`elementwise`](crate::ops::elementwise).

use std::ops::Range;

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorView};

use crate::{
    KernelError, Result,
    engine::{
        isa::{InstructionSet, Loop, vectorized},
        parallel::{CHUNK, for_each_run, zip_map},
    },
    ops::reduce,
};

/// The shape of an element-by-element operation on tensors of shapes `a` and `b`.
///
/// # Errors
/// [`KernelError::ShapeMismatch`] naming `operation` if an axis differs and is 1 in neither.
pub fn shape(operation: &'static str, a: &Shape, b: &Shape) -> Result<Shape> {
    let rank = a.rank().max(b.rank());
    let axis = |shape: &Shape, i: usize| (i + shape.rank()).checked_sub(rank).map_or(1, |i| shape[i]);
    let axes = (0..rank).map(|i| match (axis(a, i), axis(b, i)) {
        (1, n) | (n, 1) => Some(n),
        (n, m) => (n == m).then_some(n),
    });
    let axes: Option<Vec<usize>> = axes.collect();
    let rule = "axes, counted from the last, must be equal, or one of them 1";
    let axes = axes.ok_or_else(|| KernelError::mismatch(operation, ("a", a), ("b", b), rule))?;
    Ok(Shape::new(axes)?)
}

/// `f(a, b)` for each pair of elements, where what is too small repeats.
///
/// # Errors
/// As [`shape`].
pub(crate) fn zip<T: Float>(
    operation: &'static str,
    a: TensorView<'_, T>,
    b: TensorView<'_, T>,
    f: impl Fn(T, T) -> T + Sync,
) -> Result<Tensor<T>> {
    if a.shape() == b.shape() {
        return zip_map(&a, b, f);
    }
    let shape = shape(operation, a.shape(), b.shape())?;
    let last = shape.rank() == 4 && [&a, &b].iter().any(|x| x.layout() == Layout::ChannelsLast);
    run(&shape, if last { Layout::ChannelsLast } else { Layout::Contiguous }, a, b, f)
}

/// `x` repeated to a larger shape, into which it fits; in the given layout if there are four axes. A
/// tensor that is handed over by value and has that shape already comes back as it is.
///
/// # Errors
/// If it does not fit.
#[compiled_here]
pub fn expand<'a, T: Float>(x: impl IntoView<'a, T>, to: &[usize], layout: Layout) -> Result<Tensor<T>> {
    let (x, to) = (x.into_view()?, &Shape::new(to)?);
    if x.shape() == to {
        return Ok(x.into_tensor()?);
    }
    if shape("expand", x.shape(), to)? != *to {
        let rule = "the axes of x must be those of the shape, or 1, or missing in front";
        return Err(KernelError::mismatch("expand", ("x", x.shape()), ("the shape", to), rule));
    }
    let layout = if to.rank() == 4 { layout } else { Layout::Contiguous };
    run(to, layout, (&x).into_view()?, (&x).into_view()?, |x, _| x)
}

/// The gradient with respect to an operand of the given shape, which was repeated: the sum of `dy`
/// over the axes along which it was. A tensor that is handed over by value and has that shape already
/// comes back as it is.
///
/// # Errors
/// If such a shape does not repeat to that of `dy`.
#[compiled_here]
pub fn reduce_to<'a, T: Float>(dy: impl IntoView<'a, T>, to: &[usize]) -> Result<Tensor<T>> {
    let (dy, to) = (dy.into_view()?, &Shape::new(to)?);
    if dy.shape() == to {
        return Ok(dy.into_tensor()?);
    }
    if shape("broadcast backward", dy.shape(), to)? != *dy.shape() {
        let rule = "the axes of x must be those of dy, or 1, or missing in front";
        return Err(KernelError::mismatch("broadcast backward", ("x", to), ("dy", dy.shape()), rule));
    }
    let missing = dy.shape().rank() - to.rank();
    let repeated = |&axis: &usize| axis < missing || to[axis - missing] != dy.shape()[axis];
    let axes: Vec<usize> = (0..dy.shape().rank()).filter(repeated).collect();
    Ok(reduce::sum(dy, reduce::Axes::from(axes).kept())?.reshape(to)?)
}

/// `f(a, b)` in the given shape and layout, to which both repeat.
fn run<T: Float>(
    shape: &Shape,
    layout: Layout,
    a: TensorView<'_, T>,
    b: TensorView<'_, T>,
    f: impl Fn(T, T) -> T + Sync,
) -> Result<Tensor<T>> {
    // Of equal layouts, the innermost axis is adjacent in both, which is the fast way.
    let a = if a.shape().rank() == 4 { a.into_layout(layout)? } else { a };
    let b = if b.shape().rank() == 4 { b.into_layout(layout)? } else { b };
    let (walk, set) = (Walk::new(shape, layout, [&a, &b])?, InstructionSet::active()?);
    let mut y = Tensor::try_unfilled(shape, layout)?;
    let (a, b) = (a.as_slice(), b.as_slice());
    for_each_run(y.as_mut_slice(), CHUNK, |run, y| {
        vectorized(set, Rows { walk: &walk, run, y, a, b, f: &f });
    });
    Ok(y)
}

/// How two operands are read while a result is written in the order of its memory. Computed once;
/// neighbouring axes are merged where both operands allow it, so that few and long ones are left.
struct Walk {
    /// Outermost first; the last is the row.
    sizes: Vec<usize>,
    /// For each axis how far apart its neighbours lie in either operand: 0 where it repeats.
    strides: Vec<[usize; 2]>,
}

impl Walk {
    fn new<T: Float>(shape: &Shape, layout: Layout, operands: [&TensorView<'_, T>; 2]) -> Result<Self> {
        let rank = shape.rank();
        let strides = |x: &TensorView<'_, T>| -> Result<Vec<usize>> {
            let missing = rank - x.shape().rank();
            let strides = x.layout().strides(x.shape())?;
            let stride = |axis: usize| match axis.checked_sub(missing) {
                Some(axis) if x.shape()[axis] != 1 => strides[axis],
                _ => 0,
            };
            Ok((0..rank).map(stride).collect())
        };
        let strides = [strides(operands[0])?, strides(operands[1])?];
        let mut walk = Self { sizes: vec![], strides: vec![] };
        for axis in stored_axes(layout, rank).into_iter().filter(|&axis| shape[axis] != 1) {
            let (size, stride) = (shape[axis], [strides[0][axis], strides[1][axis]]);
            match (walk.sizes.last_mut(), walk.strides.last_mut()) {
                (Some(outer), Some(last)) if *last == stride.map(|stride| stride * size) => {
                    (*outer, *last) = (*outer * size, stride);
                }
                _ => {
                    walk.sizes.push(size);
                    walk.strides.push(stride);
                }
            }
        }
        if walk.sizes.is_empty() {
            (walk.sizes, walk.strides) = (vec![1], vec![[0, 0]]);
        }
        Ok(walk)
    }
}

/// The axes of a shape in the order in which memory holds them.
pub(crate) fn stored_axes(layout: Layout, rank: usize) -> Vec<usize> {
    match layout {
        Layout::Contiguous => (0..rank).collect(),
        Layout::ChannelsLast => vec![0, 2, 3, 1],
    }
}

/// The elements `run` of a result, which may begin and end inside a row.
struct Rows<'a, T, F> {
    walk: &'a Walk,
    run: Range<usize>,
    y: &'a mut [T],
    a: &'a [T],
    b: &'a [T],
    f: &'a F,
}

impl<T: Float, F: Fn(T, T) -> T> Loop for Rows<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { walk: Walk { sizes, strides }, run, mut y, a, b, f } = self;
        let row = sizes.len() - 1;
        let [step_a, step_b] = strides[row];
        // Where the run begins: an index per axis, and the place of the row in either operand.
        let mut index = vec![0; row + 1];
        let mut rest = run.start;
        for axis in (0..=row).rev() {
            (rest, index[axis]) = (rest / sizes[axis], rest % sizes[axis]);
        }
        let place = |operand: usize| (0..row).map(|axis| index[axis] * strides[axis][operand]).sum::<usize>();
        let [mut at_a, mut at_b] = [place(0), place(1)];
        while !y.is_empty() {
            let first = index[row];
            let (now, later) = y.split_at_mut(y.len().min(sizes[row] - first));
            let (from_a, from_b) = (&a[at_a + first * step_a..], &b[at_b + first * step_b..]);
            match (step_a, step_b) {
                (1, 1) => {
                    let pairs = now.iter_mut().zip(from_a.iter().zip(from_b));
                    pairs.for_each(|(y, (&a, &b))| *y = f(a, b));
                }
                (1, 0) => {
                    let b = from_b[0];
                    now.iter_mut().zip(from_a).for_each(|(y, &a)| *y = f(a, b));
                }
                (0, 1) => {
                    let a = from_a[0];
                    now.iter_mut().zip(from_b).for_each(|(y, &b)| *y = f(a, b));
                }
                (0, 0) => now.fill(f(from_a[0], from_b[0])),
                _ => {
                    let pairs = now.iter_mut().enumerate();
                    pairs.for_each(|(i, y)| *y = f(from_a[i * step_a], from_b[i * step_b]));
                }
            }
            y = later;
            index[row] = 0;
            for axis in (0..row).rev() {
                index[axis] += 1;
                (at_a, at_b) = (at_a + strides[axis][0], at_b + strides[axis][1]);
                if index[axis] < sizes[axis] {
                    break;
                }
                index[axis] = 0;
                (at_a, at_b) = (at_a - sizes[axis] * strides[axis][0], at_b - sizes[axis] * strides[axis][1]);
            }
        }
    }
}
