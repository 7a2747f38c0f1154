//! What holds for every layer and block, whatever its configuration.

use residual_autograd::{GradCheck, Tape, Tolerance};
use residual_nn::{
    BasicBlock, BatchNorm2d, BatchNormConfig, BlockConfig, BlockOrder, Bottleneck, Builder, Child, Conv2d,
    Conv2dConfig, Conv2dGeometry, LayerSample, Mode, Module, Node, PreBasicBlock, Role, Sequential,
    ShortcutKind, layers,
};
use residual_tensor::{Generator, Shape, Tensor};

#[test]
fn gradients_of_inputs_and_parameters_agree_with_difference_quotients() {
    for entry in layers() {
        for case in 0..6u64 {
            let mut generator = Generator::new(2).split(entry.name).split(case);
            let sample = entry.sample(&mut generator);
            for mode in [Mode::Train, Mode::Eval] {
                // Of two steps one may reach over a ReLU's kink; a gradient that is wrong is wrong for both.
                let mut check = |step: f64| {
                    let differentiable = sample.differentiable();
                    let tolerance = Tolerance { step, ..Tolerance::default() };
                    let apply = |values: &[_]| sample.apply(values, mode);
                    GradCheck::run(&differentiable, apply, &mut generator, tolerance)
                        .unwrap_or_else(|error| panic!("{} {case}: {error}", entry.name))
                };
                let first = check(1e-6);
                assert!(first.passed() || check(1e-7).passed(), "{} {case} {mode:?}: {first:?}", entry.name);
            }
        }
    }
}

/// Output, gradient of the input, and all states and their gradients after a step forward and
/// back on `tape`.
fn step(module: &dyn Module<f64>, tape: &Tape<f64>, input: &Tensor<f64>) -> Vec<Tensor<f64>> {
    let x = tape.clone().with_generator(Generator::new(7)).leaf(input.clone());
    let y = module.forward(&x, Mode::Train).unwrap();
    let upstream = Generator::new(8).normal_tensor(y.shape(), 1.0);
    let gradients = y.backward_with(upstream).unwrap();
    let states = module.states();
    let of_states = states.iter().filter_map(|(_, state)| gradients.of_state(state).cloned());
    let results = [y.value().clone(), gradients.of(&x).unwrap().clone()].into_iter().chain(of_states);
    results.chain(states.iter().map(|(_, state)| state.value())).collect()
}

