//! ONNX files are read back with another protobuf library and executed operation by operation:
//! they give the network's own logits, their weights have torchvision's names and values, and every
//! tensor is there before it is used.

mod model;

use std::collections::{BTreeMap, HashMap, HashSet};

use model::{Attribute, Dimension, Model, Node};
use prost::Message;
use residual_autograd::Tape;
use residual_kernels::{
    Conv2dGeometry, Pool2dGeometry, avg_pool, batch_norm, conv2d, elementwise, global_avg_pool, layer_norm,
    linear, max_pool, relu,
};
use residual_model::onnx_graph;
use residual_nn::{Mode, Module, Role};
use residual_tensor::{Float, Generator, Layout, Tensor};
use residual_zoo::{Network, NetworkConfig};

/// One of each: plain and projected shortcuts, bottlenecks, groups, width, option A with and without
/// stride, pre-activation, both stems, plugins, layers of pixels written in both ways.
const NETWORKS: [&str; 13] = [
    "resnet18",
    "resnet18_a",
    "cifar_resnet8",
    "cifar_plain8",
    "cifar_preresnet11_a",
    "cifar_wrn10_2",
    "cifar_resnext11_4x8d",
    "resnetaa18",
    "seresnet18",
    "resnet26d",
    "resnetblur18",
    "convnext_atto",
    "convnext_tiny",
];

/// A network whose normalizations have seen something, so that folding them is not trivial.
fn network<T: Float>(name: &str) -> Network<T> {
    let mut generator = Generator::new(5);
    let config = NetworkConfig::named(name).unwrap().classes(6).input_channels(2);
    let net = config.build::<T>(&mut generator).unwrap();
    for (path, state) in net.states() {
        let range = match path.rsplit('.').next().unwrap() {
            "running_var" => 0.5..1.5,
            "running_mean" | "bias" => -0.3..0.3,
            "weight" | "gamma" if state.shape().rank() == 1 => 0.4..0.8,
            _ => continue,
        };
        state.set(&generator.uniform_tensor(state.shape(), range.start, range.end)).unwrap();
    }
    net
}

fn exported<T: Float>(net: &Network<T>, size: Option<[usize; 2]>, folded: bool) -> Model {
    let graph = onnx_graph(net, size, folded).unwrap();
    Model::decode(residual_weights::onnx::to_bytes(&graph).unwrap().as_slice()).unwrap()
}

