//! Shapes worked out without running against shapes of real runs, for every network of the zoo
//! at every layer; the paper's table 1; and what a network says to an input that does not fit.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use residual_autograd::Tape;
use residual_nn::{BlockConfig, Child, Mode, Module, Sequential, Trace, layers};
use residual_tensor::{Float, Generator, Shape, Tensor};
use residual_zoo::{Architecture, Network, NetworkConfig, Summary, names};

use super::{Difference, Failure, Outcome, Settings, numbers::grouped, recorder::Recorder};

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for entry in layers() {
        recorder.check(entry.name, || {
            for case in 0..settings.samples {
                let sample =
                    entry.sample(&mut Generator::new(0).split("shapes").split(entry.name).split(case));
                for mode in [Mode::Train, Mode::Eval] {
                    let [executed, propagated] = sample.shapes(mode)?;
                    if executed != propagated {
                        let input = sample.input.shape();
                        let shapes = format!("case {case}: {input} gives {executed}, not {propagated}");
                        return Err(Difference::found(shapes));
                    }
                }
            }
            Ok(format!("{} samples", settings.samples))
        });
    }
    for name in names() {
        recorder.check(name.clone(), || network(&name));
    }
    for row in TABLE_1 {
        recorder.check(format!("table 1 {} layers", row.layers), || table_1(row));
    }
    for name in ["resnet18", "cifar_resnet20"] {
        recorder.check(format!("{name} refuses"), || refusals(&build(name)?));
    }
    Ok(())
}

fn build(name: &str) -> Result<Network<f32>, Failure> {
    Ok(NetworkConfig::named(name)?.build(&mut Generator::new(0))?)
}

/// Larger runs would take long, and show nothing that smaller ones do not.
const MOST_MULTIPLY_ADDS: u64 = 1 << 32;

fn network(name: &str) -> Outcome {
    let net = build(name)?;
    let [height, width] = net.config().native_size();
    // As made for; a batch; odd and not square; the least that has a pixel everywhere, which is less where
    // each layer pads.
    let least = net.config().smallest_input();
    let pads = net.config().architecture == Architecture::ResNet && net.config().head_pool == 1;
    let inputs = [
        [1, height, width],
        [2, least.max(height / 2), least.max(width / 2)],
        [1, least.max(height / 2 + 1), least.max(width / 4 + 3)],
        if pads { [3, height / 16, 1] } else { [3, least, least + 3] },
    ];
    let (mut runs, mut compared) = (0, 0);
    for [batch, height, width] in inputs {
        let input = Shape::new([batch, net.config().input_channels, height, width])?;
        let trace = net.trace(&input).map_err(|error| Difference::found(format!("{input}: {error}")))?;
        if trace.multiply_adds <= MOST_MULTIPLY_ADDS {
            compared += compare(&net, &input, &trace).map_err(|error| format!("{input}: {error}"))?;
            runs += 1;
        }
    }
    Ok(format!("{runs} of {} input shapes run, {compared} results compared", inputs.len()))
}

/// Runs the network and compares the result of each operation and block with the trace.
fn compare<T: Float>(net: &Network<T>, input: &Shape, trace: &Trace) -> Result<usize, Failure> {
    let executed = Rc::new(RefCell::new(BTreeMap::<String, Shape>::new()));
    let tape = Tape::without_recording();
    let seen = executed.clone();
    tape.observe(move |path, output| {
        seen.borrow_mut().insert(path.to_owned(), output.shape().clone());
    });
    net.forward(&tape.input(Tensor::zeros(input)), Mode::Eval)?;

    let graph = net.graph();
    let nodes = graph.iter().map(|node| (graph.node(node).path.as_str(), &trace.shapes[node.index()]));
    let layers = trace.layers.iter().map(|layer| (layer.path.as_str(), &layer.output));
    let worked_out: BTreeMap<&str, &Shape> = nodes.chain(layers).collect();
    let executed = executed.borrow();
    for (path, shape) in &worked_out {
        match executed.get(*path) {
            Some(executed) if executed == *shape => {}
            Some(executed) => {
                return Err(Difference::found(format!("{path}: runs to {executed}, not {shape}")));
            }
            None => return Err(format!("{path}: worked out, but not run").into()),
        }
    }
    // Stages and shortcuts run, but are not listed.
    let scopes: BTreeSet<&str> = graph.scopes().iter().map(|scope| scope.path.as_str()).collect();
    let unknown =
        executed.keys().find(|&path| !worked_out.contains_key(&**path) && !scopes.contains(&**path));
    match unknown {
        Some(path) => Err(format!("{path}: run, but not worked out").into()),
        None => Ok(worked_out.len()),
    }
}

/// A column of table 1 in He et al. 2015.
struct Column {
    layers: usize,
    /// Kernel size and channels of each convolution in a block, for 64 channels in the first
    /// stage; later stages double them.
    block: &'static [[usize; 2]],
    /// Blocks of each stage.
    blocks: [usize; 4],
}

