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
//! **What is not a number** is never hidden: an output that has NaN or an infinity among its terms
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

use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorView};

pub use geometry::{Conv2dGeometry, Conv2dShape};

use crate::{
    BatchStatistics, KernelError, Result,
    engine::{
        environment,
        isa::{self, Isa},
    },
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
        /// Winograd's F(2×2, 3×3), with 2.25 times fewer multiplications; one group, 3×3 at stride 1
        /// only.
        Winograd2 = "winograd2",
        /// Winograd's F(4×4, 3×3), with 4 times fewer multiplications; one group, 3×3 at stride 1
        /// only.
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
            Self::Blocked | Self::Grouped => {
                (plan::suits_blocked(shape), "its copy of all that a window spans would not fit memory")
            }
            Self::Winograd2 | Self::Winograd4 => {
                (plan::suits_winograd(shape), "it needs a 3×3 kernel with stride 1, dilation 1 and one group")
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

/// The output, and its statistics if they are wanted and are to be had on the way.
pub(crate) fn run_forward<T: Float>(
    algorithm: Algorithm,
    x: Input<'_, T>,
    weight: TensorView<'_, T>,
    shape: &Conv2dShape,
    with_statistics: bool,
) -> Result<(Tensor<T>, Option<BatchStatistics>)> {
    if x.shape().elements() == 0 || weight.is_empty() {
        return Ok((no_products(shape.y())?, None));
    }
    let fast = match algorithm {
        Algorithm::Reference => {
            return Ok((run(reference::forward, x.value()?, weight, shape.y(), shape)?, None));
        }
        Algorithm::Im2col => return Ok((run(im2col::forward, x.value()?, weight, shape.y(), shape)?, None)),
        fast => fast,
    };
    let (x, weight) = (x.prepare()?, weight.into_layout(Layout::ChannelsLast)?);
    let source = x.source();
    let mut y = Tensor::try_unfilled(shape.y(), Layout::ChannelsLast)?;
    let plan = Plan::forward(shape, fast, source.normalization.is_some(), isa::active()?);
    let plain = Epilogue::default();
    let statistics =
        plan.run(source, &plan.pack(weight.as_slice()), y.as_mut_slice(), &plain, with_statistics);
    Ok((y, statistics))
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

pub(crate) fn run_backward_data<T: Float>(
    algorithm: Algorithm,
    dy: TensorView<'_, T>,
    weight: TensorView<'_, T>,
    shape: &Conv2dShape,
) -> Result<Tensor<T>> {
    if dy.is_empty() || weight.is_empty() {
        return no_products(shape.x());
    }
    match algorithm {
        Algorithm::Reference => run(reference::backward_data, dy, weight, shape.x(), shape),
        Algorithm::Im2col => run(im2col::backward_data, dy, weight, shape.x(), shape),
        fast => {
            let mut dx = Tensor::try_unfilled(shape.x(), Layout::ChannelsLast)?;
            write_backward_data(fast, dy, weight, &mut dx, shape, false)?;
            Ok(dx)
        }
    }
}

/// Writes the gradient to a channels-last `dx`, or adds it, by one of the fast algorithms.
pub(crate) fn write_backward_data<T: Float>(
    fast: Algorithm,
    dy: TensorView<'_, T>,
    weight: TensorView<'_, T>,
    dx: &mut Tensor<T>,
    shape: &Conv2dShape,
    accumulate: bool,
) -> Result<()> {
    let (dy, weight) = (dy.into_layout(Layout::ChannelsLast)?, weight.into_layout(Layout::ChannelsLast)?);
    let plan = Plan::backward_data(shape, fast, isa::active()?);
    let epilogue = Epilogue { accumulate, ..Epilogue::default() };
    plan.run(dy.as_slice().into(), &plan.pack(weight.as_slice()), dx.as_mut_slice(), &epilogue, false);
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

pub(crate) fn run_backward_weights<T: Float>(
    algorithm: Algorithm,
    x: Input<'_, T>,
    dy: TensorView<'_, T>,
    shape: &Conv2dShape,
) -> Result<Tensor<T>> {
    if x.shape().elements() == 0 || dy.is_empty() {
        return no_products(shape.weight());
    }
    let fast = match algorithm {
        Algorithm::Reference => {
            return run(reference::backward_weights, x.value()?, dy, shape.weight(), shape);
        }
        Algorithm::Im2col => return run(im2col::backward_weights, x.value()?, dy, shape.weight(), shape),
        fast => fast,
    };
    let (x, dy) = (x.prepare()?, dy.into_layout(Layout::ChannelsLast)?);
    let mut dw = Tensor::try_unfilled(shape.weight(), Layout::ChannelsLast)?;
    plan::backward_weights(x.source(), dy.as_slice(), dw.as_mut_slice(), shape, fast, isa::active()?);
    Ok(dw)
}

/// What every algorithm gives where an operand is empty: sums of no products, which are zeros.
fn no_products<T: Float>(result: Shape) -> Result<Tensor<T>> {
    let mut zeros = Tensor::try_unfilled(result, Layout::ChannelsLast)?;
    zeros.as_mut_slice().fill(T::zero());
    Ok(zeros)
}

/// Brings the operands of a kernel into its layout, and runs it.
fn run<T: Float>(
    kernel: impl FnOnce(&[T], &[T], &mut [T], &Conv2dShape) -> Result<()>,
    left: TensorView<'_, T>,
    right: TensorView<'_, T>,
    result: Shape,
    shape: &Conv2dShape,
) -> Result<Tensor<T>> {
    let (left, right) = (left.into_layout(Layout::ChannelsLast)?, right.into_layout(Layout::ChannelsLast)?);
    let mut result = Tensor::try_unfilled(result, Layout::ChannelsLast)?;
    kernel(left.as_slice(), right.as_slice(), result.as_mut_slice(), shape)?;
    Ok(result)
}

/// The algorithm for a convolution that none is given for: the preferred one where it can compute
/// it, or what `cost` says.
pub(crate) fn choose<T: Float>(
    shape: &Conv2dShape,
    cost: impl FnOnce(&Conv2dShape, &Isa<T>) -> Algorithm,
) -> Result<Algorithm> {
    let preferred = Algorithm::preferred()?.filter(|algorithm| algorithm.check(shape).is_ok());
    let cheapest = cost(shape, isa::active()?);
    let able = if cheapest.check(shape).is_ok() { cheapest } else { Algorithm::Im2col };
    Ok(preferred.unwrap_or(able))
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
