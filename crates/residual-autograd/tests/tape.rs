//! The tape's promises: gradients that can be trusted, no recursion. (Memory that is freed: `memory.rs`.).

use std::{cell::RefCell, rc::Rc};

use residual_autograd::{
    AutogradError, GradCheck, Pass, Role, RunningStatistics, SUM, State, Tape, Tolerance, registry,
};
use residual_tensor::{Generator, Tensor};

#[test]
fn every_operation_agrees_with_difference_quotients() {
    for entry in registry() {
        for case in 0..8u64 {
            let generator = Generator::new(0).split(entry.name).split(case);
            let sample = entry.sample(generator.split("sample"));
            let inputs = &sample.inputs;
            let check = GradCheck::run(
                inputs,
                |x| sample.apply(x),
                &mut generator.split("upstream"),
                Tolerance::default(),
            )
            .unwrap_or_else(|error| panic!("{} {}: {error}", entry.name, sample.case));
            assert!(check.passed(), "{} {}: {check:?}", entry.name, sample.case);
        }
    }
}

#[test]
fn samples_carry_the_name_of_the_operation_that_they_record() {
    for entry in registry() {
        let sample = entry.sample(Generator::new(1));
        let tape = Tape::new();
        let inputs: Vec<_> = sample.inputs.iter().map(|x| tape.leaf(x.clone())).collect();
        sample.apply(&inputs).unwrap();
        assert!(tape.to_string().contains(&format!(" {}(", entry.name)), "{tape}");
    }
}

#[test]
fn a_variable_used_twice_gets_the_sum() {
    let tape = Tape::new();
    let x = tape.leaf(Tensor::full([1], 3.0f64));
    let twice = x.add(&x).unwrap();
    let gradients = twice.add(&x).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().item().unwrap(), 3.0);
}

#[test]
fn a_retained_gradient_is_that_of_all_uses_and_others_are_not_kept() {
    let tape = Tape::new();
    let x = tape.leaf(Tensor::full([1], 3.0f64));
    let square = x.mul(&x).unwrap();
    let double = square.add(&square).unwrap();
    square.retain_gradient();
    let gradients = double.mul(&square).unwrap().backward().unwrap(); // 2s²
    assert_eq!(gradients.of(&square).unwrap().item().unwrap(), 4.0 * 9.0);
    assert_eq!(gradients.of(&x).unwrap().item().unwrap(), 4.0 * 9.0 * 6.0);
    assert!(gradients.of(&double).is_none());
}

#[test]
fn depth_does_not_matter() {
    let tape = Tape::new();
    let x = tape.leaf(Tensor::full([1], 1.0f32));
    let mut y = x.clone();
    for _ in 0..100_000 {
        y = y.relu().unwrap();
    }
    let gradients = y.backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().item().unwrap(), 1.0);
}

#[test]
fn a_state_has_one_gradient_and_a_frozen_one_none() {
    let weight = State::parameter(Tensor::full([1], 2.0f64));
    let tape = Tape::new();
    let y = tape.state(&weight).add(&tape.state(&weight)).unwrap();
    assert_eq!(y.backward().unwrap().of_state(&weight).unwrap().item().unwrap(), 2.0);

    weight.set_frozen(true);
    let tape = Tape::new();
    let error = tape.state(&weight).relu().unwrap().backward().map(|_| ()).unwrap_err();
    assert!(matches!(error, AutogradError::NoGradient), "{error}");
}

#[test]
fn without_recording_nothing_is_kept() {
    let tape = Tape::without_recording();
    let x = tape.leaf(Tensor::full([2, 3], 1.0f32));
    let y = x.relu().unwrap();
    assert!(tape.is_empty());
    assert!(matches!(y.backward_with(Tensor::zeros([2, 3])).map(|_| ()), Err(AutogradError::NoGradient)));
}