#[test]
fn what_runs_fused_gives_what_runs_layer_by_layer_gives() {
    for entry in layers() {
        for case in 0..20u64 {
            let run = |tape: Tape<f64>| {
                let LayerSample { module, input } =
                    entry.sample(&mut Generator::new(4).split(entry.name).split(case));
                step(&*module, &tape, &input)
            };
            let observed = Tape::new();
            observed.observe(|_, _| ());
            let [fused, plain] = [Tape::new(), observed].map(run);
            assert_eq!(fused.len(), plain.len());
            for (which, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
                for (fused, plain) in fused.to_vec().into_iter().zip(plain.to_vec()) {
                    let allowed = 1e-9 * (1.0 + plain.abs());
                    assert!(
                        (fused - plain).abs() < allowed,
                        "{} {case} {which}: {fused} {plain}",
                        entry.name
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_run_again_gives_the_same_bits() {
    for order in [BlockOrder::Post, BlockOrder::Pre] {
        let config = BlockConfig { order, drop_path_rate: 0.5, ..BlockConfig::bottleneck(6, 3) }.stride(2);
        let run = |tape: Tape<f64>| {
            let mut generator = Generator::new(5);
            let stage = Sequential::blocks([config.build::<f64>(&mut generator).unwrap()]);
            let input = generator.normal_tensor([4, 6, 5, 7], 1.0);
            (step(&stage, &tape, &input), tape.len(), stage.parameters().len())
        };
        let [(plain, nodes, _), (again, fewer, parameters)] = [Tape::new(), Tape::checkpointing()].map(run);
        assert!(plain.iter().eq(&again), "{order:?}");
        assert!(fewer == parameters + 2 && nodes > fewer, "{order:?}: {fewer} of {nodes}");
    }
}

/// A convolution that is used twice, then a stage with one of its own inside.
struct Shared {
    conv: Child<Conv2d<f64>>,
    inner: Child<Sequential<ConvNorm>>,
}

struct ConvNorm {
    conv: Child<Conv2d<f64>>,
    norm: Child<BatchNorm2d<f64>>,
}

impl Module<f64> for ConvNorm {
    fn build(&self, b: &Builder<f64>, x: Node) -> Node {
        b.call(&self.norm, b.call(&self.conv, x))
    }
}

impl Module<f64> for Shared {
    fn build(&self, b: &Builder<f64>, x: Node) -> Node {
        let y = b.call(&self.conv, b.call(&self.conv, x));
        b.relu(b.call(&self.inner, y))
    }
}

#[test]
fn what_is_shared_or_nested_is_run_again_with_the_same_bits() {
    let run = |tape: Tape<f64>| {
        let mut generator = Generator::new(5);
        let mut conv = || {
            let config = Conv2dConfig::new(3, 3, Conv2dGeometry::new(3, 3).padding(1));
            Child::new("conv", Conv2d::new(&config, &mut generator).unwrap())
        };
        let norm = Child::new("norm", BatchNorm2d::new(&BatchNormConfig::new(3)).unwrap());
        let inner = Sequential::blocks([ConvNorm { conv: conv(), norm }]);
        let shared = Shared { conv: conv(), inner: Child::new("inner", inner) };
        let stage = Sequential::blocks([shared]);
        step(&stage, &tape, &generator.normal_tensor([4, 3, 5, 7], 1.0))
    };
    let [plain, again] = [Tape::new(), Tape::checkpointing()].map(run);
    assert!(plain.iter().eq(&again));
}

#[test]
fn shapes_worked_out_are_those_of_runs() {
    for entry in layers() {
        for case in 0..20u64 {
            let sample = entry.sample(&mut Generator::new(3).split(entry.name).split(case));
            let [executed, worked_out] = sample.shapes(Mode::Train).unwrap();
            assert_eq!(executed, worked_out, "{} {case}", entry.name);
        }
    }
}

#[test]
fn states_come_by_torchvision_path_and_order() {
    let block =
        Bottleneck::<f32>::new(&BlockConfig::bottleneck(8, 4).stride(2), &mut Generator::new(0)).unwrap();
    let paths: Vec<_> = block.states().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), 4 * 6);
    assert_eq!(
        paths[..6],
        [
            "conv1.weight",
            "bn1.weight",
            "bn1.bias",
            "bn1.running_mean",
            "bn1.running_var",
            "bn1.num_batches_tracked"
        ]
    );
    assert_eq!(paths[18], "downsample.0.weight");
    assert_eq!(paths[23], "downsample.1.num_batches_tracked");
}

#[test]
fn running_statistics_follow_training_and_not_evaluation() {
    let block = BasicBlock::<f64>::new(&BlockConfig::basic(2, 2), &mut Generator::new(0)).unwrap();
    let buffers = || -> Vec<f64> {
        let states = block.states().into_iter().filter(|(_, state)| state.role() != Role::Parameter);
        states.flat_map(|(_, state)| state.value().to_vec()).collect()
    };
    let x = Generator::new(1).normal_tensor([4, 2, 5, 5], 1.0);
    let before = buffers();
    block.forward(&Tape::without_recording().input(x.clone()), Mode::Eval).unwrap();
    assert_eq!(buffers(), before);
    block.forward(&Tape::without_recording().input(x), Mode::Train).unwrap();
    assert_ne!(buffers(), before);
    let (_, counter) =
        block.states().into_iter().find(|(path, _)| path == "bn2.num_batches_tracked").unwrap();
    assert_eq!(counter.value().item().unwrap(), 1.0);
}

#[test]
fn shortcuts_are_solid_or_dashed_as_the_options_say() {
    let mut g = Generator::new(0);
    let mut kind = |kind, out_channels, stride| {
        let config = BlockConfig { shortcut: kind, ..BlockConfig::basic(4, out_channels).stride(stride) };
        let graph = config.build::<f32>(&mut g).unwrap().graph();
        let shortcut: Vec<&str> = graph
            .iter()
            .filter(|&node| graph.node(node).path.starts_with("downsample"))
            .map(|node| graph.operation(node).name())
            .collect();
        match shortcut[..] {
            [] => "identity",
            ["subsample_pad"] => "pad",
            ["conv2d", "batch_norm"] => "projection",
            _ => panic!("{shortcut:?}"),
        }
    };
    assert_eq!([kind(ShortcutKind::A, 4, 1), kind(ShortcutKind::A, 8, 2)], ["identity", "pad"]);
    assert_eq!([kind(ShortcutKind::B, 4, 1), kind(ShortcutKind::B, 8, 2)], ["identity", "projection"]);
    assert_eq!([kind(ShortcutKind::C, 4, 1), kind(ShortcutKind::B, 8, 1)], ["projection", "projection"]);
}

#[test]
fn a_zero_initialised_residual_block_starts_as_relu_of_its_input() {
    let config = BlockConfig { zero_init: true, ..BlockConfig::basic(3, 3) };
    let block = BasicBlock::<f64>::new(&config, &mut Generator::new(0)).unwrap();
    let tape = Tape::without_recording();
    let x = tape.input(Generator::new(1).normal_tensor([2, 3, 4, 4], 1.0));
    assert_eq!(block.forward(&x, Mode::Train).unwrap().value(), x.relu().unwrap().value());
}

#[test]
fn pre_activated_identity_blocks_pass_their_input_on_unchanged() {
    let config = BlockConfig { order: BlockOrder::Pre, residual: true, ..BlockConfig::basic(3, 3) };
    let block = PreBasicBlock::<f64>::new(&config, &mut Generator::new(0)).unwrap();
    for (path, state) in block.parameters() {
        if path == "conv2.weight" {
            state.set(&Tensor::zeros(state.shape())).unwrap();
        }
    }
    let tape = Tape::without_recording();
    let x = tape.input(Generator::new(1).normal_tensor([2, 3, 4, 4], 1.0));
    assert_eq!(block.forward(&x, Mode::Train).unwrap().value(), x.value());
}

#[test]
fn a_wrong_shape_names_the_layer_and_both_shapes_run_or_propagated() {
    let block = BasicBlock::<f32>::new(&BlockConfig::basic(4, 8), &mut Generator::new(0)).unwrap();
    let module = Sequential::named(vec![Child::new("layer1", Sequential::numbered([block]))]);
    let worked_out = module.trace(&Shape::new([2, 3, 8, 8]).unwrap()).unwrap_err().to_string();
    let tape = Tape::without_recording();
    let x = tape.input(Tensor::zeros([2, 3, 8, 8]));
    let executed = module.forward(&x, Mode::Train).unwrap_err().to_string();
    assert_eq!(worked_out, executed);
    assert!(executed.starts_with("layer1.0.conv1: conv2d: "), "{executed}");
    assert!(executed.contains("[2, 3, 8, 8]") && executed.contains("[8, 4, 3, 3]"), "{executed}");
}
