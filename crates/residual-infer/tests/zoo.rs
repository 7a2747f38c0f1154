//! A compiled network answers as the network does, whatever the kind.

use residual_autograd::Tape;
use residual_infer::{Compiled, Session};
use residual_nn::{
    AvgPool2d, BatchNorm2d, BatchNormConfig, Builder, Linear, MaxPool2d, Mode, Module, Node, Pool2dGeometry,
    Relu, Role, Shortcut, SubsamplePad,
};
use residual_tensor::{Generator, Layout, Tensor};
use residual_zoo::{Network, NetworkConfig};

/// A network as after some training: no two channels are normalised alike.
fn trained(config: &NetworkConfig) -> Network<f32> {
    let mut generator = Generator::new(0).split(&*config.name);
    let net = config.build::<f32>(&mut generator).unwrap();
    for (path, state) in net.states() {
        let vector = state.shape().rank() == 1 && state.role() != Role::Counter;
        state.update(|value| {
            for value in value.as_mut_slice().iter_mut().filter(|_| vector) {
                let part = (0.6 * generator.uniform() - 0.3) as f32;
                *value = if path.ends_with("running_var") { 1.0 + part } else { *value + part };
            }
        });
    }
    net
}

fn eval(module: &dyn Module<f32>, images: &Tensor<f32>) -> Tensor<f32> {
    let tape = Tape::without_recording();
    module.forward(&tape.input(images.clone()), Mode::Eval).unwrap().value().clone()
}

/// The largest difference, over the largest value.
fn difference(a: &Tensor<f32>, b: &Tensor<f32>) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_vec(), b.to_vec());
    let largest = b.iter().fold(f32::MIN_POSITIVE, |largest, b| largest.max(b.abs()));
    // What is not a number is a difference without end.
    let distance = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    a.iter().zip(&b).map(distance).fold(0.0, f32::max) / largest
}

fn check(config: &NetworkConfig, [batch, height, width]: [usize; 3]) {
    let net = trained(config);
    let shape = [batch, config.input_channels, height, width];
    let images: Tensor<f32> = Generator::new(1).normal_tensor(shape, 1.0);
    let mut session = Session::new(&net, shape).unwrap();
    let want = eval(&net, &images);
    let got = session.run(&images).unwrap();
    let name = &config.name;
    assert!(difference(&got, &want) < 1e-4, "{name} {shape:?}: {}", difference(&got, &want));
    // Twice the same, from either layout: nothing of the first run is left.
    assert_eq!(session.run(&images.to_layout(Layout::ChannelsLast)).unwrap(), got, "{name}");
}

fn named(name: &str) -> NetworkConfig {
    NetworkConfig::named(name).unwrap().classes(7)
}

#[test]
fn networks_for_large_pictures() {
    for name in ["resnet18", "plain18", "preresnet18", "resnet50", "resnet50_v1", "preresnet50"] {
        check(&named(name), [1, 64, 64]);
    }
    for name in ["resnet34", "wide_resnet50_2", "resnext50_32x4d"] {
        check(&named(name), [2, 37, 50]);
    }
}

#[test]
fn batches_that_are_taken_in_parts() {
    for name in ["resnet18", "preresnet18", "resnext50_32x4d"] {
        check(&named(name), [4, 160, 224]);
    }
    let session = Session::new(&trained(&named("resnet18")), [4, 3, 224, 224]).unwrap();
    assert!(
        session.to_string().contains("up to layer2.1.conv2 one after the other for 4 parts"),
        "{session}"
    );
}

#[test]
fn networks_for_small_pictures() {
    for name in ["cifar_resnet20", "cifar_plain20", "cifar_preresnet20", "cifar_preresnet29", "cifar_wrn10_2"]
    {
        check(&named(name), [3, 32, 32]);
        check(&named(name).input_channels(1), [1, 17, 25]);
    }
}

#[test]
fn every_shortcut() {
    use residual_nn::ShortcutKind::{A, B, C};
    for name in ["cifar_resnet8", "cifar_preresnet8", "resnet18"] {
        for kind in [A, B, C] {
            check(&named(name).shortcut(kind), [2, 33, 31]);
        }
    }
}

#[test]
fn networks_with_layer_normalization() {
    for (name, shape) in [("convnext_atto", [2, 64, 64]), ("convnext_tiny", [1, 37, 50])] {
        check(&named(name), shape);
    }
}

#[test]
fn what_training_alone_does_is_left_out() {
    for name in ["resnet18", "preresnet18", "convnext_atto"] {
        let steps = |drop_path_rate| {
            let config = NetworkConfig { drop_path_rate, ..named(name) };
            let net = trained(&config);
            assert!(drop_path_rate == 0.0 || format!("{:?}", net.graph()).contains("drop_path"));
            Session::new(&net, [1, 3, 64, 64]).unwrap().to_string()
        };
        assert_eq!(steps(0.3), steps(0.0));
        check(&NetworkConfig { drop_path_rate: 0.3, ..named(name) }, [1, 64, 64]);
    }
}

