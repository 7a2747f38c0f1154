//! Pooling layers.

use residual_autograd::{Result, Var};
use residual_kernels::Pool2dGeometry;
use residual_tensor::{Float, Shape};

use crate::{GraphBuilder, Mode, Module, NodeId, Op, Trace};

/// The largest value of each window.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool2d(pub Pool2dGeometry);

/// The mean of each window, padding counted as zeros.
#[derive(Debug, Clone, Copy)]
pub struct AvgPool2d(pub Pool2dGeometry);

/// The mean over all positions.
#[derive(Debug, Clone, Copy, Default)]
pub struct GlobalAvgPool;

impl<T: Float> Module<T> for MaxPool2d {
    /// # Shapes
    /// `[n, c, h, w]` to `[n, c, oh, ow]`, sizes as in convolution.
    fn forward(&self, x: &Var<T>, _mode: Mode) -> Result<Var<T>> {
        x.max_pool2d(&self.0)
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        window("max_pool2d", &self.0, input, trace)
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        graph.push("", Op::MaxPool2d(self.0), &[x])
    }
}

impl<T: Float> Module<T> for AvgPool2d {
    /// # Shapes
    /// `[n, c, h, w]` to `[n, c, oh, ow]`, sizes as in convolution.
    fn forward(&self, x: &Var<T>, _mode: Mode) -> Result<Var<T>> {
        x.avg_pool2d(&self.0)
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        window("avg_pool2d", &self.0, input, trace)
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        graph.push("", Op::AvgPool2d(self.0), &[x])
    }
}

impl<T: Float> Module<T> for GlobalAvgPool {
    /// # Shapes
    /// `[n, c, h, w]` to `[n, c]`.
    fn forward(&self, x: &Var<T>, _mode: Mode) -> Result<Var<T>> {
        x.global_avg_pool()
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        let [n, c, _, _] = input.dims("global_avg_pool")?;
        Ok(trace.layer("global_avg_pool", "", [input, &Shape::new([n, c])?], 0, 0))
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        graph.push("", Op::GlobalAvgPool, &[x])
    }
}

fn window(kind: &'static str, geometry: &Pool2dGeometry, input: &Shape, trace: &mut Trace) -> Result<Shape> {
    let [n, c, h, w] = input.dims(kind)?;
    let [oh, ow] = geometry.output_size([h, w])?;
    let detail = format!("{}×{}, stride {}", geometry.kernel[0], geometry.kernel[1], geometry.stride[0]);
    Ok(trace.layer(kind, detail, [input, &Shape::new([n, c, oh, ow])?], 0, 0))
}
