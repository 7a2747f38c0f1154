//! Weights of a convolution, folded and packed when they are first needed, and shared from then on.

use std::sync::{Arc, Mutex};

use residual_kernels::{Conv2dShape, fused::PackedConv2d};
use residual_nn::{Conv2dGeometry, Graph, Node, Pattern, Result, fusion::Group};
use residual_tensor::{Shape, Tensor};

use crate::lock;

/// A convolution, or a linear layer as one of a single pixel, with the normalization behind it.
#[derive(Debug)]
pub(crate) struct Convolution {
    pub(crate) geometry: Conv2dGeometry,
    /// The shape of the weight, as a convolution has it.
    pub(crate) weight: Shape,
    head: Node,
    norm: Option<Node>,
    /// In each order that some shape of input has needed.
    packed: Mutex<Vec<Packed>>,
}

/// A weight for inputs of one shape, with its bias. A copy shares the memory.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) weight: PackedConv2d,
    pub(crate) bias: Arc<[f32]>,
}

impl Convolution {
    /// The convolution or linear layer at the head of a group.
    pub(crate) fn new(group: &Group, geometry: Conv2dGeometry, weight: Shape) -> Self {
        Self { geometry, weight, head: group.head, norm: group.norm, packed: Mutex::default() }
    }

    /// The weight for inputs of a shape.
    ///
    /// # Errors
    /// If there is no memory for it, with the path of the layer.
    pub(crate) fn packed(&self, graph: &Graph<f32>, shape: &Conv2dShape) -> Result<Packed> {
        // Threads that need the same weight wait here for the first of them to pack it.
        let mut known = lock(&self.packed);
        for packed in &*known {
            if let Some(weight) = packed.weight.reshaped(shape)? {
                return Ok(Packed { weight, bias: packed.bias.clone() });
            }
        }
        let (weight, bias) = self.folded(graph)?;
        let packed = Packed { weight: PackedConv2d::new(&weight, shape)?, bias: bias.into() };
        let path = &graph.node(self.head).path;
        log::debug!("{path}, {}: {}", weight.shape(), packed.weight.algorithm().name());
        known.push(packed.clone());
        Ok(packed)
    }

    /// Weight and bias with the normalization folded into them.
    fn folded(&self, graph: &Graph<f32>) -> Result<(Tensor<f32>, Vec<f32>)> {
        match graph.pattern(self.head) {
            Pattern::Conv2d(convolution) => {
                let norm = self.norm.and_then(|norm| match graph.pattern(norm) {
                    Pattern::BatchNorm2d(norm) => Some(norm),
                    _ => None,
                });
                let last = self.norm.unwrap_or(self.head);
                convolution.folded(norm).map_err(|error| error.at(&graph.node(last).path))
            }
            Pattern::Linear(linear) => {
                Ok((linear.weight.value().reshape(self.weight.clone())?, linear.bias.value().to_vec()))
            }
            _ => unreachable!("made of one of the two"),
        }
    }
}
