//! What is not meant to be done is an error that says so: never a panic, never another value.

use residual_autograd::{AutogradError, Gradients, Operation, Result, State, Tape, Var, registry};
use residual_kernels::{Conv2dGeometry, Pool2dGeometry};
use residual_tensor::{Float, Generator, Tensor};

fn ones<T: Float>(shape: &[usize]) -> Tensor<T> {
    Tensor::full(shape, T::one())
}

fn message<T>(result: Result<T>) -> String {
    result.map(|_| ()).expect_err("an error").to_string()
}

/// Whether the error is that of mixed tapes, said by this operation.
fn is_mixed<T>(result: &Result<T>, name: &str) -> bool {
    matches!(result, Err(AutogradError::MixedTapes { operation }) if *operation == name)
}

/// Every operation of the registry, with each of its inputs in turn on another tape: one that
/// records, one that does not, and one that records while the operation's own does not.
#[test]
fn no_operation_mixes_tapes() {
    for entry in registry() {
        let sample = entry.sample(Generator::new(2));
        for stranger in 1..sample.inputs.len() {
            for [first, second] in [
                [Tape::new(), Tape::new()],
                [Tape::new(), Tape::without_recording()],
                [Tape::without_recording(), Tape::new()],
            ] {
                for _ in 0..5 {
                    second.leaf(ones(&[1])); // so that places on the two tapes differ
                }
                let on = |tape: &Tape<f64>, i: usize| tape.leaf(sample.inputs[i].clone());
                let of = |i| if i == stranger { on(&second, i) } else { on(&first, i) };
                let inputs: Vec<_> = (0..sample.inputs.len()).map(of).collect();
                let error = sample.apply(&inputs).map(|_| ()).unwrap_err();
                assert!(
                    matches!(error, AutogradError::MixedTapes { .. }),
                    "{} {stranger}: {error}",
                    entry.name
                );
            }
        }
    }
}

/// Every operation, with every choice of inputs that need a gradient.
#[test]
fn inputs_without_a_gradient_leave_the_others_theirs() {
    for entry in registry() {
        let sample = entry.sample(Generator::new(3));
        let run = |wanted: &dyn Fn(usize) -> bool| -> Option<Vec<Option<Tensor<f64>>>> {
            let tape = Tape::new();
            let source = |(i, x): (usize, &Tensor<f64>)| match wanted(i) {
                true => tape.leaf(x.clone()),
                false => tape.input(x.clone()),
            };
            let inputs: Vec<_> = sample.inputs.iter().enumerate().map(source).collect();
            let y = sample.apply(&inputs).unwrap();
            let upstream = Generator::new(4).normal_tensor(y.shape(), 1.0);
            match y.backward_with(upstream) {
                Ok(gradients) => Some(inputs.iter().map(|x| gradients.of(x).cloned()).collect()),
                Err(AutogradError::NoGradient) => None,
                Err(error) => panic!("{}: {error}", entry.name),
            }
        };
        let all = run(&|_| true).unwrap();
        for chosen in 0..1u32 << all.len() {
            let wanted = |i: usize| chosen >> i & 1 == 1;
            let expected = all.iter().enumerate().map(|(i, dx)| dx.clone().filter(|_| wanted(i)));
            let expected = (chosen != 0).then(|| expected.collect::<Vec<_>>());
            assert_eq!(run(&wanted), expected, "{} {chosen:b}", entry.name);
        }
    }
}

#[test]
fn linear_of_an_input_that_is_not_recorded_is_an_error() {
    let (tape, constants) = (Tape::<f32>::new(), Tape::without_recording());
    let (w, b) = (tape.leaf(ones(&[2, 3])), tape.leaf(ones(&[2])));
    let x = constants.input(ones(&[1, 3]));
    assert!(is_mixed(&x.linear(&w, &b), "linear"));
    let y = tape.input(x.value().clone()).linear(&w, &b).unwrap();
    assert_eq!(y.value().to_vec(), [4.0, 4.0]);
}

