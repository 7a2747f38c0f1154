//! What a network computes, as a list of operations: what [`Module::build`] makes, and what everything else
//! reads. Running it on a tape is in `run.rs`, shapes and cost in `trace.rs`, fusion in `fusion.rs`; compiled
//! networks and ONNX files are made from it by other crates.

use std::{collections::HashSet, fmt, ops::Range, sync::Arc};

use residual_autograd::{Result, State, Tape};
use residual_tensor::{Float, Tensor};

use crate::{
    Builder, Mode, Module, Node, Operation, Pattern,
    builder::join,
    fusion::{self, Group},
};

/// An operation applied to values.
#[derive(Debug, Clone)]
pub struct Applied<T: Float> {
    /// Where it is in the network, unique: `layer1.0.conv2`; what is not a layer is named after what it
    /// does: `layer1.0.add`.
    pub path: String,
    /// What is done; nothing for the input.
    pub operation: Option<Arc<dyn Operation<T>>>,
    /// Whether it is a layer, which has a name of its own, or a part of a module such as an addition.
    pub is_layer: bool,
    /// The nodes that it takes its inputs from, all of them before itself.
    pub inputs: Vec<Node>,
}

impl<T: Float> Applied<T> {
    /// The module that the states belong to: the layer, or the module that the operation is a part of.
    pub fn owner(&self) -> &str {
        if self.is_layer { &self.path } else { self.path.rsplit_once('.').map_or("", |(owner, _)| owner) }
    }
}

/// The part of a graph that a module makes up.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The module's path.
    pub path: String,
    /// What it is called in a summary, if it is listed there.
    pub kind: &'static str,
    /// Its operations.
    pub nodes: Range<usize>,
    /// What it was applied to.
    pub input: Node,
    /// Its result.
    pub output: Node,
    /// Whether a checkpointing tape runs it again instead of keeping what is inside.
    pub recomputed: bool,
}

/// A network as operations in an order in which they can be executed. Clones share it, and it shares the
/// module's states: what is learnt later shows in it.
///
/// ```
/// use residual_nn::{BasicBlock, BlockConfig, Graph};
/// use residual_tensor::Generator;
///
/// let block = BasicBlock::<f32>::new(&BlockConfig::basic(8, 8), &mut Generator::new(0))?;
/// let graph = Graph::of(&block);
/// let paths: Vec<_> = graph.nodes().iter().map(|node| node.path.as_str()).collect();
/// assert_eq!(paths, ["input", "conv1", "bn1", "relu", "conv2", "bn2", "add", "relu_1"]);
/// assert_eq!(graph.node(graph.output()).path, "relu_1");
/// # Ok::<(), residual_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Graph<T: Float>(Arc<Parts<T>>);

struct Parts<T: Float> {
    nodes: Vec<Applied<T>>,
    scopes: Vec<Scope>,
    output: Node,
    groups: Vec<Group>,
    groups_in_training: Vec<Group>,
    /// How many operations read each node's result; the end of the graph counts as one.
    uses: Vec<usize>,
}

impl<T: Float> Graph<T> {
    /// The graph of a module.
    pub fn of<M: Module<T> + ?Sized>(module: &M) -> Self {
        Builder::build(module)
    }

    pub(crate) fn new(nodes: Vec<Applied<T>>, mut scopes: Vec<Scope>, output: Node) -> Self {
        for scope in scopes.iter_mut().filter(|scope| scope.recomputed) {
            scope.recomputed = is_closed(&nodes, scope, output);
        }
        let mut uses = vec![0; nodes.len()];
        for input in nodes.iter().flat_map(|node| &node.inputs).chain([&output]) {
            uses[input.0] += 1;
        }
        let groups = fusion::groups(&nodes, &[], &uses);
        let groups_in_training = fusion::groups(&nodes, &scopes, &uses);
        Self(Arc::new(Parts { nodes, scopes, output, groups, groups_in_training, uses }))
    }

    /// All nodes, each behind its inputs. The first is the input.
    pub fn nodes(&self) -> &[Applied<T>] {
        &self.0.nodes
    }

    /// The positions of all nodes but the input.
    pub fn iter(&self) -> impl Iterator<Item = Node> + use<T> {
        (1..self.nodes().len()).map(Node)
    }

    /// The node at a position.
    pub fn node(&self, node: Node) -> &Applied<T> {
        &self.0.nodes[node.0]
    }

    /// The operation of a node that is not the input.
    ///
    /// # Panics
    /// If the node is the input.
    pub fn operation(&self, node: Node) -> &dyn Operation<T> {
        self.node(node).operation.as_deref().expect("only the input has no operation")
    }

