//! Pooling layers.

use residual_autograd::{Result, Var};
use residual_kernels::{Pool2dGeometry, avg_pool, global_avg_pool, max_pool};
use residual_tensor::{Float, Generator, Shape};

use crate::{
    BlockConfig, Kept, Mode, Module, Operation, Value,
    onnx::{Operand, Operator, both_sides},
    operation::only,
    plugin::{InBranch, Position},
    registry::{Sample, draw},
};

/// The largest value of each window.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool2d(pub Pool2dGeometry);

/// The mean of each window, padding counted as zeros.
#[derive(Debug, Clone, Copy)]
pub struct AvgPool2d(pub Pool2dGeometry);

impl AvgPool2d {
    /// The mean of squares of so many pixels, fewer at the end, so that sizes become what a convolution with
    /// such a stride makes of them: `⌈h / stride⌉`.
    pub fn shrinking(stride: usize) -> Self {
        Self(Pool2dGeometry::new(stride, stride).ceil_mode(true))
    }
}

/// The mean over all positions.
#[derive(Debug, Clone, Copy, Default)]
pub struct GlobalAvgPool {
    keeps_axes: bool,
}

impl GlobalAvgPool {
    /// The mean as a picture of one pixel.
    pub fn kept() -> Self {
        Self { keeps_axes: true }
    }
}

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

    fn keeps(&self) -> Kept {
        Kept::Positions
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

    fn keeps(&self) -> Kept {
        Kept::Nothing
    }

    fn onnx(&self) -> Vec<Operator> {
        // Without padding both are the same, but for programs that count what is behind it, too.
        let is_padded = i64::from(self.0.padding != [0, 0]);
        vec![window("AveragePool", &self.0).with("count_include_pad", is_padded)]
    }
}

impl<T: Float> Operation<T> for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    /// # Shapes
    /// `[n, c, h, w]` to `[n, c]`, or `[n, c, 1, 1]` if axes are [kept](Self::kept).
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let [n, c, _, _] = only(inputs).dims("global_avg_pool")?;
        Ok(if self.keeps_axes { Shape::new([n, c, 1, 1])? } else { Shape::new([n, c])? })
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        let y = only(inputs).global_avg_pool()?;
        if self.keeps_axes { y.reshape([y.shape()[0], y.shape()[1], 1, 1]) } else { Ok(y) }
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        let shape = inputs[0].shape.dims("global_avg_pool")?;
        Ok(global_avg_pool::forward_into(inputs[0].elements, y, shape)?)
    }

    fn keeps(&self) -> Kept {
        Kept::Nothing
    }

    fn onnx(&self) -> Vec<Operator> {
        let mean = Operator::new("GlobalAveragePool", [Operand::Input(0)]);
        let flattened = (!self.keeps_axes).then(|| Operator::new("Flatten", [Operand::Previous]));
        std::iter::once(mean).chain(flattened).collect()
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
        Ok((Self { keeps_axes: g.chance(0.5) }, draw::shape(g, 1)?))
    }
}

/// In place of a stride of 2: the mean of 2×2 pixels.
impl<T: Float> InBranch<T> for AvgPool2d {
    const NAME: &'static str = "aa";
    const POSITION: Position = Position::Stride;

    fn new(block: &BlockConfig, _g: &mut Generator) -> Result<Self> {
        Ok(Self::shrinking(block.stride))
    }

    fn stem_pool(_channels: usize) -> Option<Box<dyn Module<T>>> {
        // As timm: what is left over is left out.
        Some(Box::new(Self(Pool2dGeometry::new(2, 2))))
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
        .with("ceil_mode", i64::from(geometry.ceil_mode))
}