#[test]
fn mixed_tapes_are_named_with_operation_and_scope() {
    let (one, other) = (Tape::<f32>::new(), Tape::new());
    let (x, y) = (one.leaf(ones(&[2])), other.leaf(ones(&[2])));
    assert_eq!(
        message(one.scope("layer1", || x.add(&y))),
        "layer1: add: the variables are on different tapes; take the value of one to the tape of the other \
         with `tape.input(x.value().clone())`"
    );
    let weight = State::parameter(ones(&[2]));
    assert!(is_mixed(&one.substitute(&weight, &y), "substitute"));
    assert_eq!(
        message(one.substitute(&weight, &one.leaf(ones(&[3])))),
        "cannot put a tensor of shape [3] into a state of shape [2]"
    );
    let captured = y.clone();
    assert!(is_mixed(&x.checkpoint(vec![], move |_| Ok(captured.clone())), "checkpoint"));
    let captured = x.clone();
    assert!(is_mixed(&x.checkpoint(vec![], move |x| x.add(&captured)), "add"));
}

#[test]
fn gradients_are_those_of_their_tape() {
    let run = |value: f64| -> (Var<f64>, Gradients<f64>) {
        let tape = Tape::new();
        let x = tape.leaf(Tensor::full([1], value));
        let gradients = x.relu().unwrap().backward().unwrap();
        (x, gradients)
    };
    let ((x, of_x), (y, of_y)) = (run(1.0), run(-1.0));
    assert_eq!(of_x.of(&x).unwrap().to_vec(), [1.0]);
    assert_eq!(of_y.of(&y).unwrap().to_vec(), [0.0]);
    assert!(of_x.of(&y).is_none() && of_y.of(&x).is_none());
}

#[test]
fn what_gets_no_gradient_has_none() {
    let tape = Tape::<f32>::new();
    let [x, elsewhere] = [1.0, 2.0].map(|value| tape.leaf(Tensor::full([1], value)));
    let constant = tape.input(ones(&[1]));
    let y = x.add(&constant).unwrap();
    assert!(y.needs_gradient() && !constant.needs_gradient());
    let gradients = y.backward().unwrap();
    assert!(gradients.of(&x).is_some());
    for other in [&elsewhere, &constant, &y] {
        assert!(gradients.of(other).is_none());
    }
    assert!(gradients.of_state(&State::parameter(ones(&[1]))).is_none());
}

#[test]
fn a_state_is_not_taken_for_one_that_was_dropped() {
    let tape = Tape::<f32>::new();
    // Memory of a dropped state is used again at once, and the tape outlives each of these.
    for value in 0..100 {
        let state = State::parameter(Tensor::full([1], value as f32));
        assert_eq!(tape.state(&state).value().to_vec(), [value as f32]);
    }
}

#[test]
fn each_backward_pass_over_a_tape_gives_the_gradients_of_its_states() {
    let tape = Tape::<f64>::new();
    let weight = State::parameter(ones(&[1]));
    let [one, other] = [1, 2].map(|_| tape.state(&weight).relu().unwrap());
    for loss in [one, other] {
        assert_eq!(loss.backward().unwrap().of_state(&weight).unwrap().to_vec(), [1.0]);
    }
    // A state that has moved is used as it is now.
    weight.update(|value| value.as_mut_slice()[0] = -1.0);
    let y = tape.state(&weight).relu().unwrap();
    assert_eq!(y.backward().unwrap().of_state(&weight).unwrap().to_vec(), [0.0]);
}

