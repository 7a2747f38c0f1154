//! A network as an ONNX graph. The file format is `residual-weights`' business, the list of
//! operations `residual-nn`'s; here each of those becomes operators of ONNX.

use residual_nn::{
    Graph, Module, Pattern,
    fusion::Group,
    graph::Applied,
    onnx::{Attribute, Operand},
};
use residual_tensor::{Float, Shape, Tensor};
use residual_weights::{
    Entry, Weights,
    onnx::{self, Axis, Node, Value},
};
use residual_zoo::Network;

use crate::Result;

/// A trained network as an ONNX graph: input `[N, channels, H, W]`, output `logits` `[N, classes]`,
/// both of the network's precision. The batch may have any size, and so may the pictures, unless
/// `size` says height and width.
///
/// Weights have torchvision's names. `folded` makes one operation of a convolution and the
/// normalization behind it.
///
/// # Errors
/// If a picture of that size is too small, with the layer that would refuse it.
///
/// ```
/// use residual_tensor::Generator;
/// use residual_zoo::NetworkConfig;
///
/// let net = NetworkConfig::named("resnet18")?.build::<f32>(&mut Generator::new(0))?;
/// let graph = residual_model::onnx_graph(&net, Some([224, 224]), true)?;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("resnet18.onnx");
/// residual_weights::onnx::write(&path, &graph)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn onnx_graph<T: Float>(
    net: &Network<T>,
    size: Option<[usize; 2]>,
    folded: bool,
) -> Result<onnx::OnnxGraph> {
    let config = net.config();
    if let Some([height, width]) = size {
        let shape =
            Shape::new([1, config.input_channels, height, width]).map_err(residual_nn::Error::from)?;
        net.trace(&shape)?;
    }
    let any = |name: &str| Axis::Any(name.to_owned());
    let [height, width] = size.map_or([any("H"), any("W")], |size| size.map(Axis::Fixed));
    let graph = net.graph().in_evaluation();
    let mut export = Export::new(&graph);
    graph.groups().iter().try_for_each(|group| export.group(group, folded))?;
    Ok(onnx::OnnxGraph {
        name: config.name.clone(),
        input: Value::new(INPUT, [any("N"), Axis::Fixed(config.input_channels), height, width]),
        output: Value::new(OUTPUT, [any("N"), Axis::Fixed(config.classes)]),
        double: size_of::<T>() == size_of::<f64>(),
        nodes: export.nodes,
        weights: export.weights,
    })
}

const INPUT: &str = "input";
const OUTPUT: &str = "logits";

/// What has been written so far.
struct Export<'a, T: Float> {
    graph: &'a Graph<T>,
    nodes: Vec<Node>,
    weights: Weights,
    /// The name of each node's result.
    results: Vec<String>,
}

impl<'a, T: Float> Export<'a, T> {
    fn new(graph: &'a Graph<T>) -> Self {
        let mut results = vec![String::new(); graph.nodes().len()];
        results[0] = INPUT.to_owned();
        Self { graph, nodes: Vec::new(), weights: Weights::new(), results }
    }

    /// Writes a group of operations, as one convolution if a normalization is folded into it.
    fn group(&mut self, group: &Group, fold: bool) -> Result<()> {
        let norm = group.norm.filter(|_| fold);
        for node in group.members() {
            if norm == Some(node) {
                self.results[node.index()] = self.results[group.head.index()].clone();
                continue;
            }
            let applied = self.graph.node(node);
            let last = if node == group.head { norm.unwrap_or(node) } else { node };
            let output = if last == self.graph.output() { OUTPUT } else { &applied.path };
            let own = match (self.graph.pattern(node), norm.map(|norm| self.graph.pattern(norm))) {
                (Pattern::Conv2d(convolution), Some(Pattern::BatchNorm2d(norm))) => {
                    let (weight, bias) = convolution.folded(Some(norm))?;
                    let bias = Tensor::from_vec([bias.len()], bias).map_err(residual_nn::Error::from)?;
                    vec![("weight", weight), ("bias", bias)]
                }
                _ => {
                    let states = applied.operation.iter().flat_map(|operation| operation.states());
                    states.map(|(name, state)| (name, state.value())).collect()
                }
            };
            self.operation(applied, own, output.to_owned());
            self.results[node.index()] = output.to_owned();
        }
        Ok(())
    }

    /// Writes an operation, which reads states of these values.
    fn operation(&mut self, applied: &Applied<T>, states: Vec<(&'static str, Tensor<T>)>, output: String) {
        let path = &applied.path;
        let inputs: Vec<String> =
            applied.inputs.iter().map(|input| self.results[input.index()].clone()).collect();
        let mut operators =
            applied.operation.iter().flat_map(|operation| operation.onnx()).collect::<Vec<_>>();
        // A convolution that a normalization was folded into has a bias, which it had not before.
        let is_folded = states.len() == 2 && operators.len() == 1 && operators[0].name == "Conv";
        if is_folded && operators[0].inputs.len() == 2 {
            operators[0].inputs.push(Operand::State("bias"));
        }
        let last = operators.len().saturating_sub(1);
        let mut previous = String::new();
        for (number, operator) in operators.into_iter().enumerate() {
            let result = if number == last { output.clone() } else { format!("{path}.{}", operator.name) };
            let read: Vec<String> = operator
                .inputs
                .iter()
                .map(|operand| match operand {
                    Operand::Input(number) => inputs[*number].clone(),
                    Operand::Previous => previous.clone(),
                    Operand::State(name) => {
                        let state = states.iter().find(|(state, _)| state == name);
                        let (_, value) = state.expect("an operator reads states of its operation");
                        self.weight(applied.owner(), name, Entry::from_float(value))
                    }
                    Operand::Integers(name, values) => self.weight(path, name, integers(values)),
                    Operand::Numbers(name, shape, values) => {
                        let values = values.iter().map(|&value| T::of(value)).collect();
                        let tensor = Tensor::from_vec(&shape[..], values).expect("as many as its shape has");
                        self.weight(path, name, Entry::from_float(&tensor))
                    }
                })
                .collect();
            let name = if number == last { path.clone() } else { result.clone() };
            let node = Node::new(operator.name, name, read, &result);
            let node = operator.attributes.into_iter().fold(node, |node, (name, value)| match value {
                Attribute::Integer(value) => node.with(name, value),
                Attribute::Integers(values) => node.with(name, values),
                Attribute::Number(value) => node.with(name, value as f32),
                Attribute::Text(value) => node.with(name, value),
            });
            self.nodes.push(node);
            previous = result;
        }
    }

    /// Adds a tensor, unless another operator of the same operation has, and returns its name.
    fn weight(&mut self, path: &str, name: &str, entry: Entry) -> String {
        let name = format!("{path}.{name}");
        self.weights.insert(&name, entry);
        name
    }
}

fn integers(values: &[i64]) -> Entry {
    Tensor::from_slice([values.len()], values).expect("as long as itself").into()
}
