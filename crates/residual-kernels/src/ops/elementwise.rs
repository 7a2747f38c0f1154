//! Arithmetic element by element: `+ − × ÷` with [broadcasting](crate::ops::broadcast), and
//! functions of one number, each gradient under its forward pass.
//!
//! Whatever is not finite goes through as IEEE 754 has it, as in PyTorch.
//!
//! Any of these functions is an error where an operand cannot be read ([`IntoView::into_view`]),
//! there is no memory for the result, or `RESIDUAL_ISA` names nothing that this processor has; each
//! says what else is.

use residual_macros::compiled_here;
use residual_tensor::{Float, IntoView, Tensor, TensorView};

use crate::{
    KernelError, Result,
    engine::parallel::{for_each_chunk, map, zip_map, zip_update},
    error::check_length,
    ops::{
        broadcast::{reduce_to, zip},
        function,
    },
};

/// `a + b`; shapes [broadcast](crate::ops::broadcast::shape).
///
/// # Errors
/// If the shapes do not fit.
#[compiled_here]
pub fn add<'a, T: Float>(a: impl IntoView<'a, T>, b: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    zip("add", a.into_view()?, b.into_view()?, T::add)
}

/// `a − b`; shapes [broadcast](crate::ops::broadcast::shape).
///
/// # Errors
/// If the shapes do not fit.
#[compiled_here]
pub fn sub<'a, T: Float>(a: impl IntoView<'a, T>, b: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    zip("sub", a.into_view()?, b.into_view()?, T::sub)
}

/// The gradient of [`add`] with respect to either operand, and of [`sub`] with respect to `a`, for an
/// operand of the given shape: `dy`, summed over what was repeated. The same memory as `dy` if that
/// is a tensor handed over by value and nothing was repeated.
///
/// # Errors
/// If the shapes do not fit.
pub fn add_backward<'a, T: Float>(dy: impl IntoView<'a, T>, operand: &[usize]) -> Result<Tensor<T>> {
    reduce_to(dy, operand)
}

/// The gradient of [`sub`] with respect to `b`: `−dy`, summed over what was repeated.
///
/// # Errors
/// If the shapes do not fit.
pub fn sub_backward_b<'a, T: Float>(dy: impl IntoView<'a, T>, b: &[usize]) -> Result<Tensor<T>> {
    neg(reduce_to(dy, b)?)
}

/// `a · b`; shapes [broadcast](crate::ops::broadcast::shape).
///
/// # Errors
/// If the shapes do not fit.
#[compiled_here]
pub fn mul<'a, T: Float>(a: impl IntoView<'a, T>, b: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    zip("mul", a.into_view()?, b.into_view()?, T::mul)
}

/// [`mul`] by a factor for each channel of each image, between slices of channels-last memory.
///
/// # Shapes
/// `x [n, c, h, w]`, `factors [n, c]` → `y [n, c, h, w]`.
///
/// # Errors
/// If a slice does not have as many elements as its shape.
#[compiled_here]
pub fn mul_channels_into<T: Float>(x: &[T], factors: &[T], y: &mut [T], shape: [usize; 4]) -> Result<()> {
    let [batch, channels, height, width] = shape;
    check_length(shape, x.len())?;
    check_length([batch, channels], factors.len())?;
    check_length(shape, y.len())?;
    let row = width * channels;
    for_each_chunk(y, row, |index, y| {
        let factors = &factors[index / height * channels..][..channels];
        let pixels = y.chunks_exact_mut(channels).zip(x[index * row..].chunks_exact(channels));
        for (y, x) in pixels {
            for ((y, &x), &factor) in y.iter_mut().zip(x).zip(factors) {
                *y = x * factor;
            }
        }
    });
    Ok(())
}

/// The gradient of [`mul`] with respect to one operand, of the given shape: `dy · other`, summed over
/// what was repeated.
///
/// # Errors
/// If the shapes do not fit.
#[compiled_here]
pub fn mul_backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    other: impl IntoView<'a, T>,
    operand: &[usize],
) -> Result<Tensor<T>> {
    reduce_to(zip("mul backward", dy.into_view()?, other.into_view()?, T::mul)?, operand)
}

