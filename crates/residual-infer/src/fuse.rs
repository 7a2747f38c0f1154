//! What each group of operations computes in evaluation mode.
//!
//! Which operations make a group is the network's business ([`residual_nn::fusion`]). Batch normalization in
//! evaluation mode is a scale and a shift per channel. Behind a convolution the scale goes into the weight
//! and the shift becomes a bias; a sum and a ReLU behind that are done to the convolution's results before
//! they leave the registers.

use std::sync::Arc;

use residual_nn::{Conv2dGeometry, Graph, Node, Operation, Pattern, fusion::Group};
use residual_tensor::Shape;

use crate::packed::Convolution;

/// A group of operations. Inputs are results of other groups, named by the last of their nodes.
#[derive(Debug)]
pub(crate) struct Fused {
    /// The path of the first node.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// What it reads.
    pub(crate) inputs: Vec<Node>,
    /// What is added, of the output's shape.
    pub(crate) addend: Option<Node>,
    /// Whether negative results become zero, at the end.
    pub(crate) relu: bool,
    /// The last node: whose result this is.
    pub(crate) result: Node,
}

/// What a group does, before addend and ReLU.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A convolution with a bias. A linear layer is one, of a single pixel.
    Conv2d(Convolution),
    /// A scale and a shift per channel.
    Affine { scale: Arc<[f32]>, shift: Arc<[f32]> },
    /// Nothing: a sum or a ReLU that no convolution has taken up.
    Identity,
    /// What runs alone.
    Other(Arc<dyn Operation<f32>>),
}

impl Kind {
    /// Elements of the weight.
    pub(crate) fn weight_len(&self) -> usize {
        match self {
            Self::Conv2d(convolution) => convolution.weight.elements(),
            _ => 0,
        }
    }
}

/// The groups of a graph, each behind those that it reads from. None for the input.
pub(crate) fn fuse(graph: &Graph<f32>) -> Vec<Fused> {
    graph.groups().iter().map(|group| Fused::new(graph, group)).collect()
}

impl Fused {
    fn new(graph: &Graph<f32>, group: &Group) -> Self {
        let head = graph.node(group.head);
        let mut inputs = head.inputs.clone();
        let mut addend = group.add.map(|add| add.addend);
        let mut relu = group.relu.is_some();
        let kind = match graph.pattern(group.head) {
            Pattern::Conv2d(convolution) => {
                let weight = convolution.weight.shape();
                Kind::Conv2d(Convolution::new(group, *convolution.geometry(), weight))
            }
            Pattern::Linear(linear) => {
                // As many elements as the weight has now.
                let weight = Shape::new([linear.weight.shape().to_vec(), vec![1, 1]].concat());
                let weight = weight.expect("a shape with two axes of length 1 more");
                Kind::Conv2d(Convolution::new(group, Conv2dGeometry::new(1, 1), weight))
            }
            Pattern::BatchNorm2d(norm) => {
                let lines = norm.scales_and_shifts().into_iter();
                let (scale, shift): (Vec<_>, Vec<_>) =
                    lines.map(|(scale, shift)| (scale as f32, shift as f32)).unzip();
                Kind::Affine { scale: scale.into(), shift: shift.into() }
            }
            Pattern::Add => {
                addend = inputs.pop();
                Kind::Identity
            }
            Pattern::Relu => {
                relu = true;
                Kind::Identity
            }
            Pattern::Other => Kind::Other(head.operation.clone().expect("the input is in no group")),
        };
        Self { path: head.path.clone(), kind, inputs, addend, relu, result: group.result() }
    }
}