    /// What kind of operation a node is, to those that run several together.
    pub fn pattern(&self, node: Node) -> Pattern<'_, T> {
        self.node(node).operation.as_ref().map_or(Pattern::Other, |operation| operation.pattern())
    }

    /// The modules that are not a single operation, each behind those inside of it; the whole comes last.
    pub fn scopes(&self) -> &[Scope] {
        &self.0.scopes
    }

    /// The node whose result is the module's.
    pub fn output(&self) -> Node {
        self.0.output
    }

    /// How many operations read each node's result; the end of the graph counts as one.
    pub fn uses(&self) -> &[usize] {
        &self.0.uses
    }

    /// What runs together when nothing is learnt, in the order in which it runs.
    pub fn groups(&self) -> &[Group] {
        &self.0.groups
    }

    /// What runs together in training: as [`groups`](Self::groups), but a group is inside of one recomputed
    /// module or of none, so that recomputing changes no bit.
    pub fn groups_in_training(&self) -> &[Group] {
        &self.0.groups_in_training
    }

    /// The recomputed module that a node is inside of: of nested ones the outermost, which comes last.
    pub(crate) fn recomputed(&self, node: Node) -> Option<&Scope> {
        self.scopes().iter().rev().find(|scope| scope.recomputed && scope.nodes.contains(&node.0))
    }

    /// Every state with its path, in the order of PyTorch's `state_dict`: a module's own before those of the
    /// modules in it. One that is used in two places has the first path.
    pub fn states(&self) -> Vec<(String, State<T>)> {
        // A layer that is the whole network has no name: its weight is just `weight`.
        let is_one_layer = matches!(self.nodes(), [_, node] if node.is_layer);
        let mut nodes: Vec<_> = self.nodes().iter().enumerate().collect();
        let start =
            |owner: &str| self.scopes().iter().find(|scope| scope.path == owner).map(|s| s.nodes.start);
        nodes.sort_by_key(|(index, node)| match &node.operation {
            Some(operation) if !node.is_layer && !operation.states().is_empty() => {
                (start(node.owner()).unwrap_or(*index), false)
            }
            _ => (*index, true),
        });
        let mut seen = HashSet::new();
        let mut states = Vec::new();
        for (_, node) in nodes {
            let path = if is_one_layer { "" } else { node.owner() };
            let own = node.operation.iter().flat_map(|operation| operation.states());
            for (name, state) in own.filter(|(_, state)| seen.insert(state.id())) {
                states.push((join(path, name), state.clone()));
            }
        }
        states
    }

    /// The graph without what [does nothing](Operation::is_identity_in_evaluation) in evaluation: what compiled
    /// networks and files of them are made of. Paths stay as they are.
    #[must_use]
    pub fn in_evaluation(&self) -> Self {
        let mut place: Vec<Node> = Vec::with_capacity(self.nodes().len());
        let mut nodes: Vec<Applied<T>> = Vec::with_capacity(self.nodes().len());
        // How many nodes are left of those before each.
        let mut before = vec![0];
        for node in self.nodes() {
            let inputs: Vec<Node> = node.inputs.iter().map(|input| place[input.0]).collect();
            if node.operation.as_ref().is_some_and(|operation| operation.is_identity_in_evaluation()) {
                place.push(inputs[0]);
            } else {
                place.push(Node(nodes.len()));
                nodes.push(Applied { inputs, ..node.clone() });
            }
            before.push(nodes.len());
        }
        let scopes = self.scopes().iter().map(|scope| Scope {
            nodes: before[scope.nodes.start]..before[scope.nodes.end],
            input: place[scope.input.0],
            output: place[scope.output.0],
            ..scope.clone()
        });
        Self::new(nodes, scopes.collect(), place[self.output().0])
    }

    /// The module's answer in evaluation mode, one operation after the other: what compiled forms of the
    /// graph are held against.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the node that refused it.
    pub fn evaluate(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        let tape = Tape::without_recording();
        Ok(self.forward(&tape.input(input.clone()), Mode::Eval)?.value().clone())
    }
}

impl<T: Float> fmt::Debug for Graph<T> {
    /// One line per node: `3 conv2 = conv2d(2)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes().iter().enumerate() {
            let operation = node.operation.as_deref().map_or("input", |operation| operation.name());
            let inputs: Vec<String> = node.inputs.iter().map(|input| input.0.to_string()).collect();
            writeln!(f, "{index} {} = {operation}({})", node.path, inputs.join(", "))?;
        }
        Ok(())
    }
}

/// Whether nothing goes into a scope but its input, and nothing comes out but its output.
fn is_closed<T: Float>(nodes: &[Applied<T>], scope: &Scope, output: Node) -> bool {
    let inside = |node: Node| scope.nodes.contains(&node.0);
    let edges =
        nodes.iter().enumerate().flat_map(|(to, node)| node.inputs.iter().map(move |&from| (from, to)));
    let mut crossing = edges.chain([(output, nodes.len())]).filter(|&(from, to)| {
        let to = scope.nodes.contains(&to);
        (to && !inside(from) && from != scope.input) || (!to && inside(from) && from != scope.output)
    });
    inside(scope.output) && crossing.next().is_none()
}