#[test]
fn very_deep_networks() {
    // Branches that begin near zero: else the sum of 600 of them is beyond f32.
    let mut config = named("cifar_resnet1202");
    config.zero_init_residual = true;
    check(&config, [1, 8, 8]);
}

/// Sums that no convolution can take up.
struct Sums;

impl Module<f32> for Sums {
    fn build(&self, b: &Builder<f32>, x: Node) -> Node {
        let y = b.relu(x);
        let sum = b.relu(b.add(y, x));
        let product = b.sigmoid(b.mul(sum, y));
        b.add(b.add(product, y), x)
    }
}

#[test]
fn layers_that_stand_alone() {
    let mut generator = Generator::new(2);
    let images: Tensor<f32> = generator.normal_tensor([2, 3, 5, 6], 1.0);
    let window = Pool2dGeometry::new(3, 2).stride(2).padding(1);
    let layers: [Box<dyn Module<f32>>; 7] = [
        Box::new(Relu),
        Box::new(Sums),
        Box::new(AvgPool2d(window)),
        Box::new(MaxPool2d(window)),
        Box::new(BatchNorm2d::new(&BatchNormConfig::new(3).gamma(0.5)).unwrap()),
        Box::new(SubsamplePad { stride: 2, in_channels: 3, out_channels: 5 }),
        Box::new(Shortcut::Identity),
    ];
    for (index, layer) in layers.iter().enumerate() {
        let want = eval(&**layer, &images);
        let mut session = Session::new(layer, images.shape()).unwrap();
        for images in [images.clone(), images.to_layout(Layout::ChannelsLast)] {
            assert!(difference(&session.run(&images).unwrap(), &want) < 1e-6, "{index}");
        }
    }
    let (features, linear) =
        (generator.normal_tensor([3, 6], 1.0), Linear::new(6, 4, &mut generator).unwrap());
    let answer = Session::new(&linear, [3, 6]).unwrap().run(&features).unwrap();
    assert!(difference(&answer, &eval(&linear, &features)) < 1e-6);
}

#[test]
fn a_compiled_network_meets_several_shapes() {
    let net = trained(&named("cifar_resnet8"));
    let compiled = Compiled::new(&net);
    for batch in [4, 4, 2, 1, 4] {
        let images: Tensor<f32> = Generator::new(batch).normal_tensor([batch as usize, 3, 16, 16], 1.0);
        assert!(difference(&compiled.run(&images).unwrap(), &eval(&net, &images)) < 1e-4);
    }
}

#[test]
fn what_does_not_fit_names_the_layer() {
    let net = trained(&named("cifar_resnet8"));
    let error = Session::new(&net, [1, 1, 32, 32]).unwrap_err().to_string();
    assert!(error.starts_with("conv1: conv2d: ") && error.contains("[1, 1, 32, 32]"), "{error}");
    let mut session = Session::new(&net, [1, 3, 32, 32]).unwrap();
    let error = session.run(&Tensor::zeros([2, 3, 32, 32])).unwrap_err().to_string();
    assert!(error.contains("[2, 3, 32, 32]") && error.contains("[1, 3, 32, 32]"), "{error}");
}

#[test]
fn a_printed_session_shows_what_was_fused() {
    let session = Session::new(&trained(&named("cifar_resnet8")), [2, 3, 32, 32]).unwrap();
    let text = session.to_string();
    let line =
        |path: &str| text.lines().find(|line| line.starts_with(path)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("layer1.0.conv2").contains("+ sum in place + relu"), "{text}");
    assert!(line("conv1").contains("+ relu") && line("conv1").contains("[2, 16, 32, 32]"), "{text}");
    // A stem, six convolutions, two shortcuts of kind A, pooling, a classifier.
    assert!(text.contains("11 steps"), "{text}");
    // A block's input, which its output replaces, and what is between its convolutions.
    assert_eq!(session.arena_bytes(), 2 * 2 * 16 * 32 * 32 * 4);
}

#[test]
fn an_answer_that_does_not_lie_channels_last_is_refused() {
    let block =
        residual_nn::BasicBlock::<f32>::new(&residual_nn::BlockConfig::basic(4, 4), &mut Generator::new(0));
    let (images, compiled) = (Tensor::full([1, 4, 6, 6], 0.5), Compiled::new(&block.unwrap()));
    let mut answer = Tensor::zeros([1, 4, 6, 6]);
    let error = compiled.session([1, 4, 6, 6]).unwrap().run_into(&images, &mut answer).unwrap_err();
    assert!(error.to_string().contains("must lie channels-last"), "{error}");
}
