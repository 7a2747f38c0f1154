//! Arithmetic element by element: `+ − × ÷` with [broadcasting](crate::ops::broadcast), and
//! functions of one number, each gradient under its forward pass.
//!
//! Whatever is not finite goes through as IEEE 754 has it, as in PyTorch.

use residual_tensor::{Float, Shape, Tensor};

use crate::{
    KernelError, Result,
    engine::parallel::{map, zip_map},
    ops::{
        broadcast::{reduce_to, zip},
        function,
    },
};

/// `a + b`; shapes [broadcast](crate::ops::broadcast::shape).
///
/// # Errors
/// If the shapes do not fit.
pub fn add<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
    zip("add", a, b, |a, b| a + b)
}

/// `a − b`; shapes [broadcast](crate::ops::broadcast::shape).
///
/// # Errors
/// If the shapes do not fit.
pub fn sub<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
    zip("sub", a, b, |a, b| a - b)
}

/// The gradient of [`add`] with respect to either operand, and of [`sub`] with respect to `a`, for an
/// operand of the given shape: `dy`, summed over what was repeated.
///
/// # Errors
/// If the shapes do not fit.
pub fn add_backward<T: Float>(dy: &Tensor<T>, operand: &Shape) -> Result<Tensor<T>> {
    reduce_to(dy, operand)
}

/// The gradient of [`sub`] with respect to `b`: `−dy`, summed over what was repeated.
///
/// # Errors
/// If the shapes do not fit.
pub fn sub_backward_b<T: Float>(dy: &Tensor<T>, b: &Shape) -> Result<Tensor<T>> {
    Ok(neg(&reduce_to(dy, b)?))
}

/// `a · b`; shapes [broadcast](crate::ops::broadcast::shape).
///
/// # Errors
/// If the shapes do not fit.
pub fn mul<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
    zip("mul", a, b, |a, b| a * b)
}

/// The gradient of [`mul`] with respect to one operand, of the given shape: `dy · other`, summed over
/// what was repeated.
///
/// # Errors
/// If the shapes do not fit.
pub fn mul_backward<T: Float>(dy: &Tensor<T>, other: &Tensor<T>, operand: &Shape) -> Result<Tensor<T>> {
    reduce_to(&zip("mul backward", dy, other, |dy, other| dy * other)?, operand)
}

/// `a / b`; shapes [broadcast](crate::ops::broadcast::shape).
///
/// # Errors
/// If the shapes do not fit.
pub fn div<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
    zip("div", a, b, |a, b| a / b)
}

/// The gradient of [`div`] with respect to `a`: `dy / b`, summed over what was repeated.
///
/// # Errors
/// If the shapes do not fit.
pub fn div_backward_a<T: Float>(dy: &Tensor<T>, b: &Tensor<T>, a: &Shape) -> Result<Tensor<T>> {
    reduce_to(&zip("div backward", dy, b, |dy, b| dy / b)?, a)
}

/// The gradient of [`div`] with respect to `b`: `−dy · a / b²`, summed over what was repeated.
///
/// # Errors
/// If the shapes do not fit.
pub fn div_backward_b<T: Float>(dy: &Tensor<T>, a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
    let slope = zip("div backward", a, b, |a, b| -((a / b) / b))?;
    mul_backward(dy, &slope, b.shape())
}

/// `x + addend`
pub fn add_scalar<T: Float>(x: &Tensor<T>, addend: T) -> Tensor<T> {
    map(x, |x| x + addend)
}

/// `x · factor`; its gradient is `dy · factor`.
pub fn mul_scalar<T: Float>(x: &Tensor<T>, factor: T) -> Tensor<T> {
    map(x, |x| x * factor)
}

/// `−x`; its gradient is `−dy`.
pub fn neg<T: Float>(x: &Tensor<T>) -> Tensor<T> {
    map(x, |x| -x)
}

/// `eˣ`
pub fn exp<T: Float>(x: &Tensor<T>) -> Tensor<T> {
    map(x, function::exp)
}

