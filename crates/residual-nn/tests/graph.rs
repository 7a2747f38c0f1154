//! The graph of a module: paths, order, groups, states.

use std::collections::HashSet;

use residual_autograd::Tape;
use residual_nn::{
    BatchNorm2d, BatchNormConfig, Builder, Child, Conv2d, Conv2dConfig, Mode, Module, Node, layers,
};
use residual_tensor::Generator;

#[test]
fn nodes_have_paths_of_their_own_and_stand_behind_their_inputs() {
    for entry in layers() {
        for case in 0..20u64 {
            let sample = entry.sample(&mut Generator::new(4).split(entry.name).split(case));
            let graph = sample.module.graph();
            let paths: HashSet<_> = graph.nodes().iter().map(|node| &node.path).collect();
            assert_eq!(paths.len(), graph.nodes().len(), "{} {case}: {paths:?}", entry.name);
            for node in graph.iter() {
                assert!(graph.node(node).inputs.iter().all(|&input| input < node), "{} {case}", entry.name);
            }
            // Every operation is in one group, and groups stand behind what they read.
            let mut computed = HashSet::from([0]);
            for group in graph.groups() {
                let members: HashSet<_> = group.members().map(|node| node.index()).collect();
                for member in group.members() {
                    let mut inputs = graph.node(member).inputs.iter().map(|input| input.index());
                    assert!(inputs.all(|input| computed.contains(&input) || members.contains(&input)));
                }
                computed.extend(members);
            }
            assert_eq!(computed.len(), graph.nodes().len(), "{} {case}", entry.name);
        }
    }
}

/// A convolution, a normalization, an addition and a ReLU, of which something else reads `read`.
struct ReadTwice {
    conv: Child<Conv2d<f64>>,
    norm: Child<BatchNorm2d<f64>>,
    read: usize,
}

impl Module<f64> for ReadTwice {
    fn build(&self, b: &Builder<f64>, x: Node) -> Node {
        let y = b.call(&self.conv, x);
        let z = b.call(&self.norm, y);
        let sum = b.add(z, x);
        let end = b.relu(sum);
        match [x, y, z, sum, end].get(self.read) {
            Some(&read) => b.add(end, read),
            None => end,
        }
    }
}

#[test]
fn what_something_else_reads_is_not_fused_away() {
    // Read once, all four are one group; what is read twice ends its group.
    for (read, expected) in
        [(5, vec![4]), (0, vec![4, 1]), (1, vec![1, 1, 2, 1]), (2, vec![2, 2, 1]), (3, vec![3, 1, 1])]
    {
        let mut generator = Generator::new(1);
        let conv = Conv2d::new(&Conv2dConfig::three(3, 3), &mut generator).unwrap();
        let norm = BatchNorm2d::new(&BatchNormConfig::new(3)).unwrap();
        let module = ReadTwice { conv: Child::new("conv", conv), norm: Child::new("norm", norm), read };
        let graph = module.graph();
        let sizes: Vec<usize> = graph.groups().iter().map(|group| group.members().count()).collect();
        assert_eq!(sizes, expected, "{read}: {graph:?}");
        let x = generator.normal_tensor([2, 3, 4, 5], 1.0);
        let observed = Tape::without_recording();
        observed.observe(|_, _| ());
        let [fused, single] = [Tape::without_recording(), observed]
            .map(|tape| module.forward(&tape.input(x.clone()), Mode::Train).unwrap().value().to_vec());
        assert!(fused.iter().zip(&single).all(|(a, b)| (a - b).abs() < 1e-12), "{read}");
    }
}

#[test]
fn a_state_in_two_places_is_one_state() {
    struct Twice(Child<Conv2d<f64>>);
    impl Module<f64> for Twice {
        fn build(&self, b: &Builder<f64>, x: Node) -> Node {
            b.call(&self.0, b.call(&self.0, x))
        }
    }
    let conv = Conv2d::new(&Conv2dConfig::three(2, 2), &mut Generator::new(0)).unwrap();
    let states = Twice(Child::new("conv", conv)).states();
    assert_eq!(states.into_iter().map(|(path, _)| path).collect::<Vec<_>>(), ["conv.weight"]);
}

/// Gives every state another value, because fresh batch normalizations are all alike. Squares
/// keep variances positive.
fn disturb(module: &dyn Module<f64>, generator: &mut Generator) {
    for (_, state) in module.states() {
        state.update(|value| {
            value.as_mut_slice().iter_mut().for_each(|value| *value += generator.normal().powi(2));
        });
    }
}

#[test]
fn a_graph_sees_what_is_learnt_after_it_was_made() {
    let entry = layers().into_iter().find(|entry| entry.name == "Block").unwrap();
    let mut generator = Generator::new(5);
    let sample = entry.sample(&mut generator);
    let graph = sample.module.graph();
    let before = graph.evaluate(&sample.input).unwrap();
    disturb(&*sample.module, &mut generator);
    let after = graph.evaluate(&sample.input).unwrap();
    assert_ne!(before, after);
}
