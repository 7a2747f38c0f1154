//! The graph of a network.

use std::collections::HashSet;

use residual_nn::Module;
use residual_tensor::{Generator, Tensor};
use residual_zoo::{NetworkConfig, names};

#[test]
fn states_are_named_by_their_layers() {
    for name in names() {
        let config = NetworkConfig::named(&name).unwrap();
        let net = config.classes(3).build_blank::<f64>().unwrap();
        let graph = net.graph();
        let nodes: HashSet<_> = graph.nodes().iter().map(|node| node.path.as_str()).collect();
        assert_eq!(nodes.len(), graph.nodes().len(), "{name}: paths are unique");
        let states = net.states();
        for (path, _) in states.iter().filter(|(path, _)| !path.ends_with(".gamma")) {
            assert!(nodes.contains(path.rsplit_once('.').unwrap().0), "{name}: {path}");
        }
        let layers = graph.iter().filter(|&node| !graph.operation(node).states().is_empty()).count();
        let first = |path: &str| path.ends_with("weight") || path.ends_with("gamma");
        assert_eq!(states.iter().filter(|(path, _)| first(path)).count(), layers, "{name}");
    }
}

#[test]
fn an_input_that_does_not_fit_names_the_node() {
    let net = NetworkConfig::named("cifar_resnet8").unwrap().build::<f32>(&mut Generator::new(0)).unwrap();
    let error = net.graph().evaluate(&Tensor::zeros([1, 1, 32, 32])).unwrap_err().to_string();
    assert!(error.starts_with("conv1: conv2d: ") && error.contains("[1, 1, 32, 32]"), "{error}");
}
