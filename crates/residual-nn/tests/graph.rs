//! A module's graph computes what the module computes.

use std::collections::HashSet;

use residual_autograd::Tape;
use residual_nn::{Graph, Mode, Module, layers};
use residual_tensor::{Generator, Tensor};

/// Gives every state another value, because fresh batch normalizations are all alike. Squares
/// keep variances positive.
fn disturb(module: &dyn Module<f64>, generator: &mut Generator) {
    for (_, state) in module.states() {
        state.update(|value| {
            value.as_mut_slice().iter_mut().for_each(|value| *value += generator.normal().powi(2));
        });
    }
}

fn eval(module: &dyn Module<f64>, x: &Tensor<f64>) -> Tensor<f64> {
    let tape = Tape::without_recording();
    module.forward(&tape.input(x.clone()), Mode::Eval).unwrap().value().clone()
}

#[test]
fn every_layer_and_block_is_its_graph() {
    for entry in layers() {
        for case in 0..20u64 {
            let mut generator = Generator::new(4).split(entry.name).split(case);
            let sample = entry.sample(&mut generator);
            disturb(&*sample.module, &mut generator);
            let graph = Graph::of(&*sample.module);
            let (of_graph, of_module) =
                (graph.evaluate(&sample.input).unwrap(), eval(&*sample.module, &sample.input));
            // The same kernels in the same order: the same bits.
            assert_eq!(of_graph, of_module, "{} {case}", entry.name);
            let paths: HashSet<_> = graph.nodes().iter().map(|node| &node.path).collect();
            assert_eq!(paths.len(), graph.nodes().len(), "{} {case}: {paths:?}", entry.name);
            for (id, node) in graph.iter() {
                assert!(node.inputs.iter().all(|&input| input < id), "{} {case}: {node:?}", entry.name);
            }
        }
    }
}

#[test]
fn a_graph_sees_what_is_learnt_after_it_was_made() {
    let entry = layers().into_iter().find(|entry| entry.name == "Block").unwrap();
    let mut generator = Generator::new(5);
    let sample = entry.sample(&mut generator);
    let graph = Graph::of(&*sample.module);
    let before = graph.evaluate(&sample.input).unwrap();
    disturb(&*sample.module, &mut generator);
    let after = graph.evaluate(&sample.input).unwrap();
    assert_ne!(before, after);
    assert_eq!(after, eval(&*sample.module, &sample.input));
}