#[test]
fn files_compute_what_the_network_computes() {
    for name in NETWORKS {
        let net = network::<f64>(name);
        for (batch, folded) in [(1, false), (3, true)] {
            let x = Generator::new(9).normal_tensor([batch, 2, 37, 34], 1.0);
            let x = x.to_layout(Layout::ChannelsLast);
            let tape = Tape::without_recording();
            let expected = net.forward(&tape.input(x.clone()), Mode::Eval).unwrap().value().to_vec();
            let model = exported(&net, None, folded);
            let found = execute(&model, x).to_vec();
            let largest = expected.iter().fold(0.0f64, |largest, y| largest.max(y.abs()));
            assert_eq!(found.len(), batch * 6);
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-12 * largest,
                    "{name} folded {folded}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn weights_have_torchvisions_names_and_the_networks_values() {
    let net = network::<f32>("resnet18");
    let model = exported(&net, None, false);
    let written: HashMap<_, _> = model.graph().initializers.iter().map(|t| (t.name(), t)).collect();
    let states: Vec<_> =
        net.states().into_iter().filter(|(_, state)| state.role() != Role::Counter).collect();
    assert_eq!(states.len(), 102); // 122 entries less 20 counters
    assert_eq!(written.len(), states.len());
    for (path, state) in states {
        let tensor = written[path.as_str()];
        assert_eq!(tensor.dims, state.shape().iter().map(|&n| n as i64).collect::<Vec<_>>(), "{path}");
        let bytes: Vec<u8> = state.value().to_vec().iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!((tensor.data_type(), tensor.raw_data()), (1, bytes.as_slice()), "{path}");
    }
}

#[test]
fn folding_leaves_no_normalization_behind_a_convolution() {
    let count = |name: &str, folded: bool| {
        let model = exported(&network::<f32>(name), None, folded);
        let mut operators = BTreeMap::new();
        for node in &model.graph().nodes {
            *operators.entry(node.operator().to_owned()).or_insert(0) += 1;
        }
        ["Conv", "BatchNormalization", "Relu", "Add"].map(|name| operators.get(name).copied().unwrap_or(0))
    };
    assert_eq!(count("resnet18", false), [20, 20, 17, 8]);
    assert_eq!(count("resnet18", true), [20, 0, 17, 8]);
    // Pre-activated, the first normalization of a block has a sum before it, and so has the last of
    // all; that of the very first block has the stem.
    assert_eq!(count("cifar_wrn10_2", false), [10, 7, 7, 3]);
    assert_eq!(count("cifar_wrn10_2", true), [10, 3, 7, 3]);
}

#[test]
fn the_header_says_versions_and_open_axes() {
    let net = network::<f32>("cifar_resnet8");
    let model = exported(&net, None, false);
    assert_eq!(model.ir_version, Some(8));
    assert_eq!(model.opsets.iter().map(|opset| opset.version).collect::<Vec<_>>(), [Some(17)]);
    let (any, fixed) = (|name: &str| Dimension::any(name), Dimension::fixed);
    let graph = model.graph();
    assert_eq!(graph.inputs[0].axes(), [any("N"), fixed(2), any("H"), any("W")]);
    assert_eq!(graph.outputs[0].axes(), [any("N"), fixed(6)]);
    assert_eq!((graph.inputs[0].element(), graph.outputs[0].element()), (1, 1));
    let model = exported(&network::<f64>("cifar_resnet8"), Some([32, 48]), false);
    assert_eq!(model.graph().inputs[0].axes(), [any("N"), fixed(2), fixed(32), fixed(48)]);
    assert_eq!(model.graph().inputs[0].element(), 11);
}

#[test]
fn a_size_that_does_not_fit_names_the_layer() {
    let mut config = NetworkConfig::named("cifar_resnet8").unwrap();
    config.stem = residual_zoo::Stem::ImageNet;
    let net = config.build::<f32>(&mut Generator::new(0)).unwrap();
    let error = onnx_graph(&net, Some([0, 32]), false).unwrap_err().to_string();
    assert!(error.starts_with("conv1: "), "{error}");
}

/// Runs the model; the interpreter knows the operators that may occur, and no others.
fn execute(model: &Model, x: Tensor<f64>) -> Tensor<f64> {
    let graph = model.graph();
    let integers: HashMap<&str, Vec<i64>> = graph.initializers.iter().filter_map(|t| t.integers()).collect();
    let mut values: HashMap<&str, Tensor<f64>> =
        graph.initializers.iter().filter_map(|t| t.doubles()).collect();
    let mut names = HashSet::new();
    values.insert(graph.inputs[0].name(), x);
    for node in &graph.nodes {
        assert!(names.insert(node.name()), "two nodes are called {}", node.name());
        let y = operate(node, &values, &integers);
        assert!(values.insert(&node.outputs[0], y).is_none(), "{} is computed twice", node.outputs[0]);
    }
    values.remove(graph.outputs[0].name()).unwrap()
}

fn operate(
    node: &Node,
    values: &HashMap<&str, Tensor<f64>>,
    integers: &HashMap<&str, Vec<i64>>,
) -> Tensor<f64> {
    let at = |i: usize| {
        let name = node.inputs[i].as_str();
        values.get(name).unwrap_or_else(|| panic!("{name} is not there before {}", node.name()))
    };
    let pair = |name: &str| {
        let ints = &node.attribute(name).ints;
        [ints[0] as usize, ints[1] as usize]
    };
    let padding = || {
        let pads = &node.attribute("pads").ints;
        assert_eq!(pads[..2], pads[2..]);
        pair("pads")
    };
    let window = || {
        let [height, width] = pair("kernel_shape");
        let window = Pool2dGeometry::new(height, width).stride(pair("strides")).padding(padding());
        window.ceil_mode(node.attribute("ceil_mode").i() == 1)
    };
    match node.operator() {
        "Conv" => {
            let [height, width] = pair("kernel_shape");
            let geometry = Conv2dGeometry::new(height, width)
                .stride(pair("strides"))
                .padding(padding())
                .dilation(pair("dilations"))
                .groups(node.attribute("group").i() as usize);
            let y = conv2d::forward(at(0), at(1), &geometry).unwrap();
            if node.inputs.len() == 2 {
                return y;
            }
            let bias = at(2).reshape([1, at(2).len(), 1, 1]).unwrap();
            Tensor::from(&y.view() + &bias.view())
        }
        "BatchNormalization" => {
            let epsilon = f64::from(node.attribute("epsilon").f());
            // As f32 it is not quite the network's own.
            assert!((epsilon - 1e-5).abs() < 1e-12);
            batch_norm::forward_eval(at(0), at(1), at(2), at(3), at(4), 1e-5).unwrap()
        }
        "LayerNormalization" => {
            let epsilon = f64::from(node.attribute("epsilon").f());
            assert!((epsilon - 1e-6).abs() < 1e-13 && node.attribute("axis").i() == -1);
            let (shape, channels) = (at(0).shape().to_vec(), at(1).len());
            let rows = at(0).reshape([at(0).len() / channels, channels]).unwrap();
            layer_norm::forward(&rows, at(1), at(2), 1e-6).unwrap().reshape(shape).unwrap()
        }
        "Transpose" => {
            let order: Vec<usize> = node.attribute("perm").ints.iter().map(|&axis| axis as usize).collect();
            at(0).permute(&order).unwrap()
        }
        "Unsqueeze" => {
            let mut shape = at(0).shape().to_vec();
            integers[node.inputs[1].as_str()].iter().for_each(|&axis| shape.insert(axis as usize, 1));
            at(0).reshape(shape).unwrap()
        }
        "Div" => elementwise::div(at(0), at(1)).unwrap(),
        "Erf" => at(0).map(libm::erf),
        "Relu" => relu::forward(at(0)).unwrap(),
        "Add" => elementwise::add(at(0), at(1)).unwrap(),
        "MaxPool" => max_pool::forward(at(0), &window()).unwrap().0,
        "Sigmoid" => elementwise::sigmoid(at(0)).unwrap(),
        "Mul" => elementwise::mul(at(0), at(1)).unwrap(),
        "GlobalAveragePool" => {
            let y = global_avg_pool::forward(at(0)).unwrap();
            y.reshape([y.shape()[0], y.shape()[1], 1, 1]).unwrap()
        }
        "AveragePool" => {
            assert_eq!(node.attribute("count_include_pad").i() == 1, padding() != [0, 0]);
            avg_pool::forward(at(0), &window()).unwrap()
        }
        "Flatten" => at(0).reshape([at(0).shape()[0], at(0).shape()[1]]).unwrap(),
        "Gemm" => {
            assert_eq!(node.attribute("transB").i(), 1);
            linear::forward(at(0), at(1), at(2)).unwrap()
        }
        "Slice" => {
            let [starts, ends, axes, steps] =
                [1, 2, 3, 4].map(|i| integers[node.inputs[i].as_str()].as_slice());
            assert_eq!((starts, ends, axes), (&[0, 0][..], &[i64::MAX; 2][..], &[2, 3][..]));
            let step = steps[0] as isize;
            Tensor::from(at(0).view().slice(ndarray::s![.., .., ..;step, ..;step]))
        }
        "Pad" if node.attributes.iter().any(|attribute| attribute.s() == b"reflect") => {
            assert_eq!(integers[node.inputs[1].as_str()], [0, 0, 1, 1, 0, 0, 1, 1]);
            let x = at(0).view();
            let [n, c, h, w] = at(0).dims("pad").unwrap();
            let mirrored = |place: usize, length: usize| match place {
                0 => 1,
                place if place > length => length - 2,
                place => place - 1,
            };
            let mut y = Tensor::zeros([n, c, h + 2, w + 2]);
            for ((n, c, i, j), y) in
                y.view_mut().into_dimensionality::<ndarray::Ix4>().unwrap().indexed_iter_mut()
            {
                *y = x[[n, c, mirrored(i, h), mirrored(j, w)]];
            }
            y.to_layout(Layout::ChannelsLast)
        }
        "Pad" => {
            let pads = &integers[node.inputs[1].as_str()];
            assert!(pads.iter().enumerate().all(|(i, &pad)| pad == 0 || i == 1 || i == 5), "{pads:?}");
            let [n, c, h, w] = at(0).dims("pad").unwrap();
            let before = pads[1] as usize;
            let mut y = Tensor::zeros([n, before + c + pads[5] as usize, h, w]);
            y.view_mut().slice_mut(ndarray::s![.., before..before + c, .., ..]).assign(&at(0).view());
            y.to_layout(Layout::ChannelsLast)
        }
        other => panic!("{other} is not an operator of residual networks"),
    }
}

/// Any attribute that is asked for is there.
impl Node {
    fn attribute(&self, name: &str) -> &Attribute {
        self.attributes.iter().find(|attribute| attribute.name() == name).unwrap()
    }
}