/// `dx = dy · y`
///
/// # Errors
/// If the shapes differ.
pub fn exp_backward<T: Float>(dy: &Tensor<T>, y: &Tensor<T>) -> Result<Tensor<T>> {
    backward("exp backward", dy, ("y", y), |dy, y| dy * y)
}

/// The natural logarithm: −∞ at 0, not a number below.
pub fn log<T: Float>(x: &Tensor<T>) -> Tensor<T> {
    map(x, T::ln)
}

/// `dx = dy / x`
///
/// # Errors
/// If the shapes differ.
pub fn log_backward<T: Float>(dy: &Tensor<T>, x: &Tensor<T>) -> Result<Tensor<T>> {
    backward("log backward", dy, ("x", x), |dy, x| dy / x)
}

/// `√x`, not a number below 0.
pub fn sqrt<T: Float>(x: &Tensor<T>) -> Tensor<T> {
    map(x, T::sqrt)
}

/// `dx = dy / 2y`
///
/// # Errors
/// If the shapes differ.
pub fn sqrt_backward<T: Float>(dy: &Tensor<T>, y: &Tensor<T>) -> Result<Tensor<T>> {
    let two = T::of(2.0);
    backward("sqrt backward", dy, ("y", y), |dy, y| dy / (two * y))
}

/// `x` to the power of a constant.
///
/// As in PyTorch, ½ and −½ are square roots, and not a number for −∞, where IEEE 754's power has +∞
/// and 0.
pub fn powf<T: Float>(x: &Tensor<T>, exponent: T) -> Tensor<T> {
    let one = T::one();
    match exponent.to_f64() {
        2.0 => map(x, |x| x * x),
        3.0 => map(x, |x| x * x * x),
        0.5 => sqrt(x),
        -0.5 => map(x, |x| one / x.sqrt()),
        -1.0 => map(x, |x| one / x),
        _ => map(x, |x| x.powf(exponent)),
    }
}

/// `dx = dy · exponent · x^(exponent − 1)`; 0 for an exponent of 0.
///
/// # Errors
/// If the shapes differ.
pub fn powf_backward<T: Float>(dy: &Tensor<T>, x: &Tensor<T>, exponent: T) -> Result<Tensor<T>> {
    if exponent == T::zero() {
        return backward("powf backward", dy, ("x", x), |_, _| T::zero());
    }
    let slope = powf(x, exponent - T::one());
    backward("powf backward", dy, ("x", &slope), |dy, slope| dy * (exponent * slope))
}

/// `1 / (1 + e⁻ˣ)`
pub fn sigmoid<T: Float>(x: &Tensor<T>) -> Tensor<T> {
    map(x, |x| T::one() / (T::one() + function::exp(-x)))
}

/// `dx = dy · (1 − y) · y`
///
/// # Errors
/// If the shapes differ.
pub fn sigmoid_backward<T: Float>(dy: &Tensor<T>, y: &Tensor<T>) -> Result<Tensor<T>> {
    backward("sigmoid backward", dy, ("y", y), |dy, y| dy * (T::one() - y) * y)
}

/// The hyperbolic tangent.
pub fn tanh<T: Float>(x: &Tensor<T>) -> Tensor<T> {
    map(x, function::tanh)
}

/// `dx = dy · (1 − y²)`
///
/// # Errors
/// If the shapes differ.
pub fn tanh_backward<T: Float>(dy: &Tensor<T>, y: &Tensor<T>) -> Result<Tensor<T>> {
    backward("tanh backward", dy, ("y", y), |dy, y| dy * (T::one() - y * y))
}

/// `f(dy, known)`, of equal shapes.
fn backward<T: Float>(
    operation: &'static str,
    dy: &Tensor<T>,
    (name, known): (&'static str, &Tensor<T>),
    f: impl Fn(T, T) -> T + Sync,
) -> Result<Tensor<T>> {
    KernelError::unless_same(operation, ("dy", dy.shape()), (name, known.shape()))?;
    Ok(zip_map(known, dy, |known, dy| f(dy, known)))
}
