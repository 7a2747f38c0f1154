//! Layer normalization (Ba, Kiros & Hinton 2016) over the channels: each position of each image has a mean and a
//! variance of its own, so that nothing depends on the batch. A row is what is normalized together; in
//! channels-last memory that is the channels of a pixel.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor};

use crate::{
    KernelError, Result,
    engine::{
        isa::{InstructionSet, Loop, vectorized},
        parallel::{CHUNK, collect_runs, for_each_run},
    },
    error::check_length,
    ops::reduce::{Sum, fold_run},
};

/// `γ · (x − mean) / √(variance + eps) + β`, with mean and biased variance over axis 1.
///
/// # Shapes
/// `x [n, c, h, w]` or `[n, c]`, `gamma [c]`, `beta [c]` → that of `x`.
///
/// # Errors
/// If `x` has other axes, or `gamma` or `beta` another length.
#[compiled_here]
pub fn forward<'a, T: Float>(
    x: impl IntoView<'a, T>,
    gamma: &Tensor<T>,
    beta: &Tensor<T>,
    eps: f64,
) -> Result<Tensor<T>> {
    let x = x.into_view()?;
    check("layer_norm", x.shape(), gamma, beta)?;
    let rows = layout(x.shape());
    let x = x.into_layout(rows)?;
    let mut y = Tensor::try_unfilled(x.shape(), x.layout())?;
    forward_into(x.as_slice(), y.as_mut_slice(), gamma.as_slice(), beta.as_slice(), eps)?;
    Ok(y)
}

/// [`forward`] between slices of rows of as many elements as `gamma` has.
///
/// # Errors
/// If the slices do not have the same number of whole rows.
#[compiled_here]
pub fn forward_into<T: Float>(x: &[T], y: &mut [T], gamma: &[T], beta: &[T], eps: f64) -> Result<()> {
    let channels = gamma.len();
    check_length([channels], beta.len())?;
    check_length([x.len() / channels.max(1), channels], y.len())?;
    check_length([y.len()], x.len())?;
    let set = InstructionSet::active()?;
    for_each_run(y, run_length(channels), |run, y| {
        vectorized(set, Forward { x: &x[run], y, gamma, beta, eps });
    });
    Ok(())
}

/// The gradients of [`forward`] with respect to `x`, `gamma` and `beta`. With x̂ the normalized row, and g = γ·dy,
/// `dx = (g − mean(g) − x̂ · mean(g·x̂)) / √(variance + eps)`; `dγ` and `dβ` are sums of `dy·x̂` and `dy` over rows.
///
/// # Errors
/// As [`forward`], or if `dy` does not have the shape of `x`.
#[compiled_here]
pub fn backward<'a, T: Float>(
    x: impl IntoView<'a, T>,
    dy: impl IntoView<'a, T>,
    gamma: &Tensor<T>,
    eps: f64,
) -> Result<(Tensor<T>, Tensor<T>, Tensor<T>)> {
    let (x, dy) = (x.into_view()?, dy.into_view()?);
    let operation = "layer_norm backward";
    check(operation, x.shape(), gamma, gamma)?;
    KernelError::unless_same(operation, ("dy", dy.shape()), ("x", x.shape()))?;
    let rows = layout(x.shape());
    let (x, dy) = (x.into_layout(rows)?, dy.into_layout(rows)?);
    let mut dx = Tensor::try_unfilled(x.shape(), rows)?;
    let (x, dy, gamma, set) = (x.as_slice(), dy.as_slice(), gamma.as_slice(), InstructionSet::active()?);
    let parts = collect_runs(dx.as_mut_slice(), run_length(gamma.len()), |run, dx| {
        let mut sums = Sums { gamma: vec![T::zero(); gamma.len()], beta: vec![T::zero(); gamma.len()] };
        let (x, dy) = (&x[run.clone()], &dy[run]);
        vectorized(set, Backward { x, dy, dx, gamma, eps, sums: &mut sums });
        sums
    });
    let total = |of: fn(&Sums<T>) -> &[T]| {
        let sum = |channel: usize| T::of(parts.iter().map(|part| of(part)[channel].to_f64()).sum());
        Tensor::from_vec([gamma.len()], (0..gamma.len()).map(sum).collect())
    };
    Ok((dx, total(|sums| &sums.gamma)?, total(|sums| &sums.beta)?))
}

