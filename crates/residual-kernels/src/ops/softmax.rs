//! The softmax: from scores to probabilities, and their logarithms, each gradient under its forward
//! pass.
//!
//! The largest score is subtracted first, so that no exponential overflows. A row with a NaN or +∞ in
//! it, or of nothing but −∞, gives NaN, as in PyTorch.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Tensor, TensorView};

use crate::{
    KernelError, Result,
    engine::{
        isa::{InstructionSet, Loop, vectorized},
        parallel::{CHUNK, for_each_run},
    },
    ops::{
        broadcast::stored_axes,
        function::exp,
        reduce::{Largest, Sum, fold_run},
    },
};

/// `exp(logits) / Σ exp(logits)` over the classes of each row.
///
/// # Shapes
/// `logits [n, c]` → `[n, c]`.
///
/// # Errors
/// If there are not two axes.
pub fn forward<'a, T: Float>(logits: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    let logits = logits.into_view()?;
    let [_, _] = logits.dims("softmax")?;
    forward_along(logits, 1)
}

/// `exp(x) / Σ exp(x)` over one axis of any shape.
///
/// # Errors
/// If there is no such axis.
#[compiled_here]
pub fn forward_along<'a, T: Float>(x: impl IntoView<'a, T>, axis: usize) -> Result<Tensor<T>> {
    let x = &x.into_view()?;
    each_row("softmax", x, x, axis, |x, _, y| {
        let largest = fold_run(x, Largest);
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = exp(x - largest));
        let sum = fold_run(y, Sum);
        y.iter_mut().for_each(|y| *y /= sum);
    })
}

/// The gradient of [`forward_along`], `y · (dy − Σ dy·y)`.
///
/// # Errors
/// If the shapes differ, or there is no such axis.
#[compiled_here]
pub fn backward_along<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    y: impl IntoView<'a, T>,
    axis: usize,
) -> Result<Tensor<T>> {
    let (dy, y) = (&dy.into_view()?, &y.into_view()?);
    each_row("softmax backward", y, dy, axis, |y, dy, dx| {
        dx.iter_mut().zip(y.iter().zip(dy)).for_each(|(dx, (&y, &dy))| *dx = dy * y);
        let sum = fold_run(dx, Sum);
        dx.iter_mut().zip(y.iter().zip(dy)).for_each(|(dx, (&y, &dy))| *dx = y * (dy - sum));
    })
}

/// `x − ln Σ exp(x)` over one axis of any shape: the logarithm of [`forward_along`], also where that
/// is too small for a number.
///
/// # Errors
/// If there is no such axis.
#[compiled_here]
pub fn log_forward_along<'a, T: Float>(x: impl IntoView<'a, T>, axis: usize) -> Result<Tensor<T>> {
    let x = &x.into_view()?;
    each_row("log_softmax", x, x, axis, |x, _, y| {
        let largest = fold_run(x, Largest);
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = exp(x - largest));
        let log_sum = fold_run(y, Sum).ln();
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - largest) - log_sum);
    })
}

/// The gradient of [`log_forward_along`], `dy − exp(y) · Σ dy`.
///
/// # Errors
/// If the shapes differ, or there is no such axis.
#[compiled_here]
pub fn log_backward_along<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    y: impl IntoView<'a, T>,
    axis: usize,
) -> Result<Tensor<T>> {
    let (dy, y) = (&dy.into_view()?, &y.into_view()?);
    each_row("log_softmax backward", y, dy, axis, |y, dy, dx| {
        let sum = fold_run(dy, Sum);
        dx.iter_mut().zip(y.iter().zip(dy)).for_each(|(dx, (&y, &dy))| *dx = dy - exp(y) * sum);
    })
}

/// Runs `row` over the numbers along `axis` of `a` and `b`, which have the same shape. Those of
/// another axis than the innermost in memory are brought together first.
fn each_row<T: Float>(
    operation: &'static str,
    a: &TensorView<'_, T>,
    b: &TensorView<'_, T>,
    axis: usize,
    row: impl Fn(&[T], &[T], &mut [T]) + Sync,
) -> Result<Tensor<T>> {
    KernelError::unless_same(operation, ("dy", b.shape()), ("y", a.shape()))?;
    let rank = a.shape().rank();
    if axis >= rank {
        return Err(KernelError::Axes { operation, axes: vec![axis], shape: a.shape().clone() });
    }
    if stored_axes(a.layout(), rank).last() != Some(&axis) {
        let mut swapped: Vec<usize> = (0..rank).collect();
        swapped.swap(axis, rank - 1);
        let [a, b] = [a, b].map(|view| view.clone().into_tensor()?.permute(&swapped)?.into_view());
        return Ok(each_row(operation, &a?, &b?, rank - 1, row)?.permute(&swapped)?);
    }
    let (set, b) = (InstructionSet::active()?, b.clone().into_layout(a.layout())?);
    let mut to = Tensor::try_unfilled(a.shape(), a.layout())?;
    let (a, b, length) = (a.as_slice(), b.as_slice(), a.shape()[axis].max(1));
    for_each_run(to.as_mut_slice(), length * (CHUNK / length).max(1), |run, to| {
        vectorized(set, Rows { a: &a[run.clone()], b: &b[run], to, length, row: &row });
    });
    Ok(to)
}

/// A few rows of so many numbers each.
struct Rows<'a, T, F> {
    a: &'a [T],
    b: &'a [T],
    to: &'a mut [T],
    length: usize,
    row: &'a F,
}

impl<T: Float, F: Fn(&[T], &[T], &mut [T])> Loop for Rows<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let operands = self.a.chunks_exact(self.length).zip(self.b.chunks_exact(self.length));
        for (to, (a, b)) in self.to.chunks_exact_mut(self.length).zip(operands) {
            (self.row)(a, b, to);
        }
    }
}

/// `ln Σ exp(logits)`, in double precision.
pub(crate) fn log_sum_exp<T: Float>(logits: &[T]) -> f64 {
    let largest = fold_run(logits, Largest).to_f64();
    largest + logits.iter().map(|&logit| (logit.to_f64() - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let logits = Tensor::from_vec([1, 3], vec![1000.0f32, 1000.0 + 2f32.ln(), -1000.0]).unwrap();
        let probabilities = forward(&logits).unwrap().to_vec();
        for (probability, expected) in probabilities.iter().zip([1.0 / 3.0, 2.0 / 3.0, 0.0]) {
            assert!((probability - expected).abs() < 1e-4, "{probabilities:?}");
        }
        let expected = 1000.0 + 3f64.ln();
        assert!((log_sum_exp(logits.as_slice()) - expected).abs() < 1e-4);
    }
}