#[test]
fn a_checkpoint_computes_with_substituted_values() {
    let run = |checkpoint: bool| {
        let tape = Tape::<f64>::new();
        let x = tape.leaf(Tensor::full([1, 1, 1, 1], 3.0));
        let w = tape.leaf(Tensor::full([1, 1, 1, 1], 2.0));
        let weight = State::parameter(Tensor::full([1, 1, 1, 1], 5.0));
        tape.substitute(&weight, &w).unwrap();
        let state = weight.clone();
        let piece = move |x: &Var<f64>| x.conv2d(&x.tape().state(&state), &Conv2dGeometry::new(1, 1));
        let y = if checkpoint { x.checkpoint(vec![weight], piece) } else { piece(&x) }.unwrap();
        let gradients = y.backward().unwrap();
        [y.value(), gradients.of(&x).unwrap(), gradients.of(&w).unwrap()].map(|value| value.item().unwrap())
    };
    assert_eq!(run(false), [6.0, 2.0, 3.0]);
    assert_eq!(run(true), [6.0, 2.0, 3.0]);
}

#[test]
fn a_checkpoint_of_a_constant_has_no_gradient() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(ones(&[1]));
    let y = x.checkpoint(vec![], |x| Ok(x.tape().input(ones(&[1])))).unwrap();
    let gradients = y.add(&x).unwrap().backward().unwrap();
    assert_eq!(gradients.of(&x).unwrap().to_vec(), [1.0]);
}

/// An operation whose backward is as wrong as it is told to be.
struct Faulty(Vec<Option<Tensor<f64>>>);

impl Operation<f64> for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn backward(self: Box<Self>, _: Tensor<f64>, _: &[bool]) -> Result<Vec<Option<Tensor<f64>>>> {
        Ok(self.0)
    }
}

#[test]
fn a_wrong_backward_from_outside_is_an_error() {
    let run = |gradients, other_use: bool| {
        let tape = Tape::new();
        let x = tape.leaf(ones(&[2]));
        let y = x.record(Faulty(gradients), &[&x], ones(&[2]))?;
        let y = if other_use { y.add(&x)? } else { y };
        y.backward_with(ones(&[2]))
    };
    for other_use in [false, true] {
        assert_eq!(
            message(run(vec![], other_use)),
            "faulty: backward gave 0 gradients for 1 inputs; one for each is needed"
        );
        assert_eq!(
            message(run(vec![Some(ones(&[3]))], other_use)),
            "faulty: backward gave a gradient of shape [3] for input 0 of shape [2]"
        );
    }
    assert!(run(vec![None], false).is_ok());
}

/// An operation that uses its own tape in its backward, by mistake or on purpose.
struct UsesItsTape(Var<f64>);

impl Operation<f64> for UsesItsTape {
    fn name(&self) -> &'static str {
        "uses its tape"
    }

    fn backward(self: Box<Self>, dy: Tensor<f64>, _: &[bool]) -> Result<Vec<Option<Tensor<f64>>>> {
        Ok(vec![Some(self.0.add(&self.0.tape().input(dy))?.value().clone())])
    }
}

#[test]
fn a_backward_may_use_the_tape() {
    let tape = Tape::new();
    let x = tape.leaf(Tensor::full([1], 3.0));
    let y = x.record(UsesItsTape(x.clone()), &[&x], ones(&[1])).unwrap();
    assert_eq!(y.backward().unwrap().of(&x).unwrap().to_vec(), [4.0]);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let tape = Tape::<f32>::new();
    let [x2, x4] = [tape.leaf(ones(&[2, 3])), tape.leaf(ones(&[1, 2, 3, 3]))];
    let geometry = Conv2dGeometry::new(3, 3);
    assert!(x2.conv2d(&x4, &geometry).is_err());
    assert!(x4.conv2d(&x2, &geometry).is_err());
    assert!(x4.linear(&x2, &x2).is_err());
    assert!(x2.linear(&x2, &x2).is_err());
    assert!(x2.max_pool2d(&Pool2dGeometry::new(2, 2)).is_err());
    assert!(x4.avg_pool2d(&Pool2dGeometry::new(4, 4)).is_err());
    assert!(x2.global_avg_pool().is_err());
    assert!(x4.cross_entropy(&[0], 0.0).is_err());
    assert!(x2.batch_norm(&x2, &x2, None, 1e-5).is_err());
    assert!(x2.reshape([7]).is_err());
    assert!(x2.subsample_pad(1, 5).is_err());
}
