//! Freezing up to a stage: which states it keeps, and what is no longer computed.

use residual_autograd::{Gradients, Tape};
use residual_nn::{Mode, Module, Role};
use residual_tensor::Generator;
use residual_zoo::{Network, NetworkConfig};

fn build(name: &str) -> Network<f64> {
    let mut config = NetworkConfig::named(name).unwrap();
    (config.depths, config.widths) = (vec![1, 1, 1], vec![4, 4, 8]);
    config.build(&mut Generator::new(3)).unwrap()
}

/// A forward pass in training and its backward.
fn step(net: &Network<f64>) -> Gradients<f64> {
    let tape = Tape::new();
    let images = tape.input(Generator::new(4).normal_tensor([4, 3, 8, 8], 1.0));
    let loss = net.forward(&images, Mode::Train).unwrap().cross_entropy(&[0, 3, 5, 9], 0.0).unwrap();
    loss.backward().unwrap()
}

#[test]
fn what_comes_before_the_stage_is_kept_to_the_last_bit() {
    for (name, stage, kept) in [
        ("cifar_resnet20", "layer1", &["conv1", "bn1"][..]),
        ("cifar_resnet20", "layer3", &["conv1", "bn1", "layer1", "layer2"]),
        ("cifar_resnet20", "fc", &["conv1", "bn1", "layer1", "layer2", "layer3"]),
        // The last normalization of a pre-activated network belongs to what is before the classifier.
        ("cifar_preresnet20", "fc", &["conv1", "layer1", "layer2", "layer3", "norm"]),
        ("cifar_preresnet20", "layer3", &["conv1", "layer1", "layer2"]),
    ] {
        let net = build(name);
        step(&net); // so that running statistics are not those of a new network
        net.freeze_until(stage).unwrap();
        let is_kept = |path: &str| kept.iter().any(|part| path.split('.').next() == Some(part));
        let before: Vec<_> = net.states().iter().map(|(_, state)| state.value()).collect();
        let gradients = step(&net);
        for ((path, state), before) in net.states().into_iter().zip(before) {
            match state.role() {
                Role::Parameter => {
                    assert_eq!(state.is_trained(), !is_kept(&path), "{stage}: {path}");
                    assert_eq!(gradients.of_state(&state).is_some(), !is_kept(&path), "{stage}: {path}");
                }
                Role::Buffer | Role::Counter => {
                    assert_eq!(state.value() == before, is_kept(&path), "{stage}: {path}");
                }
            }
        }
    }
}

#[test]
fn a_frozen_network_computes_what_it_computes_in_evaluation() {
    let net = build("cifar_resnet20");
    step(&net);
    net.freeze_until("fc").unwrap();
    let images = Generator::new(5).normal_tensor([2, 3, 8, 8], 1.0);
    let logits = [Mode::Train, Mode::Eval]
        .map(|mode| net.forward(&Tape::new().input(images.clone()), mode).unwrap().value().clone());
    assert_eq!(logits[0], logits[1]);
}

#[test]
fn freezing_less_thaws() {
    let net = build("cifar_resnet20");
    net.freeze_until("fc").unwrap();
    net.freeze_until("layer2").unwrap();
    let trained = net.parameters().into_iter().filter(|(_, state)| state.is_trained());
    assert_eq!(trained.map(|(path, _)| path).next().unwrap(), "layer2.0.conv1.weight");
}

#[test]
fn a_stage_that_does_not_exist_is_answered_with_those_that_do() {
    let net = build("cifar_resnet20");
    for (stage, closest) in [("layr3", "layer3"), ("layer4", "layer1"), ("conv1", "layer1"), ("", "fc")] {
        let message = net.freeze_until(stage).unwrap_err().to_string();
        let expected = format!(
            "nothing can be frozen until '{stage}'; did you mean '{closest}'? (the stages are layer1, layer2, layer3, fc)"
        );
        assert_eq!(message, expected);
    }
    assert!(net.parameters().iter().all(|(_, state)| state.is_trained()));
}