/// How rows lie in memory one after the other.
fn layout(shape: &Shape) -> Layout {
    if shape.rank() == 4 { Layout::ChannelsLast } else { Layout::Contiguous }
}

fn check<T: Float>(operation: &'static str, x: &Shape, gamma: &Tensor<T>, beta: &Tensor<T>) -> Result<()> {
    let channels = match **x {
        [_, channels] => channels,
        _ => x.dims::<4>(operation)?[1],
    };
    let channels = Shape::new([channels])?;
    KernelError::unless_same(operation, ("gamma", gamma.shape()), ("the channels", &channels))?;
    KernelError::unless_same(operation, ("beta", beta.shape()), ("the channels", &channels))
}

/// Elements of a few whole rows. The order of sums follows from it, so that it depends on the channels alone.
fn run_length(channels: usize) -> usize {
    channels * (CHUNK / channels.max(1)).max(1)
}

/// A few rows.
struct Forward<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    gamma: &'a [T],
    beta: &'a [T],
    eps: f64,
}

impl<T: Float> Loop for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { x, y, gamma, beta, eps } = self;
        for (x, y) in x.chunks_exact(gamma.len()).zip(y.chunks_exact_mut(gamma.len())) {
            let scale = center(x, y, eps);
            for ((y, &gamma), &beta) in y.iter_mut().zip(gamma).zip(beta) {
                *y = *y * scale * gamma + beta;
            }
        }
    }
}

/// Makes `y` of a row `x` by subtracting its mean, and gives `1 / √(variance + eps)`.
#[inline(always)]
fn center<T: Float>(x: &[T], y: &mut [T], eps: f64) -> T {
    let count = T::of(x.len() as f64);
    let mean = fold_run(x, Sum) / count;
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - mean) * (x - mean));
    let variance = fold_run(y, Sum) / count;
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - mean);
    (variance + T::of(eps)).sqrt().recip()
}

/// Gradients of γ and β from a few rows.
struct Sums<T> {
    gamma: Vec<T>,
    beta: Vec<T>,
}

/// A few rows.
struct Backward<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
    gamma: &'a [T],
    eps: f64,
    sums: &'a mut Sums<T>,
}

impl<T: Float> Loop for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { x, dy, dx, gamma, eps, sums } = self;
        let channels = gamma.len();
        let (mut normalized, mut product) = (vec![T::zero(); channels], vec![T::zero(); channels]);
        let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels)).zip(dx.chunks_exact_mut(channels));
        for ((x, dy), dx) in rows {
            let scale = center(x, &mut normalized, eps);
            normalized.iter_mut().for_each(|x| *x *= scale);
            for ((sum, &x), &dy) in sums.gamma.iter_mut().zip(&normalized).zip(dy) {
                *sum += x * dy;
            }
            sums.beta.iter_mut().zip(dy).for_each(|(sum, &dy)| *sum += dy);
            dx.iter_mut().zip(dy.iter().zip(gamma)).for_each(|(dx, (&dy, &gamma))| *dx = dy * gamma);
            product.iter_mut().zip(dx.iter().zip(&normalized)).for_each(|(p, (&g, &x))| *p = g * x);
            let count = T::of(channels as f64);
            let (mean, along) = (fold_run(dx, Sum) / count, fold_run(&product, Sum) / count);
            for (dx, &x) in dx.iter_mut().zip(&normalized) {
                *dx = (*dx - mean - x * along) * scale;
            }
        }
    }
}
