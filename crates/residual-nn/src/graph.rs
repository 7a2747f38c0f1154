//! What a network computes when it no longer learns, as a list of operations.
//!
//! A [`Graph`] is made by walking over a module ([`Module::describe`]), without a tensor going
//! through it. Compilers and writers of other formats read it; nothing trains it, and it holds no
//! shapes but those of its weights.

use residual_autograd::{AutogradError as Error, Result, State};
use residual_kernels::{
    Conv2dGeometry, Pool2dGeometry, add, avg_pool, batch_norm, conv2d, global_avg_pool, linear, max_pool,
    relu, subsample_pad,
};
use residual_tensor::{Float, Tensor};

use crate::{Module, module::join};

/// A position in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl NodeId {
    /// The position as a number.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a node does with its inputs. Batch normalization is that of
/// [`Mode::Eval`](crate::Mode::Eval): by its running statistics.
#[derive(Debug, Clone)]
pub enum Op<T: Float> {
    /// The input of the graph: node 0, and no other.
    Input,
    /// Convolution without bias.
    Conv2d {
        /// `[out_channels, in_channels / groups, kernel height, width]`.
        weight: State<T>,
        /// Kernel, stride, padding, dilation, groups.
        geometry: Conv2dGeometry,
    },
    /// `weight · (x − running_mean) / √(running_var + eps) + bias` in each channel.
    BatchNorm2d {
        /// γ, `[c]`.
        weight: State<T>,
        /// β, `[c]`.
        bias: State<T>,
        /// `[c]`.
        running_mean: State<T>,
        /// `[c]`.
        running_var: State<T>,
        /// Added to the variance.
        eps: f64,
    },
    /// `max(x, 0)`
    Relu,
    /// The sum of two inputs of the same shape.
    Add,
    /// The largest value of each window.
    MaxPool2d(Pool2dGeometry),
    /// The mean of each window, padding counted as zeros.
    AvgPool2d(Pool2dGeometry),
    /// The mean over all positions, `[n, c, h, w]` to `[n, c]`.
    GlobalAvgPool,
    /// `x·weightᵀ + bias`
    Linear {
        /// `[out_features, in_features]`.
        weight: State<T>,
        /// `[out_features]`.
        bias: State<T>,
    },
    /// Every `stride`-th pixel, with zero channels on both sides: shortcut A.
    SubsamplePad {
        /// Every how many pixels one is taken.
        stride: usize,
        /// Channels of the output.
        channels: usize,
    },
}

impl<T: Float> Op<T> {
    /// A normalization as the scale and the shift that it comes to in each channel:
    /// `γ/√(var + eps)` and `β − γ/√(var + eps) · mean`. Nothing for other operations.
    pub fn scales_and_shifts(&self) -> Option<Vec<(f64, f64)>> {
        let Self::BatchNorm2d { weight, bias, running_mean, running_var, eps } = self else { return None };
        let [gamma, beta, mean, variance] =
            [weight, bias, running_mean, running_var].map(|state| state.value());
        let line = |channel: usize| {
            let at = |tensor: &Tensor<T>| tensor.as_slice()[channel].to_f64();
            let scale = at(&gamma) / (at(&variance) + eps).sqrt();
            (scale, at(&beta) - at(&mean) * scale)
        };
        Some((0..gamma.len()).map(line).collect())
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Node<T: Float> {
    /// Where it is in the network, unique: `layer1.0.conv2`; what has no states is named after
    /// what it does, `layer1.0.add`.
    pub path: String,
    /// What it does.
    pub op: Op<T>,
    /// The nodes that it takes its inputs from, all of them before itself.
    pub inputs: Vec<NodeId>,
}

/// A network in evaluation mode as operations in an order in which they can be executed.
///
/// ```
/// use residual_nn::{Block, BlockConfig, Graph};
/// use residual_tensor::Generator;
///
/// let block = Block::<f32>::new(&BlockConfig::basic(8, 8), &mut Generator::new(0))?;
/// let graph = Graph::of(&block);
/// let paths: Vec<_> = graph.nodes().iter().map(|node| node.path.as_str()).collect();
/// assert_eq!(paths, ["input", "conv1", "bn1", "relu1", "conv2", "bn2", "add", "relu2"]);
/// assert_eq!(graph.node(graph.output()).path, "relu2");
/// # Ok::<(), residual_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Graph<T: Float> {
    nodes: Vec<Node<T>>,
    output: NodeId,
}

impl<T: Float> Graph<T> {
    /// The graph of a module. It shares the module's states: what is learnt later shows in it.
    pub fn of(module: &dyn Module<T>) -> Self {
        let input = Node { path: "input".into(), op: Op::Input, inputs: Vec::new() };
        let mut builder = GraphBuilder { path: String::new(), nodes: vec![input] };
        let output = module.describe(&mut builder, NodeId(0));
        Self { nodes: builder.nodes, output }
    }

