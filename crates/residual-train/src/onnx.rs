//! A network as an ONNX graph. The file format is `residual-weights`' business, the list of
//! operations `residual-nn`'s; here each of those becomes operators of ONNX.

use std::collections::HashMap;

use residual_nn::{Graph, Module, Op, State, Trace};
use residual_tensor::{Float, Shape, Tensor};
use residual_weights::{
    Entry, Weights,
    onnx::{self, Axis, Node, Value},
};
use residual_zoo::ResNet;

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
/// use residual_zoo::ResNetConfig;
///
/// let net = ResNetConfig::named("resnet18")?.build::<f32>(&mut Generator::new(0))?;
/// let graph = residual_train::onnx_graph(&net, Some([224, 224]), true)?;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("resnet18.onnx");
/// residual_weights::onnx::write(&path, &graph)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn onnx_graph<T: Float>(net: &ResNet<T>, size: Option<[usize; 2]>, folded: bool) -> Result<onnx::Graph> {
    let config = net.config();
    if let Some([height, width]) = size {
        let shape =
            Shape::new([1, config.input_channels, height, width]).map_err(residual_nn::Error::from)?;
        net.propagate(&shape, &mut Trace::new())?;
    }
    let any = |name: &str| Axis::Any(name.to_owned());
    let [height, width] = size.map_or([any("H"), any("W")], |size| size.map(Axis::Fixed));
    let graph = Graph::of(net);
    let mut export = Export::new(&graph, folded);
    for index in 0..graph.nodes().len() {
        export.node(index, config.input_channels);
    }
    Ok(onnx::Graph {
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
    /// The normalization behind a convolution, if it is to be folded into it.
    folded: HashMap<usize, usize>,
    nodes: Vec<Node>,
    weights: Weights,
    /// The name and the channels of each node's result.
    results: Vec<(String, usize)>,
}

impl<'a, T: Float> Export<'a, T> {
    fn new(graph: &'a Graph<T>, fold: bool) -> Self {
        let folded = if fold { normalizations(graph) } else { HashMap::new() };
        Self { graph, folded, nodes: Vec::new(), weights: Weights::new(), results: Vec::new() }
    }

    /// Writes the node at a position; all before it have been.
    fn node(&mut self, index: usize, input_channels: usize) {
        let graph = self.graph;
        let node = &graph.nodes()[index];
        let path = node.path.as_str();
        let inputs: Vec<(String, usize)> =
            node.inputs.iter().map(|input| self.results[input.index()].clone()).collect();
        let names: Vec<String> = inputs.iter().map(|(name, _)| name.clone()).collect();
        let channels = inputs.first().map_or(input_channels, |(_, channels)| *channels);
        let output = if index == graph.output().index() { OUTPUT } else { path }.to_owned();
        let pool = |operator, geometry: &residual_nn::Pool2dGeometry| {
            Node::new(operator, path, &names, &output)
                .with("kernel_shape", geometry.kernel)
                .with("strides", geometry.stride)
                .with("pads", both_sides(geometry.padding))
        };
        let (written, channels) = match &node.op {
            Op::Input => {
                self.results.push((INPUT.to_owned(), channels));
                return;
            }
            Op::Conv2d { weight, geometry } => {
                let mut names = names;
                match self.folded.get(&index) {
                    Some(&norm) => {
                        let (weight, bias) = fold(weight, &graph.nodes()[norm].op);
                        names.push(self.weight(path, "weight", weight));
                        names.push(self.weight(path, "bias", bias));
                    }
                    None => names.push(self.weight(path, "weight", Entry::from_float(&weight.value()))),
                }
                let convolution = Node::new("Conv", path, names, &output)
                    .with("kernel_shape", geometry.kernel)
                    .with("strides", geometry.stride)
                    .with("pads", both_sides(geometry.padding))
                    .with("dilations", geometry.dilation)
                    .with("group", geometry.groups as i64);
                (convolution, weight.shape()[0])
            }
            Op::BatchNorm2d { .. } if self.folded.contains_key(&node.inputs[0].index()) => {
                self.results.push((names[0].clone(), channels));
                return;
            }
            Op::BatchNorm2d { weight, bias, running_mean, running_var, eps } => {
                let states = [
                    ("weight", weight),
                    ("bias", bias),
                    ("running_mean", running_mean),
                    ("running_var", running_var),
                ];
                let states =
                    states.map(|(name, state)| self.weight(path, name, Entry::from_float(&state.value())));
                let names = names.into_iter().chain(states);
                let norm = Node::new("BatchNormalization", path, names, &output);
                (norm.with("epsilon", *eps as f32), channels)
            }
            Op::Relu => (Node::new("Relu", path, &names, &output), channels),
            Op::Add => (Node::new("Add", path, &names, &output), channels),
            Op::MaxPool2d(geometry) => (pool("MaxPool", geometry), channels),
            Op::AvgPool2d(geometry) => (pool("AveragePool", geometry).with("count_include_pad", 1), channels),
            Op::GlobalAvgPool => {
                let averages = format!("{path}.averages");
                self.nodes.push(Node::new("GlobalAveragePool", &averages, &names, &averages));
                (Node::new("Flatten", path, [averages], &output), channels)
            }
            Op::Linear { weight, bias } => {
                let states = [("weight", weight), ("bias", bias)];
                let states =
                    states.map(|(name, state)| self.weight(path, name, Entry::from_float(&state.value())));
                let linear = Node::new("Gemm", path, names.into_iter().chain(states), &output);
                (linear.with("transB", 1), weight.shape()[0])
            }
            &Op::SubsamplePad { stride, channels: wanted } => {
                (self.subsample_pad(path, &names[0], &output, stride, [channels, wanted]), wanted)
            }
        };
        self.nodes.push(written);
        self.results.push((output, channels));
    }

    /// Every `stride`-th pixel, then zeros before and after the channels: half of those that are
    /// missing, rounded down, and the rest.
    fn subsample_pad(
        &mut self,
        path: &str,
        input: &str,
        output: &str,
        stride: usize,
        [from, to]: [usize; 2],
    ) -> Node {
        let pixels = format!("{path}.pixels");
        let slice =
            [("starts", [0, 0]), ("ends", [i64::MAX; 2]), ("axes", [2, 3]), ("steps", [stride as i64; 2])];
        let slice = slice.map(|(name, values)| self.weight(path, name, integers(&values)));
        let inputs = std::iter::once(input.to_owned()).chain(slice);
        self.nodes.push(Node::new("Slice", &pixels, inputs, &pixels));
        let before = ((to - from) / 2) as i64;
        let after = (to - from) as i64 - before;
        let pads = self.weight(path, "pads", integers(&[0, before, 0, 0, 0, after, 0, 0]));
        Node::new("Pad", path, [pixels, pads], output)
    }

    /// Adds a tensor and returns its name.
    fn weight(&mut self, path: &str, name: &str, entry: Entry) -> String {
        let name = format!("{path}.{name}");
        self.weights.insert(&name, entry);
        name
    }
}

/// The normalizations, by position, that take the result of a convolution that nothing else takes.
fn normalizations<T: Float>(graph: &Graph<T>) -> HashMap<usize, usize> {
    let uses = graph.uses();
    let pairs = graph.nodes().iter().enumerate().filter_map(|(index, node)| match node.op {
        Op::BatchNorm2d { .. } => {
            let before = node.inputs[0].index();
            let alone = uses[before] == 1 && matches!(graph.nodes()[before].op, Op::Conv2d { .. });
            alone.then_some((before, index))
        }
        _ => None,
    });
    pairs.collect()
}

/// The weight and the bias of a convolution that normalizes as well.
fn fold<T: Float>(weight: &State<T>, norm: &Op<T>) -> (Entry, Entry) {
    let lines = norm.scales_and_shifts().expect("only normalizations are folded");
    let (scales, shifts): (Vec<f64>, Vec<T>) =
        lines.into_iter().map(|(scale, shift)| (scale, T::of(shift))).unzip();

    let (shape, per_channel) = (weight.shape(), weight.shape().elements() / scales.len().max(1));
    let mut scaled = weight.value().to_vec();
    for (kernel, scale) in scaled.chunks_mut(per_channel.max(1)).zip(&scales) {
        kernel.iter_mut().for_each(|w| *w = T::of(w.to_f64() * scale));
    }
    let tensor = |shape, values| Tensor::from_vec(shape, values).expect("as many as before");
    let bias_shape = Shape::new([scales.len()]).expect("as many as there are");
    (Entry::from_float(&tensor(shape, scaled)), Entry::from_float(&tensor(bias_shape, shifts)))
}

/// Padding as ONNX has it: what comes before each axis, then what comes after.
fn both_sides([rows, columns]: [usize; 2]) -> Vec<usize> {
    vec![rows, columns, rows, columns]
}

fn integers(values: &[i64]) -> Entry {
    Tensor::from_slice([values.len()], values).expect("as long as itself").into()
}
