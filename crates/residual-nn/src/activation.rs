//! Activations.

use residual_autograd::{Result, Var};
use residual_tensor::{Float, Shape};

use crate::{GraphBuilder, Mode, Module, NodeId, Op, Trace};

/// Rectified linear unit, `max(x, 0)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Relu;

impl<T: Float> Module<T> for Relu {
    /// # Shapes
    /// Any, unchanged.
    fn forward(&self, x: &Var<T>, _mode: Mode) -> Result<Var<T>> {
        x.relu()
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        Ok(trace.layer("relu", "", [input, input], 0, 0))
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        graph.push("", Op::Relu, &[x])
    }
}