const BASIC: &[[usize; 2]] = &[[3, 64], [3, 64]];
const BOTTLENECK: &[[usize; 2]] = &[[1, 64], [3, 64], [1, 256]];
const TABLE_1: &[Column] = &[
    Column { layers: 18, block: BASIC, blocks: [2, 2, 2, 2] },
    Column { layers: 34, block: BASIC, blocks: [3, 4, 6, 3] },
    Column { layers: 50, block: BOTTLENECK, blocks: [3, 4, 6, 3] },
    Column { layers: 101, block: BOTTLENECK, blocks: [3, 4, 23, 3] },
    Column { layers: 152, block: BOTTLENECK, blocks: [3, 8, 36, 3] },
];

fn table_1(column: &Column) -> Outcome {
    let net = build(&format!("resnet{}", column.layers))?;
    if net.config().layers() != column.layers {
        return Err(format!("{} layers with weights", net.config().layers()).into());
    }
    let weights: BTreeMap<String, Shape> =
        net.parameters().into_iter().map(|(path, state)| (path, state.shape())).collect();
    let summary = Summary::of(&net, [1, 3, 224, 224])?;
    let output = |path: &str| {
        summary.layers.iter().rfind(|layer| layer.path.starts_with(path)).map(|layer| &layer.output)
    };
    let expect = |path: &str, expected: &[usize]| match output(path) {
        Some(output) if **output == *expected => Ok(()),
        other => Err(format!("{path}: {other:?}, the paper has {expected:?}")),
    };

    expect("conv1", &[1, 64, 112, 112])?;
    expect("maxpool", &[1, 64, 56, 56])?;
    expect("fc", &[1, 1000])?;
    let mut rows = vec!["112² 7×7, 64".to_owned()];
    for (stage, (&blocks, size)) in column.blocks.iter().zip([56, 28, 14, 7]).enumerate() {
        let [_, last] = column.block[column.block.len() - 1];
        expect(&format!("layer{}", stage + 1), &[1, last << stage, size, size])?;
        let of_stage = |layer: &&residual_nn::Layer| {
            layer.kind == "residual block" && layer.path.starts_with(&format!("layer{}.", stage + 1))
        };
        let found = summary.layers.iter().filter(of_stage).count();
        if found != blocks {
            return Err(format!("layer{}: {found} blocks, the paper has {blocks}", stage + 1).into());
        }
        for block in 0..blocks {
            for (i, &[kernel, channels]) in column.block.iter().enumerate() {
                let path = format!("layer{}.{block}.conv{}.weight", stage + 1, i + 1);
                let fits = |shape: &&Shape| shape[0] == channels << stage && shape[2..] == [kernel, kernel];
                weights.get(&path).filter(fits).ok_or_else(|| {
                    format!(
                        "{path}: {:?}, the paper has {kernel}×{kernel}, {}",
                        weights.get(&path),
                        channels << stage
                    )
                })?;
            }
        }
        let branch: Vec<String> = column
            .block
            .iter()
            .map(|[kernel, channels]| format!("{kernel}×{kernel}, {}", channels << stage))
            .collect();
        rows.push(format!("{size}² [{}] ×{blocks}", branch.join("; ")));
    }
    Ok(rows.join(" | "))
}

/// Inputs that do not fit are refused with the layer's name and the same words, whether the
/// network is run or only worked out.
fn refusals<T: Float>(net: &Network<T>) -> Outcome {
    let mut refused = Vec::new();
    for (input, beginning) in [
        (Shape::new([1, 4, 64, 64])?, "conv1: conv2d: "),
        (Shape::new([3, 64, 64])?, "conv1: conv2d needs 4 axes"),
    ] {
        let traced = net.trace(&input).map(|trace| trace.output().clone());
        let traced = traced.map_err(|error| error.to_string());
        let tape = Tape::without_recording();
        let run = net.forward(&tape.input(Tensor::zeros(&input)), Mode::Eval);
        let run = run.map(|output| output.shape().clone()).map_err(|error| error.to_string());
        if traced != run {
            return Err(Difference::found(format!("{input}: worked out {traced:?}, run {run:?}")));
        }
        match run {
            Err(message) if message.starts_with(beginning) && message.contains(&input.to_string()) => {
                refused.push(message);
            }
            other => return Err(format!("{input}: {other:?} does not begin with \"{beginning}\"").into()),
        }
    }
    // Deep inside, the path is the block's.
    let block = BlockConfig::basic(8, 8).build::<T>(&mut Generator::new(0))?;
    let nested =
        Sequential::named(vec![Child::new("layer3", Sequential::named(vec![Child::new("0", block)]))]);
    match nested.trace(&Shape::new([1, 7, 9, 9])?) {
        Err(error) if error.to_string().starts_with("layer3.0.conv1: ") => refused.push(error.to_string()),
        other => return Err(format!("{other:?} does not name the layer").into()),
    }
    Ok(format!("{} inputs, such as: {}", grouped(refused.len()), refused[0]))
}
