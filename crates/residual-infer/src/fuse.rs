//! Which operations of a graph become one step.
//!
//! Batch normalization in evaluation mode is a scale and a shift per channel. Behind a convolution
//! the scale goes into the weight and the shift becomes a bias; a sum and a ReLU behind that are
//! done to the convolution's results before they leave the registers. An operation is taken up only
//! if nobody else wants to see what stands before it.

use residual_kernels::{Conv2dGeometry, Pool2dGeometry};
use residual_nn::{Graph, Node, NodeId, Op};
use residual_tensor::{Layout, Tensor};

/// One or more nodes of the graph, computed together. Inputs are results of other steps, named by
/// the last of their nodes.
#[derive(Debug)]
pub(crate) struct Fused {
    /// The path of the first node.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// What the step reads first.
    pub(crate) x: NodeId,
    /// What is added, of the output's shape.
    pub(crate) addend: Option<NodeId>,
    /// Whether negative results become zero, at the end.
    pub(crate) relu: bool,
    /// The last node: whose result this is.
    pub(crate) result: NodeId,
}

/// What a step does, before addend and ReLU.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A convolution with a bias. A linear layer is one, of a single pixel.
    Conv2d { weight: Tensor<f32>, bias: Vec<f32>, geometry: Conv2dGeometry },
    /// A scale and a shift per channel.
    Affine { scale: Vec<f32>, shift: Vec<f32> },
    /// Nothing: a sum or a ReLU that nothing could take up.
    Identity,
    /// The largest value of each window.
    MaxPool2d(Pool2dGeometry),
    /// The mean of each window.
    AvgPool2d(Pool2dGeometry),
    /// The mean over all positions.
    GlobalAvgPool,
    /// Every `stride`-th pixel, with zero channels on both sides.
    SubsamplePad { stride: usize, channels: usize },
}

impl Kind {
    /// Elements of the weight.
    pub(crate) fn weight_len(&self) -> usize {
        match self {
            Self::Conv2d { weight, .. } => weight.len(),
            _ => 0,
        }
    }

    /// Whether sums and ReLUs can be done to the results on their way to memory.
    fn has_epilogue(&self) -> bool {
        matches!(self, Self::Conv2d { .. } | Self::Affine { .. } | Self::Identity)
    }
}

/// The steps of a graph, each behind those that it reads from. None for the input.
pub(crate) fn fuse(graph: &Graph<f32>) -> Vec<Fused> {
    let uses = graph.uses();
    let mut fusion = Fusion { steps: Vec::new(), of_node: vec![None; uses.len()], uses };
    for (id, node) in graph.iter() {
        fusion.add(id, node);
    }
    // A step stands where its last node stood: behind whatever it adds.
    let mut steps: Vec<Fused> = fusion.steps.into_iter().flatten().collect();
    steps.sort_by_key(|step| step.result);
    steps
}

struct Fusion {
    steps: Vec<Option<Fused>>,
    /// For each node the step whose result is its own.
    of_node: Vec<Option<usize>>,
    /// How many nodes read each node's result; the end of the graph counts as one.
    uses: Vec<usize>,
}

impl Fusion {
    fn add(&mut self, id: NodeId, node: &Node<f32>) {
        let kind = match &node.op {
            Op::Input => return,
            Op::Conv2d { weight, geometry } => {
                let weight = weight.value().to_layout(Layout::ChannelsLast);
                let bias = vec![0.0; weight.shape()[0]];
                Kind::Conv2d { weight, bias, geometry: *geometry }
            }
            Op::Linear { weight, bias } => {
                let weight = weight.value();
                let shape = [weight.shape()[0], weight.shape()[1], 1, 1];
                let weight = weight.reshape(shape).expect("a matrix is a kernel of one pixel");
                Kind::Conv2d { weight, bias: bias.value().to_vec(), geometry: Conv2dGeometry::new(1, 1) }
            }
            Op::BatchNorm2d { .. } => {
                let lines = node.op.scales_and_shifts().expect("this is a normalization");
                return self.normalize(id, node, &lines);
            }
            Op::Relu => return self.relu(id, node),
            Op::Add => return self.sum(id, node),
            Op::MaxPool2d(geometry) => Kind::MaxPool2d(*geometry),
            Op::AvgPool2d(geometry) => Kind::AvgPool2d(*geometry),
            Op::GlobalAvgPool => Kind::GlobalAvgPool,
            &Op::SubsamplePad { stride, channels } => Kind::SubsamplePad { stride, channels },
        };
        self.push(id, node, kind);
    }

    /// A step of its own.
    fn push(&mut self, id: NodeId, node: &Node<f32>, kind: Kind) -> &mut Fused {
        self.of_node[id.index()] = Some(self.steps.len());
        let path = node.path.clone();
        let step = Fused { path, kind, x: node.inputs[0], addend: None, relu: false, result: id };
        self.steps.push(Some(step));
        self.steps.last_mut().and_then(Option::as_mut).expect("the step that was pushed")
    }

    /// The step that computes a node, if nobody else reads its result and `suits` holds; from now
    /// on its result is that of `id`.
    fn take_up(
        &mut self,
        node: NodeId,
        id: NodeId,
        suits: impl FnOnce(&Fused) -> bool,
    ) -> Option<&mut Fused> {
        let index = self.of_node[node.index()].filter(|_| self.uses[node.index()] == 1)?;
        let step = self.steps[index].as_mut().filter(|step| suits(step))?;
        step.result = id;
        self.of_node[id.index()] = Some(index);
        Some(step)
    }

    /// Batch normalization, as a scale and a shift for each channel.
    fn normalize(&mut self, id: NodeId, node: &Node<f32>, lines: &[(f64, f64)]) {
        let suits = |step: &Fused| {
            matches!(&step.kind, Kind::Conv2d { bias, .. } if bias.len() == lines.len())
                && step.addend.is_none()
                && !step.relu
        };
        let taken = self.take_up(node.inputs[0], id, suits);
        if let Some(Fused { kind: Kind::Conv2d { weight, bias, .. }, .. }) = taken {
            // Channels-last memory: the weights of an output channel are neighbours.
            let window = (weight.len() / lines.len().max(1)).max(1);
            let channels = weight.as_mut_slice().chunks_exact_mut(window).zip(bias).zip(lines);
            for ((weights, bias), &(scale, shift)) in channels {
                for weight in weights {
                    *weight = (f64::from(*weight) * scale) as f32;
                }
                *bias = (f64::from(*bias) * scale + shift) as f32;
            }
            return;
        }
        let (scale, shift) = lines.iter().map(|&(scale, shift)| (scale as f32, shift as f32)).unzip();
        self.push(id, node, Kind::Affine { scale, shift });
    }

    fn relu(&mut self, id: NodeId, node: &Node<f32>) {
        match self.take_up(node.inputs[0], id, |step| step.kind.has_epilogue()) {
            Some(step) => step.relu = true,
            None => self.push(id, node, Kind::Identity).relu = true,
        }
    }

    fn sum(&mut self, id: NodeId, node: &Node<f32>) {
        let [a, b] = [node.inputs[0], node.inputs[1]];
        // A convolution adds while it computes, the branch rather than the projection beside it.
        for (x, addend) in [(a, b), (b, a)] {
            let suits = |step: &Fused| {
                matches!(step.kind, Kind::Conv2d { .. }) && step.addend.is_none() && !step.relu
            };
            if let Some(step) = self.take_up(x, id, suits) {
                step.addend = Some(addend);
                return;
            }
        }
        self.push(id, node, Kind::Identity).addend = Some(b);
    }
}
