//! Two-dimensional convolution (in the sense of networks: cross-correlation) and its two
//! gradients.
//!
//! `x [n, c, h, w] ⋆ weight [o, c / groups, kh, kw] = y [n, o, oh, ow]`, where
//!
//! ```text
//! y[n, o, i, j] = Σ c, a, b   x[n, c, i·stride + a·dilation − padding, j·… + b·… − …] · weight[o, c, a, b]
//! ```
//!
//! This file is the front door: it checks shapes, brings tensors into channels-last memory and
//! hands them to an algorithm. Each algorithm has the same three functions on slices; they agree
//! up to rounding, and a test holds all of them to that. All are for any precision: the definition
//! (`reference`), windows in matrices (`im2col`), and the fast ones (`blocked`, `grouped`,
//! `winograd`), which `plan` runs after `cost` has picked one. A bias is not here but as an
//! [`Epilogue`]: in a residual network batch normalization has it.
//!
//! **NaN** is never hidden: an output that has NaN or an infinity among its terms
//! is NaN or infinite by every algorithm, as in PyTorch. Other outputs may be, too: Winograd's
//! spreads it to the outputs of the same tile and turns an infinity into NaN, and padding is
//! zeros that are multiplied, so that an infinite weight gives NaN there.

mod blocked;
mod correlation;
pub(crate) mod cost;
pub(crate) mod epilogue;
mod geometry;
mod grouped;
mod im2col;
pub(crate) mod plan;
mod reference;
pub(crate) mod source;
mod units;
mod winograd;

use std::sync::OnceLock;

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorView};

pub use geometry::{Conv2dGeometry, Conv2dShape};

use crate::{
    BatchStatistics, KernelError, Result,
    engine::{
        caches::Caches,
        environment,
        isa::{self, Isa},
    },
    error::check_length,
};
use epilogue::Epilogue;
use plan::Plan;
use source::Input;

environment::named! {
    /// How a convolution is computed.
    pub enum Algorithm {
        /// The definition, [`reference::conv2d`](crate::reference::conv2d), in double precision: slow,
        /// exact, readable.
        Reference = "reference",
        /// Windows copied out into the rows of a matrix, block by block, and multiplied.
        Im2col = "im2col",
        /// Blocks that fit the caches, summed in registers without a matrix.
        Blocked = "blocked",
        /// The same with the channels of several groups in a register: for groups of few channels, and
        /// depth-wise convolutions.
        Grouped = "grouped",
        /// Winograd's F(2×2, 3×3), with 2.25 times fewer multiplications; 3×3 at stride 1 only.
        Winograd2 = "winograd2",
        /// Winograd's F(4×4, 3×3), with 4 times fewer multiplications; 3×3 at stride 1 only.
        Winograd4 = "winograd4",
    }
}

impl Algorithm {
    /// An error unless the algorithm can compute a convolution of this shape and its gradients.
    ///
    /// # Errors
    /// [`KernelError::Algorithm`].
    pub fn check(self, shape: &Conv2dShape) -> Result<()> {
        let unable = |reason| KernelError::Algorithm { algorithm: self, geometry: shape.geometry, reason };
        let (suits, needs) = match self {
            Self::Reference | Self::Im2col => return Ok(()),
            Self::Blocked | Self::Grouped => (
                plan::suits_blocked(shape),
                "its copies of all that a window spans, or its parts for each step of the stride, would not fit memory",
            ),
            Self::Winograd2 | Self::Winograd4 => {
                (plan::suits_winograd(shape), "it needs a 3×3 kernel with stride 1 and dilation 1")
            }
        };
        if suits { Ok(()) } else { Err(unable(needs)) }
    }

    /// The algorithm that the environment variable `RESIDUAL_CONV2D` names. It is a preference: it
    /// computes every convolution that it [can](Self::check) and for which no algorithm is given;
    /// for others the cost decides.
    ///
    /// # Errors
    /// [`KernelError::Environment`] if the variable names nothing that exists.
    pub fn preferred() -> Result<Option<Self>> {
        static PREFERRED: OnceLock<Result<Option<Algorithm>>> = OnceLock::new();
        let choose = || environment::choice("RESIDUAL_CONV2D", &Self::ALL, Self::name);
        PREFERRED.get_or_init(choose).clone()
    }

    /// Whether this is one of the algorithms that a [`Plan`] runs.
    pub(crate) fn is_fast(self) -> bool {
        match self {
            Self::Reference | Self::Im2col => false,
            Self::Blocked | Self::Grouped | Self::Winograd2 | Self::Winograd4 => true,
        }
    }
}

