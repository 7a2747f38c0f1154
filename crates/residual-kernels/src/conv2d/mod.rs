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
//! hands them to an algorithm. Each algorithm is a module with the same three functions on
//! slices; they agree up to rounding, and a test holds all of them to that. A bias is not here:
//! in a residual network batch normalization has it.

mod direct;
mod geometry;
mod im2col;

use residual_tensor::{Float, Layout, Shape, Tensor};

pub use geometry::{Conv2dGeometry, Conv2dShape};

use crate::{KernelError, Result};

/// How a convolution is computed.
///
/// The default is what the functions without a named algorithm use. Copying windows wins for
/// every geometry with more than some hundred multiply-adds; below that the choice is worth
/// less than a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// The sum of the definition, term by term, in double precision: slow, exact, readable.
    Direct,
    /// Windows copied out into the rows of a matrix, block by block, and multiplied.
    #[default]
    Im2col,
}

impl Algorithm {
    /// Every algorithm, for tests and measurements that go through all of them.
    pub const ALL: [Self; 2] = [Self::Direct, Self::Im2col];

    fn kernels<T: Float>(self) -> Kernels<T> {
        match self {
            Self::Direct => Kernels {
                forward: direct::forward,
                backward_data: direct::backward_data,
                backward_weights: direct::backward_weights,
            },
            Self::Im2col => Kernels {
                forward: im2col::forward,
                backward_data: im2col::backward_data,
                backward_weights: im2col::backward_weights,
            },
        }
    }
}

/// What a module with an algorithm provides.
struct Kernels<T> {
    /// Reads x and weight, writes y.
    forward: Kernel<T>,
    /// Reads dy and weight, writes dx.
    backward_data: Kernel<T>,
    /// Reads x and dy, writes dw.
    backward_weights: Kernel<T>,
}

/// Reads two tensors in channels-last memory and writes every element of a third.
type Kernel<T> = fn(&[T], &[T], &mut [T], &Conv2dShape) -> Result<()>;

/// Brings the operands of a kernel into its layout, and runs it.
fn run<T: Float>(
    kernel: Kernel<T>,
    left: &Tensor<T>,
    right: &Tensor<T>,
    result: Shape,
    shape: &Conv2dShape,
) -> Result<Tensor<T>> {
    let [left, right] = [left, right].map(|tensor| tensor.to_layout(Layout::ChannelsLast));
    let mut result = Tensor::unfilled(result, Layout::ChannelsLast);
    kernel(left.as_slice(), right.as_slice(), result.as_mut_slice(), shape)?;
    Ok(result)
}

/// The convolution of `x` with `weight`.
///
/// # Shapes
/// `x [n, c, h, w]`, `weight [o, c / groups, kh, kw]` → `[n, o, oh, ow]`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`].
pub fn forward<T: Float>(x: &Tensor<T>, weight: &Tensor<T>, geometry: &Conv2dGeometry) -> Result<Tensor<T>> {
    forward_with(Algorithm::default(), x, weight, geometry)
}

/// The gradient with respect to the input, for the gradient `dy` of the output.
///
/// # Shapes
/// `dy [n, o, oh, ow]`, `weight [o, c / groups, kh, kw]` → `x_shape`, which is `[n, c, h, w]`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`], or if `dy` does not have the output's shape.
pub fn backward_data<T: Float>(
    dy: &Tensor<T>,
    weight: &Tensor<T>,
    x_shape: &Shape,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    backward_data_with(Algorithm::default(), dy, weight, x_shape, geometry)
}

/// The gradient with respect to the weight, for the gradient `dy` of the output.
///
/// # Shapes
/// `x [n, c, h, w]`, `dy [n, o, oh, ow]` → `weight_shape`, which is `[o, c / groups, kh, kw]`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`], or if `dy` does not have the output's shape.
pub fn backward_weights<T: Float>(
    x: &Tensor<T>,
    dy: &Tensor<T>,
    weight_shape: &Shape,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    backward_weights_with(Algorithm::default(), x, dy, weight_shape, geometry)
}

/// [`forward`] by a given algorithm.
///
/// # Errors
/// As [`forward`].
pub fn forward_with<T: Float>(
    algorithm: Algorithm,
    x: &Tensor<T>,
    weight: &Tensor<T>,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let shape = geometry.resolve(x.shape(), weight.shape())?;
    run(algorithm.kernels().forward, x, weight, shape.y(), &shape)
}

/// [`backward_data`] by a given algorithm.
///
/// # Errors
/// As [`backward_data`].
pub fn backward_data_with<T: Float>(
    algorithm: Algorithm,
    dy: &Tensor<T>,
    weight: &Tensor<T>,
    x_shape: &Shape,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let shape = resolve_backward(dy, x_shape, weight.shape(), geometry)?;
    run(algorithm.kernels().backward_data, dy, weight, shape.x(), &shape)
}

/// [`backward_weights`] by a given algorithm.
///
/// # Errors
/// As [`backward_weights`].
pub fn backward_weights_with<T: Float>(
    algorithm: Algorithm,
    x: &Tensor<T>,
    dy: &Tensor<T>,
    weight_shape: &Shape,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let shape = resolve_backward(dy, x.shape(), weight_shape, geometry)?;
    run(algorithm.kernels().backward_weights, x, dy, shape.weight(), &shape)
}

/// Resolves the geometry, and holds the gradient of the output against it.
fn resolve_backward<T: Float>(
    dy: &Tensor<T>,
    x: &Shape,
    weight: &Shape,
    geometry: &Conv2dGeometry,
) -> Result<Conv2dShape> {
    let shape = geometry.resolve(x, weight)?;
    KernelError::unless_same("conv2d backward", ("dy", dy.shape()), ("the output", &shape.y()))?;
    Ok(shape)
}
