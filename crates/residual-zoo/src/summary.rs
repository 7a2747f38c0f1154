//! What a network costs: parameters, multiply-adds, memory. Nothing is run for it.

use residual_nn::{Graph, Layer, Module, Node, Pattern, Trace};
use residual_tensor::{Float, IntoShape, Shape};
use serde::Serialize;

use crate::{Network, Result};

/// The cost of a network for one input shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The network's name.
    pub model: String,
    /// Shape of the input, batch first.
    pub input: Shape,
    /// Trainable numbers.
    pub parameters: usize,
    /// Multiply-adds of convolutions and the linear layer, for the whole batch. The paper calls
    /// them FLOPs.
    pub multiply_adds: u64,
    /// Bytes of the layers' results that a training step keeps for its backward pass.
    pub activation_bytes: usize,
    /// The layers in order of execution.
    pub layers: Vec<Layer>,
}

impl Summary {
    /// Works out the cost of `net` for inputs of shape `[n, c, h, w]`.
    ///
    /// # Errors
    /// If the input does not fit, naming the layer that would refuse it.
    pub fn of<T: Float>(net: &Network<T>, input: impl IntoShape) -> Result<Self> {
        let input = input.into_shape().map_err(residual_nn::Error::from)?;
        let trace = net.trace(&input)?;
        Ok(Self {
            model: net.config().name.clone(),
            parameters: net.parameter_count(),
            multiply_adds: trace.multiply_adds,
            activation_bytes: kept(&net.graph(), &trace).saturating_mul(size_of::<T>()),
            input,
            layers: trace.layers,
        })
    }
}

/// Elements that a training step keeps: of a normalized convolution its own result, which the backward pass
/// normalizes again where it needs to, and what a group of operations writes to memory: everything but what
/// the convolutions behind it normalize on the way.
fn kept<T: Float>(graph: &Graph<T>, trace: &Trace) -> usize {
    let is_convolution = |node: Node| matches!(graph.pattern(node), Pattern::Conv2d(_));
    let mut read_elsewhere = vec![false; graph.nodes().len()];
    read_elsewhere[graph.output().index()] = true;
    for group in graph.groups_in_training() {
        for &input in graph.node(group.head).inputs.iter().filter(|_| !is_convolution(group.head)) {
            read_elsewhere[input.index()] = true;
        }
        group.add.iter().for_each(|add| read_elsewhere[add.addend.index()] = true);
    }
    let elements = |node: Node| trace.shapes[node.index()].elements();
    let groups = graph.groups_in_training().iter().map(|group| {
        let before_norm = if group.norm.is_some() { elements(group.head) } else { 0 };
        let is_recipe = (group.norm.is_some()
            || matches!(graph.pattern(group.head), Pattern::BatchNorm2d(_)))
            && group.add.is_none()
            && !read_elsewhere[group.result().index()];
        before_norm + if is_recipe { 0 } else { elements(group.result()) }
    });
    groups.sum()
}
