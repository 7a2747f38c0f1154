//! Layers that stand next to each other, run together.
//!
//! In training, memory traffic costs about as much as arithmetic. A convolution takes the
//! statistics of its result as it goes, and normalization, addition and activation share a pass.
//! On a tape that is observed, and in evaluation, each layer runs by itself; the results agree.

use residual_autograd::{Result, Var};
use residual_tensor::Float;

use crate::{BatchNorm2d, Conv2d, Mode, Module};

/// Convolution, normalization, addition of `addend` if there is one, and ReLU if `relu`.
///
/// # Shapes
/// As the convolution; the addend is like its output.
///
/// # Errors
/// If shapes do not fit, with the path of the layer that refused them.
pub fn conv_norm<T: Float>(
    (conv_name, conv): (&str, &Conv2d<T>),
    (norm_name, norm): (&str, &BatchNorm2d<T>),
    x: &Var<T>,
    mode: Mode,
    addend: Option<&Var<T>>,
    relu: bool,
) -> Result<Var<T>> {
    if !norm.is_fused(x, mode) {
        let y = norm.call(norm_name, &conv.call(conv_name, x, mode)?, mode)?;
        let y = addend.map_or(Ok(y.clone()), |addend| y.add(addend))?;
        return if relu { y.relu() } else { Ok(y) };
    }
    let mut statistics = None;
    let y = x.tape().scope(conv_name, || {
        let (y, taken) = conv.forward_with_statistics(x)?;
        statistics = Some(taken);
        Ok(y)
    })?;
    x.tape().scope(norm_name, || norm.forward_fused(&y, statistics, addend, relu))
}

/// Normalization and ReLU.
///
/// # Shapes
/// `[n, c, h, w]`, unchanged.
///
/// # Errors
/// If the shape does not fit, with the path of the normalization.
pub fn norm_relu<T: Float>((name, norm): (&str, &BatchNorm2d<T>), x: &Var<T>, mode: Mode) -> Result<Var<T>> {
    if !norm.is_fused(x, mode) {
        return norm.call(name, x, mode)?.relu();
    }
    x.tape().scope(name, || norm.forward_fused(x, None, None, true))
}
