//! A session gives the same bits however it is run, and does not answer with numbers where the network
//! has none.

use residual_autograd::Tape;
use residual_infer::{Compiled, Session};
use residual_nn::{Mode, Module};
use residual_tensor::{Generator, Tensor};
use residual_zoo::{Network, NetworkConfig};

/// Between them every kind of step: projections and pooling, zero-padded shortcuts, normalization
/// that stands alone, groups.
const NETWORKS: [(&str, [usize; 4]); 4] = [
    ("resnet18", [2, 3, 43, 38]),
    ("cifar_resnet8", [3, 3, 17, 20]),
    ("preresnet18", [2, 3, 33, 40]),
    ("cifar_resnext11_4x8d", [2, 3, 16, 19]),
];

fn network(name: &str) -> Network<f32> {
    NetworkConfig::named(name).unwrap().classes(5).build(&mut Generator::new(0)).unwrap()
}

fn bits(tensor: &Tensor<f32>) -> Vec<u32> {
    tensor.to_vec().into_iter().map(f32::to_bits).collect()
}

fn on_tape(net: &Network<f32>, images: &Tensor<f32>) -> Vec<f32> {
    let tape = Tape::without_recording();
    net.forward(&tape.input(images.clone()), Mode::Eval).unwrap().value().to_vec()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (name, shape) in NETWORKS {
        let (net, images) = (network(name), Generator::new(1).normal_tensor(shape, 1.0));
        let answer = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut session = Session::new(&net, shape).unwrap();
                let first = bits(&session.run(&images).unwrap());
                assert_eq!(bits(&session.run(&images).unwrap()), first, "{name}, {threads} threads, again");
                first
            })
        };
        let expected = answer(1);
        for threads in [2, 3, 4, 8] {
            assert_eq!(answer(threads), expected, "{name}, {threads} threads");
        }
    }
}

#[test]
fn threads_that_ask_at_once_get_what_one_gets() {
    let (net, shape) = (network("cifar_resnet8"), [2, 3, 24, 24]);
    let images = |session: u64| Generator::new(session).normal_tensor::<f32>(shape, 1.0);
    let alone = |session| bits(&Session::new(&net, shape).unwrap().run(&images(session)).unwrap());
    let expected: Vec<_> = (0..4).map(alone).collect();
    let compiled = Compiled::new(&net);
    std::thread::scope(|scope| {
        for session in 0..4 {
            let (compiled, expected) = (&compiled, &expected);
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(bits(&compiled.run(&images(session)).unwrap()), expected[session as usize]);
                }
            });
        }
    });
}

/// A weight that is no number, in a convolution whose results pass a ReLU: the ReLU must not make a
/// number of them.
#[test]
fn a_weight_that_is_no_number_shows() {
    for (name, shape) in NETWORKS {
        let images = Generator::new(1).normal_tensor(shape, 1.0);
        for path in ["conv1.weight", "layer1.0.conv2.weight", "layer2.0.bn1.bias", "fc.weight"] {
            let net = network(name);
            let (_, state) = net.parameters().into_iter().find(|(other, _)| other == path).unwrap();
            state.update(|value| value.as_mut_slice()[0] = f32::NAN);
            let (found, expected) =
                (Session::new(&net, shape).unwrap().run(&images).unwrap(), on_tape(&net, &images));
            let nan = |values: &[f32]| values.iter().map(|value| value.is_nan()).collect::<Vec<_>>();
            assert!(expected.iter().any(|value| value.is_nan()), "{name}, {path}: {expected:?}");
            assert_eq!(
                nan(&found.to_vec()),
                nan(&expected),
                "{name}, {path}: {found:?}, on a tape {expected:?}"
            );
        }
    }
}

#[test]
fn one_picture_that_is_no_number_leaves_the_others_alone() {
    for (name, shape) in NETWORKS {
        let net = network(name);
        let clean = Generator::new(1).normal_tensor::<f32>(shape, 1.0);
        let expected = Session::new(&net, shape).unwrap().run(&clean).unwrap().to_vec();
        for value in [f32::NAN, f32::INFINITY] {
            let mut values = clean.to_vec();
            *values.last_mut().unwrap() = value; // in the last picture's last corner
            let images = Tensor::from_vec(shape, values).unwrap();
            let found = Session::new(&net, shape).unwrap().run(&images).unwrap().to_vec();
            let last = found.len() - 5;
            assert_eq!(found[..last], expected[..last], "{name}, {value}");
            assert!(found[last..].iter().all(|value| !value.is_finite()), "{name}, {value}: {found:?}");
        }
    }
}
