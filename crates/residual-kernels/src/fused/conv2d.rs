//! Convolutions as training runs them: their input may be normalized on the way, the statistics of their
//! output are taken on the way, and a gradient is added to another one on the way.

use residual_tensor::{Float, Layout, Shape, Tensor};

use super::Input;
use crate::{
    BatchStatistics, Conv2dGeometry, Result,
    ops::{
        add, batch_norm,
        conv2d::{
            choose, cost, fast_backward_data, resolve_backward, run_backward_data, run_backward_weights,
            run_forward,
        },
    },
};

/// [`conv2d::forward`](crate::conv2d::forward) of an [`Input`].
///
/// # Shapes
/// `x [n, c, h, w]`, `weight [o, c / groups, kh, kw]` → `[n, o, oh, ow]`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`].
pub fn forward<'a, T: Float>(
    x: impl Into<Input<'a, T>>,
    weight: &Tensor<T>,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let x = x.into();
    let shape = geometry.resolve(x.shape(), weight.shape())?;
    Ok(run_forward(choose(&shape, cost::forward::<T>)?, x, weight.into(), &shape, false)?.0)
}

/// [`forward`], with the statistics of its output that batch normalization needs. They cost next
/// to nothing: they are taken while results are in registers.
///
/// # Errors
/// As [`forward`].
pub fn forward_with_statistics<'a, T: Float>(
    x: impl Into<Input<'a, T>>,
    weight: &Tensor<T>,
    geometry: &Conv2dGeometry,
) -> Result<(Tensor<T>, BatchStatistics)> {
    let x = x.into();
    let shape = geometry.resolve(x.shape(), weight.shape())?;
    let (y, statistics) = run_forward(choose(&shape, cost::forward::<T>)?, x, weight.into(), &shape, true)?;
    let statistics = statistics.map_or_else(|| batch_norm::statistics(&(&y).into()), Ok)?;
    Ok((y, statistics))
}

/// [`conv2d::backward_data`](crate::conv2d::backward_data), added to `dx`, a gradient that came another
/// way. That saves a pass over memory.
///
/// # Errors
/// As [`conv2d::backward_data`](crate::conv2d::backward_data).
pub fn accumulate_backward_data<T: Float>(
    dy: &Tensor<T>,
    weight: &Tensor<T>,
    dx: &mut Tensor<T>,
    geometry: &Conv2dGeometry,
) -> Result<()> {
    let shape = resolve_backward(&dy.into(), dx.shape(), weight.shape(), geometry)?;
    let algorithm = choose(&shape, cost::backward_data::<T>)?;
    if dy.is_empty() || weight.is_empty() {
        return Ok(());
    }
    if !algorithm.is_fast() || dx.layout() != Layout::ChannelsLast {
        let other = run_backward_data(algorithm, dy.into(), weight.into(), &shape)?;
        return add::accumulate(dx, &other);
    }
    fast_backward_data(algorithm, dy.into(), weight.into(), dx.as_mut_slice(), &shape, true)
}

/// [`conv2d::backward_weights`](crate::conv2d::backward_weights) of an [`Input`].
///
/// # Shapes
/// `x [n, c, h, w]`, `dy [n, o, oh, ow]` → `[o, c / groups, kh, kw]`, which is `weight_shape`.
///
/// # Errors
/// As [`Conv2dGeometry::resolve`], or if `dy` does not have the output's shape.
pub fn backward_weights<'a, T: Float>(
    x: impl Into<Input<'a, T>>,
    dy: &Tensor<T>,
    weight_shape: &Shape,
    geometry: &Conv2dGeometry,
) -> Result<Tensor<T>> {
    let x = x.into();
    let shape = resolve_backward(&dy.into(), x.shape(), weight_shape, geometry)?;
    run_backward_weights(choose(&shape, cost::backward_weights::<T>)?, x, dy.into(), &shape)
}