/// The convolution of `x` with `weight`.
///
/// # Shapes
/// `x [n, c, h, w]`, `weight [o, c / groups, kh, kw]` → `[n, o, oh, ow]`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`].
pub fn forward<'a, T: Float>(
    x: impl IntoView<'a, T>,
    weight: impl IntoView<'a, T>,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let (x, weight) = (x.into_view()?, weight.into_view()?);
    let shape = geometry.resolve(x.shape(), weight.shape())?;
    Ok(run_forward(choose(&shape, cost::forward::<T>)?, Input::View(x), weight, &shape, false)?.0)
}

/// [`forward`] by a given algorithm.
///
/// # Errors
/// As [`forward`], or if the algorithm cannot compute this convolution ([`Algorithm::check`]).
pub fn forward_with<'a, T: Float>(
    algorithm: Algorithm,
    x: impl IntoView<'a, T>,
    weight: impl IntoView<'a, T>,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let (x, weight) = (x.into_view()?, weight.into_view()?);
    let shape = geometry.resolve(x.shape(), weight.shape())?;
    algorithm.check(&shape)?;
    Ok(run_forward(algorithm, Input::View(x), weight, &shape, false)?.0)
}

/// [`forward`] between slices of channels-last memory: `x [n, h, w, c]` and `weight [o, kh, kw, c]` to
/// `y [n, oh, ow, o]`.
///
/// A weight that is used many times is better packed once:
/// [`PackedConv2d`](crate::fused::PackedConv2d).
///
/// # Errors
/// If a slice does not have as many elements as its shape.
pub fn forward_into<T: Float>(x: &[T], weight: &[T], y: &mut [T], shape: &Conv2dShape) -> Result<()> {
    let (x, weight) = (channels_last(&shape.x(), x)?, channels_last(&shape.weight(), weight)?);
    check_elements(&shape.y(), y)?;
    write_forward(choose(shape, cost::forward::<T>)?, Input::View(x), weight, y, shape, false).map(|_| ())
}

/// The output, and its statistics if they are wanted and are to be had on the way.
pub(crate) fn run_forward<T: Float>(
    algorithm: Algorithm,
    x: Input<'_, T>,
    weight: TensorView<'_, T>,
    shape: &Conv2dShape,
    with_statistics: bool,
) -> Result<(Tensor<T>, Option<BatchStatistics>)> {
    let mut y = Tensor::try_unfilled(shape.y(), Layout::ChannelsLast)?;
    let statistics = write_forward(algorithm, x, weight, y.as_mut_slice(), shape, with_statistics)?;
    Ok((y, statistics))
}

/// Writes the output to `y`, and gives its statistics, as [`run_forward`].
#[compiled_here]
fn write_forward<T: Float>(
    algorithm: Algorithm,
    x: Input<'_, T>,
    weight: TensorView<'_, T>,
    y: &mut [T],
    shape: &Conv2dShape,
    with_statistics: bool,
) -> Result<Option<BatchStatistics>> {
    if x.shape().elements() == 0 || weight.is_empty() {
        y.fill(T::zero()); // sums of no products
        return Ok(None);
    }
    let fast = match algorithm {
        Algorithm::Reference => return run(reference::forward, x.value()?, weight, y, shape).map(|()| None),
        Algorithm::Im2col => return run(im2col::forward, x.value()?, weight, y, shape).map(|()| None),
        fast => fast,
    };
    let (x, weight) = (x.prepare()?, weight.into_layout(Layout::ChannelsLast)?);
    let source = x.source();
    let caches = if with_statistics { &Caches::FITTED } else { Caches::detected() };
    let plan = Plan::forward(shape, fast, source.normalization.is_some(), caches, isa::active()?);
    Ok(plan.run(source, &plan.pack(weight.as_slice()), y, &Epilogue::default(), with_statistics))
}

/// The gradient with respect to the input, for the gradient `dy` of the output.
///
/// # Shapes
/// `dy [n, o, oh, ow]`, `weight [o, c / groups, kh, kw]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`], or if `dy` does not have the output's shape.
pub fn backward_data<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    weight: impl IntoView<'a, T>,
    x_shape: &[usize],
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let (dy, weight) = (dy.into_view()?, weight.into_view()?);
    let shape = resolve_backward(&dy, &Shape::new(x_shape)?, weight.shape(), geometry)?;
    run_backward_data(choose(&shape, cost::backward_data::<T>)?, dy, weight, &shape)
}