/// `a / b`; shapes [broadcast](crate::ops::broadcast::shape).
///
/// # Errors
/// If the shapes do not fit.
#[compiled_here]
pub fn div<'a, T: Float>(a: impl IntoView<'a, T>, b: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    zip("div", a.into_view()?, b.into_view()?, T::div)
}

/// The gradient of [`div`] with respect to `a`: `dy / b`, summed over what was repeated.
///
/// # Errors
/// If the shapes do not fit.
#[compiled_here]
pub fn div_backward_a<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    b: impl IntoView<'a, T>,
    a: &[usize],
) -> Result<Tensor<T>> {
    reduce_to(zip("div backward", dy.into_view()?, b.into_view()?, T::div)?, a)
}

/// The gradient of [`div`] with respect to `b`: `−dy · a / b²`, summed over what was repeated.
///
/// # Errors
/// If the shapes do not fit.
#[compiled_here]
pub fn div_backward_b<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    a: impl IntoView<'a, T>,
    b: impl IntoView<'a, T>,
) -> Result<Tensor<T>> {
    let b = b.into_view()?;
    let slope = zip("div backward", a.into_view()?, (&b).into_view()?, slope::quotient)?;
    mul_backward(dy.into_view()?, slope, b.shape())
}

/// `x + addend`
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn add_scalar<'a, T: Float>(x: impl IntoView<'a, T>, addend: T) -> Result<Tensor<T>> {
    scalar(&x.into_view()?, addend, T::add)
}

/// `x · factor`; its gradient is `dy · factor`.
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn mul_scalar<'a, T: Float>(x: impl IntoView<'a, T>, factor: T) -> Result<Tensor<T>> {
    scalar(&x.into_view()?, factor, T::mul)
}

/// `−x`; its gradient is `−dy`.
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn neg<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    map(&x.into_view()?, T::neg)
}

/// `eˣ`
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn exp<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    map(&x.into_view()?, function::exp)
}

/// `dx = dy · y`
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn exp_backward<'a, T: Float>(dy: impl IntoView<'a, T>, y: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    backward("exp backward", dy.into_view()?, ("y", y.into_view()?), slope::exp)
}

/// The natural logarithm: −∞ at 0, NaN below.
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn log<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    map(&x.into_view()?, T::ln)
}

/// `dx = dy / x`
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn log_backward<'a, T: Float>(dy: impl IntoView<'a, T>, x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    backward("log backward", dy.into_view()?, ("x", x.into_view()?), slope::log)
}

/// `√x`, NaN below 0.
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn sqrt<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    map(&x.into_view()?, T::sqrt)
}

/// `dx = dy / 2y`
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn sqrt_backward<'a, T: Float>(dy: impl IntoView<'a, T>, y: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    backward("sqrt backward", dy.into_view()?, ("y", y.into_view()?), slope::sqrt)
}

/// `x` to the power of a constant.
///
/// As in PyTorch, ½ and −½ are square roots, and NaN for −∞, where IEEE 754's power has +∞
/// and 0.
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn powf<'a, T: Float>(x: impl IntoView<'a, T>, exponent: T) -> Result<Tensor<T>> {
    power(&x.into_view()?, exponent)
}

/// `dx = dy · exponent · x^(exponent − 1)`; 0 for an exponent of 0.
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn powf_backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    x: impl IntoView<'a, T>,
    exponent: T,
) -> Result<Tensor<T>> {
    power_backward(dy.into_view()?, &x.into_view()?, exponent)
}

/// `1 / (1 + e⁻ˣ)`
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn sigmoid<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    map(&x.into_view()?, function::sigmoid)
}

/// `dx = dy · (1 − y) · y`
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn sigmoid_backward<'a, T: Float>(
    dy: impl IntoView<'a, T>,
    y: impl IntoView<'a, T>,
) -> Result<Tensor<T>> {
    backward("sigmoid backward", dy.into_view()?, ("y", y.into_view()?), slope::sigmoid)
}

/// The hyperbolic tangent.
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn tanh<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    map(&x.into_view()?, function::tanh)
}

/// `dx = dy · (1 − y²)`
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn tanh_backward<'a, T: Float>(dy: impl IntoView<'a, T>, y: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    backward("tanh backward", dy.into_view()?, ("y", y.into_view()?), slope::tanh)
}

