//! Pooling layers.

use residual_autograd::{Result, Var};
use residual_kernels::{Pool2dGeometry, avg_pool, global_avg_pool, max_pool};
use residual_tensor::{Float, Generator, Shape};

use crate::{
    Mode, Operation, Value,
    onnx::{Operand, Operator, both_sides},
    operation::only,
    registry::{Sample, draw},
};

/// The largest value of each window.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool2d(pub Pool2dGeometry);

/// The mean of each window, padding counted as zeros.
#[derive(Debug, Clone, Copy)]
pub struct AvgPool2d(pub Pool2dGeometry);

/// The mean over all positions.
#[derive(Debug, Clone, Copy, Default)]
pub struct GlobalAvgPool;

impl<T: Float> Operation<T> for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn detail(&self) -> String {
        describe(&self.0)
    }

    /// # Shapes
    /// `[n, c, h, w]` to `[n, c, oh, ow]`, sizes as in convolution.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(self.0.resolve(only(inputs))?.y())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        only(inputs).max_pool2d(&self.0)
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        Ok(max_pool::forward_into(inputs[0].elements, y, &self.0.resolve(inputs[0].shape)?)?)
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![window("MaxPool", &self.0)]
    }
}

impl<T: Float> Operation<T> for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn detail(&self) -> String {
        describe(&self.0)
    }

    /// # Shapes
    /// `[n, c, h, w]` to `[n, c, oh, ow]`, sizes as in convolution.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(self.0.resolve(only(inputs))?.y())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        only(inputs).avg_pool2d(&self.0)
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        Ok(avg_pool::forward_into(inputs[0].elements, y, &self.0.resolve(inputs[0].shape)?)?)
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![window("AveragePool", &self.0).with("count_include_pad", 1)]
    }
}

impl<T: Float> Operation<T> for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    /// # Shapes
    /// `[n, c, h, w]` to `[n, c]`.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let [n, c, _, _] = only(inputs).dims("global_avg_pool")?;
        Ok(Shape::new([n, c])?)
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        only(inputs).global_avg_pool()
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        let shape = inputs[0].shape.dims("global_avg_pool")?;
        Ok(global_avg_pool::forward_into(inputs[0].elements, y, shape)?)
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![
            Operator::new("GlobalAveragePool", [Operand::Input(0)]),
            Operator::new("Flatten", [Operand::Previous]),
        ]
    }
}

impl Sample for MaxPool2d {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        Ok((Self(draw::window(g)), draw::shape(g, 1)?))
    }
}

impl Sample for AvgPool2d {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        Ok((Self(draw::window(g)), draw::shape(g, 1)?))
    }
}

impl Sample for GlobalAvgPool {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        Ok((Self, draw::shape(g, 1)?))
    }
}

/// `3×3, stride 2`.
fn describe(geometry: &Pool2dGeometry) -> String {
    let [height, width] = geometry.kernel;
    format!("{height}×{width}, stride {}", geometry.stride[0])
}

fn window(name: &'static str, geometry: &Pool2dGeometry) -> Operator {
    Operator::new(name, [Operand::Input(0)])
        .with("kernel_shape", geometry.kernel)
        .with("strides", geometry.stride)
        .with("pads", both_sides(geometry.padding))
}