/// [`backward_data`] by a given algorithm.
///
/// # Errors
/// As [`backward_data`], or if the algorithm cannot compute this convolution
/// ([`Algorithm::check`]).
pub fn backward_data_with<'a, T: Float>(
    algorithm: Algorithm,
    dy: impl IntoView<'a, T>,
    weight: impl IntoView<'a, T>,
    x_shape: &[usize],
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let (dy, weight) = (dy.into_view()?, weight.into_view()?);
    let shape = resolve_backward(&dy, &Shape::new(x_shape)?, weight.shape(), geometry)?;
    algorithm.check(&shape)?;
    run_backward_data(algorithm, dy, weight, &shape)
}

/// [`backward_data`] between slices of channels-last memory: `dy [n, oh, ow, o]` and
/// `weight [o, kh, kw, c]` to `dx [n, h, w, c]`.
///
/// # Errors
/// If a slice does not have as many elements as its shape.
pub fn backward_data_into<T: Float>(dy: &[T], weight: &[T], dx: &mut [T], shape: &Conv2dShape) -> Result<()> {
    let (dy, weight) = (channels_last(&shape.y(), dy)?, channels_last(&shape.weight(), weight)?);
    check_elements(&shape.x(), dx)?;
    write_backward_data(choose(shape, cost::backward_data::<T>)?, dy, weight, dx, shape)
}

pub(crate) fn run_backward_data<T: Float>(
    algorithm: Algorithm,
    dy: TensorView<'_, T>,
    weight: TensorView<'_, T>,
    shape: &Conv2dShape,
) -> Result<Tensor<T>> {
    let mut dx = Tensor::try_unfilled(shape.x(), Layout::ChannelsLast)?;
    write_backward_data(algorithm, dy, weight, dx.as_mut_slice(), shape)?;
    Ok(dx)
}

#[compiled_here]
fn write_backward_data<T: Float>(
    algorithm: Algorithm,
    dy: TensorView<'_, T>,
    weight: TensorView<'_, T>,
    dx: &mut [T],
    shape: &Conv2dShape,
) -> Result<()> {
    if dy.is_empty() || weight.is_empty() {
        dx.fill(T::zero()); // sums of no products
        return Ok(());
    }
    match algorithm {
        Algorithm::Reference => run(reference::backward_data, dy, weight, dx, shape),
        Algorithm::Im2col => run(im2col::backward_data, dy, weight, dx, shape),
        fast => fast_backward_data(fast, dy, weight, dx, shape, false),
    }
}

/// Writes the gradient to a channels-last `dx`, or adds it, by one of the fast algorithms.
#[compiled_here]
pub(crate) fn fast_backward_data<T: Float>(
    fast: Algorithm,
    dy: TensorView<'_, T>,
    weight: TensorView<'_, T>,
    dx: &mut [T],
    shape: &Conv2dShape,
    accumulate: bool,
) -> Result<()> {
    let (dy, weight) = (dy.into_layout(Layout::ChannelsLast)?, weight.into_layout(Layout::ChannelsLast)?);
    let plan = Plan::backward_data(shape, fast, Caches::detected(), isa::active()?);
    let epilogue = Epilogue { accumulate, ..Epilogue::default() };
    plan.run(dy.as_slice().into(), &plan.pack(weight.as_slice()), dx, &epilogue, false);
    Ok(())
}

/// The gradient with respect to the weight, for the gradient `dy` of the output.
///
/// # Shapes
/// `x [n, c, h, w]`, `dy [n, o, oh, ow]` → `weight_shape`, which is `[o, c / groups, kh, kw]`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`], or if `dy` does not have the output's shape.
pub fn backward_weights<'a, T: Float>(
    x: impl IntoView<'a, T>,
    dy: impl IntoView<'a, T>,
    weight_shape: &[usize],
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let (x, dy) = (x.into_view()?, dy.into_view()?);
    let shape = resolve_backward(&dy, x.shape(), &Shape::new(weight_shape)?, geometry)?;
    run_backward_weights(choose(&shape, cost::backward_weights::<T>)?, Input::View(x), dy, &shape)
}

/// [`backward_weights`] by a given algorithm.
///
/// # Errors
/// As [`backward_weights`], or if the algorithm cannot compute this convolution
/// ([`Algorithm::check`]).
pub fn backward_weights_with<'a, T: Float>(
    algorithm: Algorithm,
    x: impl IntoView<'a, T>,
    dy: impl IntoView<'a, T>,
    weight_shape: &[usize],
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let (x, dy) = (x.into_view()?, dy.into_view()?);
    let shape = resolve_backward(&dy, x.shape(), &Shape::new(weight_shape)?, geometry)?;
    algorithm.check(&shape)?;
    run_backward_weights(algorithm, Input::View(x), dy, &shape)
}