#[test]
fn misuse_is_an_error() {
    let tape = Tape::new();
    let x = tape.leaf(Tensor::full([2], 1.0f32));
    let y = x.relu().unwrap();
    let message = |r: residual_autograd::Result<residual_autograd::Gradients<f32>>| {
        r.map(|_| ()).unwrap_err().to_string()
    };
    assert!(message(y.backward()).starts_with("backward starts from a scalar, but the shape is [2]"));
    assert_eq!(
        message(y.backward_with(Tensor::zeros([3]))),
        "the upstream gradient has shape [3], but the variable has [2]"
    );
    y.backward_with(Tensor::zeros([2])).unwrap();
    assert!(message(y.backward_with(Tensor::zeros([2]))).contains("already been run backwards"));
    let weight = State::parameter(Tensor::<f32>::zeros([2]));
    assert_eq!(
        weight.set(&Tensor::zeros([3])).unwrap_err().to_string(),
        "cannot put a tensor of shape [3] into a state of shape [2]"
    );
}

#[test]
fn scopes_name_nodes_and_errors_and_show_results() {
    let tape = Tape::<f32>::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    tape.observe(move |path, output| log.borrow_mut().push((path.to_owned(), output.shape().to_string())));
    let x = tape.leaf(Tensor::zeros([2, 3]));
    tape.scope("layer1", || tape.scope("0", || x.relu())).unwrap();
    assert!(tape.to_string().contains("layer1.0"));
    assert!(tape.to_dot().contains("relu\\nlayer1.0"));
    let error =
        tape.scope("layer2", || tape.scope("conv1", || x.add(&tape.leaf(Tensor::zeros([4]))))).unwrap_err();
    assert!(error.to_string().starts_with("layer2.conv1: "), "{error}");
    assert_eq!(
        *seen.borrow(),
        [("layer1.0".to_owned(), "[2, 3]".to_owned()), ("layer1".to_owned(), "[2, 3]".to_owned())]
    );
}

#[test]
fn every_operation_is_timed_once_forward_and_once_backward() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let tape = Tape::new();
    let (seen, same) = (told.clone(), tape.clone());
    tape.time(move |timing| {
        assert!(!same.is_empty(), "the tape can be used");
        seen.borrow_mut().push((timing.pass, timing.name, timing.path, timing.inputs.len()));
    });
    let x = tape.leaf(Tensor::full([1], 2.0f32));
    let y = tape.scope("twice", || x.add(&x)).unwrap().relu().unwrap();
    y.backward().unwrap();
    let expected = [
        (Pass::Forward, "add", "twice", 2),
        (Pass::Forward, "relu", "", 1),
        (Pass::Backward, "relu", "", 1),
        (Pass::Backward, "add", "twice", 2),
        (Pass::Backward, SUM, "", 1),
    ];
    let expected = expected.map(|(pass, name, path, inputs)| (pass, name, path.to_owned(), inputs));
    assert_eq!(*told.borrow(), expected);
}

#[test]
fn running_statistics_follow_only_what_succeeds() {
    let channel = |value| State::new(Role::Buffer, Tensor::full([1], value));
    let running = RunningStatistics { mean: channel(0.0f64), variance: channel(1.0), momentum: 0.1 };
    let tape = Tape::new();
    let one = tape.leaf(Tensor::full([1], 1.0));
    let x = tape.leaf(Tensor::from_vec([1, 1, 1, 2], vec![1.0, 3.0]).unwrap());
    let run = |addend| x.batch_norm_fused(None, [&one, &one], Some(&running), 0.0, addend, true);
    let misfit = tape.leaf(Tensor::zeros([1, 1, 1, 3]));
    assert!(run(Some(&misfit)).is_err());
    assert_eq!(running.mean.value().item().unwrap(), 0.0);
    // Normalized −1 and 1, plus β, at least 0; the mean moved from 0 towards 2.
    assert_eq!(run(None).unwrap().value().to_vec(), [0.0, 2.0]);
    assert!((running.mean.value().item().unwrap() - 0.2).abs() < 1e-12);
}
