//! The algorithm `Reference`: [`crate::reference::conv2d`] between slices of channels-last memory, in
//! any precision. It is slow, and what the others are held against.

use ndarray::Array4;
use residual_tensor::{Float, Shape};

use super::Conv2dShape;
use crate::{Result, error::check_length, reference::conv2d};

pub(super) fn forward<T: Float>(x: &[T], weight: &[T], y: &mut [T], shape: &Conv2dShape) -> Result<()> {
    let (x, weight) = (array(x, &shape.x())?, array(weight, &shape.weight())?);
    write(y, &conv2d::forward(x.view(), weight.view(), &shape.geometry)?);
    Ok(())
}

pub(super) fn backward_data<T: Float>(
    dy: &[T],
    weight: &[T],
    dx: &mut [T],
    shape: &Conv2dShape,
) -> Result<()> {
    let (dy, weight) = (array(dy, &shape.y())?, array(weight, &shape.weight())?);
    let x_shape = shape.x().dims("conv2d backward")?;
    write(dx, &conv2d::backward_data(dy.view(), weight.view(), x_shape, &shape.geometry)?);
    Ok(())
}

pub(super) fn backward_weights<T: Float>(x: &[T], dy: &[T], dw: &mut [T], shape: &Conv2dShape) -> Result<()> {
    let (x, dy) = (array(x, &shape.x())?, array(dy, &shape.y())?);
    let weight_shape = shape.weight().dims("conv2d backward")?;
    write(dw, &conv2d::backward_weights(x.view(), dy.view(), weight_shape, &shape.geometry)?);
    Ok(())
}

/// Channels-last numbers as an array of the given NCHW shape.
fn array<T: Float>(numbers: &[T], shape: &Shape) -> Result<Array4<f64>> {
    let [batch, channels, height, width] = shape.dims("conv2d")?;
    check_length([batch, channels, height, width], numbers.len())?;
    Ok(Array4::from_shape_fn([batch, channels, height, width], |(n, c, h, w)| {
        numbers[((n * height + h) * width + w) * channels + c].to_f64()
    }))
}

/// Writes an array to channels-last memory.
fn write<T: Float>(to: &mut [T], array: &Array4<f64>) {
    for (to, &value) in to.iter_mut().zip(array.view().permuted_axes([0, 2, 3, 1])) {
        *to = T::of(value);
    }
}
