//! A network's graph computes what the network computes, and is named by its states.

use std::collections::HashSet;

use residual_autograd::Tape;
use residual_nn::{Graph, Mode, Module, Op};
use residual_tensor::{Generator, Tensor};
use residual_zoo::{ResNetConfig, names};

#[test]
fn every_network_is_its_graph() {
    for name in names() {
        let config = ResNetConfig::named(&name).unwrap();
        let mut generator = Generator::new(0).split(&*name);
        let net = config.classes(3).build::<f64>(&mut generator).unwrap();
        let graph = Graph::of(&net);
        let nodes: HashSet<_> = graph.nodes().iter().map(|node| node.path.as_str()).collect();
        assert_eq!(nodes.len(), graph.nodes().len(), "{name}: paths are unique");
        let mut weights = 0;
        for (path, _) in net.states() {
            let layer = path.rsplit_once('.').unwrap().0;
            assert!(nodes.contains(layer), "{name}: {path}");
            weights += usize::from(path.ends_with("weight"));
        }
        let stateful =
            |op: &Op<f64>| matches!(op, Op::Conv2d { .. } | Op::BatchNorm2d { .. } | Op::Linear { .. });
        assert_eq!(graph.nodes().iter().filter(|node| stateful(&node.op)).count(), weights, "{name}");

        // Wide weights take long to draw, deep networks to run; what is left are all kinds.
        if net.config().layers() > 60 {
            continue;
        }
        let x: Tensor<f64> = generator.normal_tensor([1, 3, 32, 33], 1.0);
        let tape = Tape::without_recording();
        let of_net = net.forward(&tape.input(x.clone()), Mode::Eval).unwrap();
        assert_eq!(&graph.evaluate(&x).unwrap(), of_net.value(), "{name}");
    }
}

#[test]
fn an_input_that_does_not_fit_names_the_node() {
    let net = ResNetConfig::named("cifar_resnet8").unwrap().build::<f32>(&mut Generator::new(0)).unwrap();
    let error = Graph::of(&net).evaluate(&Tensor::zeros([1, 1, 32, 32])).unwrap_err().to_string();
    assert!(error.starts_with("conv1: conv2d: ") && error.contains("[1, 1, 32, 32]"), "{error}");
}
