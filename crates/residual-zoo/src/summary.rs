//! What a network costs: parameters, multiply-adds, memory. Nothing is run for it.

use residual_nn::{Graph, Kept, Layer, Module, Pattern, Trace};
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
    /// Elements of all parameters.
    pub parameters: usize,
    /// Multiply-adds of convolutions and the linear layer, for the whole batch. The paper calls
    /// them FLOPs.
    pub multiply_adds: u64,
    /// Bytes of values that a training step keeps for its backward pass, besides the input.
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
            activation_bytes: kept(&net.graph(), &trace),
            input,
            layers: trace.layers,
        })
    }
}

/// Bytes that a training step keeps: of each operation what its backward pass needs, every value once. Where a
/// normalization runs fused, it keeps what it normalizes, and convolutions behind it keep nothing more: they
/// normalize that again.
fn kept<T: Float>(graph: &Graph<T>, trace: &Trace) -> usize {
    let mut kept = vec![false; graph.nodes().len()];
    let mut is_recipe = kept.clone();
    let mut positions = 0;
    for group in graph.groups_in_training() {
        let fused = graph.normalization(group);
        for node in group.members() {
            let inputs = &graph.node(node).inputs;
            match (graph.operation(node).keeps(), fused) {
                // A ReLU behind a sum is undone by the sign of its result, one behind a normalization without.
                (Kept::Output, Some(_)) => kept[node.index()] |= group.add.is_some(),
                (Kept::Output, None) => kept[node.index()] = true,
                (Kept::Positions, _) => {
                    let length = trace.shapes[node.index()].elements();
                    positions = length.saturating_mul(size_of::<i32>()).saturating_add(positions);
                }
                (Kept::Nothing, _) => {}
                (Kept::Inputs, _) => {
                    let normalizes = matches!(graph.pattern(node), Pattern::Conv2d(_));
                    let read = inputs.iter().map(|input| input.index());
                    read.filter(|&input| !(normalizes && is_recipe[input]))
                        .for_each(|input| kept[input] = true);
                }
            }
        }
        is_recipe[group.result().index()] = fused.is_some() && group.add.is_none();
    }
    // The input of the network is there anyway.
    let values = kept.iter().zip(&trace.shapes).skip(1).filter(|(kept, _)| **kept);
    let elements = values.fold(0usize, |sum, (_, shape)| sum.saturating_add(shape.elements()));
    elements.saturating_mul(size_of::<T>()).saturating_add(positions)
}