    /// All nodes, each behind its inputs. The first is the [input](Op::Input).
    pub fn nodes(&self) -> &[Node<T>] {
        &self.nodes
    }

    /// The node at a position.
    pub fn node(&self, id: NodeId) -> &Node<T> {
        &self.nodes[id.0]
    }

    /// Every node with its position.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NodeId, &Node<T>)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index), node))
    }

    /// The node whose result is the module's.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// How many nodes read each node's result; the end of the graph counts as one.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for input in self.nodes.iter().flat_map(|node| &node.inputs).chain([&self.output]) {
            uses[input.0] += 1;
        }
        uses
    }

    /// The module's answer, one operation after the other: what compiled forms of the graph are
    /// held against. A result goes when nothing needs it any more.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the node that refused it.
    pub fn evaluate(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        let mut last_use = vec![self.nodes.len(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|input| last_use[input.0] = index);
        }
        last_use[self.output.0] = self.nodes.len();
        let mut values: Vec<Option<Tensor<T>>> = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let at = |i: usize| values[node.inputs[i].0].as_ref().expect("a result that is needed here");
            let value = match &node.op {
                Op::Input => Ok(input.clone()),
                Op::Conv2d { weight, geometry } => conv2d::forward(at(0), weight.value(), geometry),
                Op::BatchNorm2d { weight, bias, running_mean, running_var, eps } => {
                    let [mean, variance] = [running_mean, running_var].map(State::value);
                    batch_norm::forward_eval(at(0), weight.value(), bias.value(), &mean, &variance, *eps)
                }
                Op::Relu => relu::forward(at(0)),
                Op::Add => add::forward(at(0), at(1)),
                Op::MaxPool2d(geometry) => max_pool::forward(at(0), geometry).map(|(y, _)| y),
                Op::AvgPool2d(geometry) => avg_pool::forward(at(0), geometry),
                Op::GlobalAvgPool => global_avg_pool::forward(at(0)),
                Op::Linear { weight, bias } => linear::forward(at(0), weight.value(), bias.value()),
                Op::SubsamplePad { stride, channels } => subsample_pad::forward(at(0), *stride, *channels),
            };
            values.push(Some(value.map_err(|error| Error::from(error).at(&node.path))?));
            for input in node.inputs.iter().filter(|input| last_use[input.0] == index) {
                values[input.0] = None;
            }
        }
        Ok(values.swap_remove(self.output.0).expect("the result, which is needed at the end"))
    }
}

/// Collects the nodes of a module during [`Module::describe`].
pub struct GraphBuilder<T: Float> {
    path: String,
    nodes: Vec<Node<T>>,
}

impl<T: Float> GraphBuilder<T> {
    /// Adds an operation of the module that is described now. A layer that is one operation gives
    /// no name, and the node gets the layer's path.
    pub fn push(&mut self, name: &str, op: Op<T>, inputs: &[NodeId]) -> NodeId {
        let path = if name.is_empty() { self.path.clone() } else { join(&self.path, name) };
        self.nodes.push(Node { path, op, inputs: inputs.to_vec() });
        NodeId(self.nodes.len() - 1)
    }

    /// Adds the operations of a child of the module that is described now, and returns the node
    /// of the child's result.
    pub fn child(&mut self, name: &str, module: &dyn Module<T>, x: NodeId) -> NodeId {
        let path = join(&self.path, name);
        let outer = std::mem::replace(&mut self.path, path);
        let y = module.describe(self, x);
        self.path = outer;
        y
    }
}