/// [`backward_weights`] between slices of channels-last memory: `x [n, h, w, c]` and
/// `dy [n, oh, ow, o]` to `dw [o, kh, kw, c]`.
///
/// # Errors
/// If a slice does not have as many elements as its shape.
pub fn backward_weights_into<T: Float>(x: &[T], dy: &[T], dw: &mut [T], shape: &Conv2dShape) -> Result<()> {
    let (x, dy) = (channels_last(&shape.x(), x)?, channels_last(&shape.y(), dy)?);
    check_elements(&shape.weight(), dw)?;
    write_backward_weights(choose(shape, cost::backward_weights::<T>)?, Input::View(x), dy, dw, shape)
}

pub(crate) fn run_backward_weights<T: Float>(
    algorithm: Algorithm,
    x: Input<'_, T>,
    dy: TensorView<'_, T>,
    shape: &Conv2dShape,
) -> Result<Tensor<T>> {
    let mut dw = Tensor::try_unfilled(shape.weight(), Layout::ChannelsLast)?;
    write_backward_weights(algorithm, x, dy, dw.as_mut_slice(), shape)?;
    Ok(dw)
}

#[compiled_here]
fn write_backward_weights<T: Float>(
    algorithm: Algorithm,
    x: Input<'_, T>,
    dy: TensorView<'_, T>,
    dw: &mut [T],
    shape: &Conv2dShape,
) -> Result<()> {
    if x.shape().elements() == 0 || dy.is_empty() {
        dw.fill(T::zero()); // sums of no products
        return Ok(());
    }
    let fast = match algorithm {
        Algorithm::Reference => return run(reference::backward_weights, x.value()?, dy, dw, shape),
        Algorithm::Im2col => return run(im2col::backward_weights, x.value()?, dy, dw, shape),
        fast => fast,
    };
    let (x, dy) = (x.prepare()?, dy.into_layout(Layout::ChannelsLast)?);
    let (caches, isa) = (Caches::detected(), isa::active()?);
    plan::backward_weights(x.source(), dy.as_slice(), dw, shape, fast, caches, isa);
    Ok(())
}

/// Brings the operands of a kernel into its layout, and runs it.
fn run<T: Float>(
    kernel: impl FnOnce(&[T], &[T], &mut [T], &Conv2dShape) -> Result<()>,
    left: TensorView<'_, T>,
    right: TensorView<'_, T>,
    result: &mut [T],
    shape: &Conv2dShape,
) -> Result<()> {
    let (left, right) = (left.into_layout(Layout::ChannelsLast)?, right.into_layout(Layout::ChannelsLast)?);
    kernel(left.as_slice(), right.as_slice(), result, shape)
}

/// A view of channels-last memory.
fn channels_last<'a, T: Float>(shape: &Shape, elements: &'a [T]) -> Result<TensorView<'a, T>> {
    let [n, c, h, w] = shape.dims("conv2d")?;
    Ok(TensorView::nhwc([n, h, w, c], elements)?)
}

/// An error unless a slice has as many elements as its shape.
fn check_elements<T>(shape: &Shape, elements: &[T]) -> Result<()> {
    check_length(shape.dims::<4>("conv2d")?, elements.len())
}

/// The algorithm for a convolution that none is given for: the preferred one where it can compute
/// it, or what `cost` says.
pub(crate) fn choose<T: Float>(
    shape: &Conv2dShape,
    cost: impl FnOnce(&Conv2dShape, &Isa<T>) -> Algorithm,
) -> Result<Algorithm> {
    let preferred = Algorithm::preferred()?.filter(|algorithm| algorithm.check(shape).is_ok());
    if is_empty(shape) {
        return Ok(Algorithm::Im2col);
    }
    let cheapest = cost(shape, isa::active()?);
    let able = if cheapest.check(shape).is_ok() { cheapest } else { Algorithm::Im2col };
    Ok(preferred.unwrap_or(able))
}

/// Whether nothing is computed. The other axes, and the groups, may then be larger than a cost can be worked
/// out for.
fn is_empty(shape: &Conv2dShape) -> bool {
    [shape.x(), shape.weight(), shape.y()].iter().any(|operand| operand.elements() == 0)
}

/// Resolves the geometry, and holds the gradient of the output against it.
pub(crate) fn resolve_backward<T: Float>(
    dy: &TensorView<'_, T>,
    x: &Shape,
    weight: &Shape,
    geometry: &Conv2dGeometry,
) -> Result<Conv2dShape> {
    let shape = geometry.resolve(x, weight)?;
    KernelError::unless_same("conv2d backward", ("dy", dy.shape()), ("the output", &shape.y()))?;
    Ok(shape)
}

#[cfg(test)]
mod tests;