/// `x · Φ(x)`, where Φ is the normal distribution: a ReLU whose threshold is random (Hendrycks & Gimpel 2016,
/// "Gaussian Error Linear Units"), in its exact form.
///
/// # Errors
/// Only [those of every function](self).
#[compiled_here]
pub fn gelu<'a, T: Float>(x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    map(&x.into_view()?, gelu_of)
}

/// [`gelu`] between slices.
///
/// # Errors
/// If they are not equally long, or as [`gelu`].
#[compiled_here]
pub fn gelu_into<T: Float>(x: &[T], y: &mut [T]) -> Result<()> {
    check_length([y.len()], x.len())?;
    zip_update(y, x, |_, x| gelu_of(x))
}

/// `dx = dy · (Φ(x) + x · φ(x))`, with the density φ of the normal distribution.
///
/// # Errors
/// If the shapes differ.
#[compiled_here]
pub fn gelu_backward<'a, T: Float>(dy: impl IntoView<'a, T>, x: impl IntoView<'a, T>) -> Result<Tensor<T>> {
    backward("gelu backward", dy.into_view()?, ("x", x.into_view()?), slope::gelu)
}

#[inline(always)]
fn gelu_of<T: Float>(x: T) -> T {
    x * function::normal_below(x)
}

// What follows knows no operands but views, so that a loop is compiled once, not once for each kind of
// operand; for the same reason loops are given functions, not closures, above.

/// `f(x, number)`
fn scalar<T: Float>(x: &TensorView<'_, T>, number: T, f: impl Fn(T, T) -> T + Sync) -> Result<Tensor<T>> {
    map(x, |x| f(x, number))
}

fn power<T: Float>(x: &TensorView<'_, T>, exponent: T) -> Result<Tensor<T>> {
    let one = T::one();
    match exponent.to_f64() {
        2.0 => map(x, |x| x * x),
        3.0 => map(x, |x| x * x * x),
        0.5 => map(x, T::sqrt),
        -0.5 => map(x, |x| one / x.sqrt()),
        -1.0 => map(x, |x| one / x),
        _ => map(x, |x| x.powf(exponent)),
    }
}

fn power_backward<T: Float>(dy: TensorView<'_, T>, x: &TensorView<'_, T>, exponent: T) -> Result<Tensor<T>> {
    let operation = "powf backward";
    if exponent == T::zero() {
        return backward(operation, dy, ("x", x.into_view()?), |_, _| T::zero());
    }
    let slope = power(x, exponent - T::one())?;
    backward(operation, dy, ("x", slope.into_view()?), |dy, slope| dy * (exponent * slope))
}

/// `f(dy, known)`, of equal shapes, in the layout of what is known.
fn backward<T: Float>(
    operation: &'static str,
    dy: TensorView<'_, T>,
    (name, known): (&'static str, TensorView<'_, T>),
    f: impl Fn(T, T) -> T + Sync,
) -> Result<Tensor<T>> {
    KernelError::unless_same(operation, ("dy", dy.shape()), (name, known.shape()))?;
    zip_map(&known, dy, |known, dy| f(dy, known))
}

/// The gradients of functions of one number, for the gradient `dy` of the result.
mod slope {
    use residual_tensor::Float;

    use crate::ops::function::{normal_below, normal_density};

    #[inline(always)]
    pub(super) fn exp<T: Float>(dy: T, y: T) -> T {
        dy * y
    }

    #[inline(always)]
    pub(super) fn log<T: Float>(dy: T, x: T) -> T {
        dy / x
    }

    #[inline(always)]
    pub(super) fn sqrt<T: Float>(dy: T, y: T) -> T {
        dy / (T::of(2.0) * y)
    }

    #[inline(always)]
    pub(super) fn sigmoid<T: Float>(dy: T, y: T) -> T {
        dy * (T::one() - y) * y
    }

    #[inline(always)]
    pub(super) fn tanh<T: Float>(dy: T, y: T) -> T {
        dy * (T::one() - y * y)
    }

    #[inline(always)]
    pub(super) fn gelu<T: Float>(dy: T, x: T) -> T {
        dy * (normal_below(x) + x * normal_density(x))
    }

    /// That of `a / b` with respect to `b`, for a `dy` of 1.
    #[inline(always)]
    pub(super) fn quotient<T: Float>(a: T, b: T) -> T {
        -((a / b) / b)
    }
}
