//! A whole network against PyTorch: its states, its evaluation, and some steps of training.

use std::{cell::RefCell, rc::Rc};

use indexmap::IndexMap;
use residual_autograd::Tape;
use residual_nn::{Mode, Module, Role};
use residual_tensor::{Float, Generator};
use residual_train::{Sgd, SgdRule};
use residual_zoo::{Network, NetworkConfig};

use super::{
    Precision,
    comparison::Comparison,
    fixture::{AfterSteps, Digest, NetworkCase, Train, doubles},
    formula::{fill, signed},
};
use crate::verify::{Difference, Failure, Outcome, numbers::grouped};

/// The network of a fixture, its states filled.
pub(in crate::verify) fn build<T: Float>(fixture: &NetworkCase) -> Result<Network<T>, Failure> {
    let channels = fixture.input_shape.get(1).copied().ok_or("the input has no channels")?;
    let config = NetworkConfig::named(&fixture.model)?.classes(fixture.classes).input_channels(channels);
    let net = config.build(&mut Generator::new(0))?;
    fill(&net)?;
    Ok(net)
}

/// Keys and shapes of all states, in order, and the number of parameters.
pub(super) fn states(fixture: &NetworkCase) -> Outcome {
    let net = build::<f32>(fixture)?;
    let ours: Vec<_> = net.states().into_iter().map(|(key, state)| (key, state.shape())).collect();
    for (i, (ours, theirs)) in ours.iter().zip(&fixture.state_dict).enumerate() {
        if (&ours.0, &ours.1) != theirs {
            let reason = format!("entry {i} is {} {}, PyTorch {} {}", ours.0, ours.1, theirs.0, theirs.1);
            return Err(Difference::found(reason));
        }
    }
    let [entries, expected] = [ours.len(), fixture.state_dict.len()];
    let [parameters, published] = [net.parameter_count(), fixture.parameters];
    if (entries, parameters) != (expected, published) {
        let reason = format!("{entries} entries, {parameters} parameters; PyTorch {expected}, {published}");
        return Err(Difference::found(reason));
    }
    Ok(format!("{entries} entries in order, {} parameters", grouped(parameters)))
}

/// Logits and the output of each stage in evaluation.
pub(super) fn eval<T: Float>(fixture: &NetworkCase, precision: &Precision) -> Outcome {
    let net = build::<T>(fixture)?;
    let tape = Tape::without_recording();
    let stages = Rc::new(RefCell::new(IndexMap::new()));
    let seen = stages.clone();
    tape.observe(move |path, output| {
        if !path.contains('.') {
            seen.borrow_mut().insert(path.to_owned(), Digest::of(output.value()));
        }
    });
    let logits = logits(&net, fixture, &tape)?;
    let mut compared = [Comparison::new("logits"), Comparison::new("stages")];
    compared[0].array("", &logits.concat(), &fixture.eval.logits.concat());
    compared[1].digests(&stages.borrow(), &fixture.eval.stages);
    outcome(compared, [precision.tolerance; 2])
}

/// Some steps of training: the gradients of the first, losses, and what they leave behind.
///
/// Training amplifies rounding: a ReLU is switched by the last bit of a sum, and later steps start
/// from what earlier ones left. Where differences exceed the tolerance, the amplification is
/// measured: in f64, on this side alone, by what moving all weights by some roundings of `T` does to
/// the result. What is allowed then has a [ceiling](CEILINGS) all the same, whatever was measured.
pub(super) fn train<T: Float>(fixture: &NetworkCase, theirs: &Train, precision: &Precision) -> Outcome {
    let ours = steps::<T>(fixture, theirs, |_| Ok(()))?;
    let compared = compare(&ours, theirs);
    let exceeds = compared.each_ref().map(|comparison| comparison.error() > precision.tolerance);
    let mut allowed = [precision.tolerance; 4];
    if exceeds.contains(&true) {
        let exact = steps::<f64>(fixture, theirs, |_| Ok(()))?;
        let distance = precision.roundings * T::epsilon().to_f64();
        for seed in 0..MOVES {
            let moved = steps::<f64>(fixture, theirs, |net| move_weights(net, distance, seed))?;
            for (i, moved) in compare(&moved, &exact).iter().enumerate() {
                if exceeds[i] && moved.error().is_finite() {
                    allowed[i] = allowed[i].max(MARGIN * moved.error()).min(CEILINGS[i]);
                }
            }
        }
    }
    outcome(compared, allowed)
}

/// The most that is ever allowed of gradients, losses, running statistics and logits: less than
/// what an error of one per cent in one panel of a weight makes of them.
const CEILINGS: [f64; 4] = [5e-4, 1e-3, 5e-3, 5e-3];
/// How often the amplification is measured; the largest counts.
const MOVES: u64 = 3;
/// How much more a result may differ than the measured ones did.
const MARGIN: f64 = 3.0;

/// Moves every parameter relatively by up to `distance`.
fn move_weights(net: &Network<f64>, distance: f64, seed: u64) -> Result<(), Failure> {
    let mut generator = Generator::new(seed);
    for (_, state) in net.parameters() {
        let moved = state.value().map(|value| value * (1.0 + generator.between(-distance, distance)));
        state.set(&moved)?;
    }
    Ok(())
}

/// Gradients of the first step, losses, and after all steps running statistics and logits.
fn compare(ours: &Train, theirs: &Train) -> [Comparison; 4] {
    let mut compared = ["gradients", "losses", "running statistics", "logits"].map(Comparison::new);
    let [gradients, losses, buffers, logits] = &mut compared;
    gradients.digests(&ours.first_step_gradients, &theirs.first_step_gradients);
    losses.array("", &ours.losses, &theirs.losses);
    buffers.digests(&ours.after_steps.buffers, &theirs.after_steps.buffers);
    if ours.after_steps.buffers.is_empty() && theirs.after_steps.buffers.is_empty() {
        buffers.neither(); // layer normalization has none
    }
    logits.array("", &ours.after_steps.eval_logits.concat(), &theirs.after_steps.eval_logits.concat());
    compared
}

fn outcome<const N: usize>(compared: [Comparison; N], allowed: [f64; N]) -> Outcome {
    let outcomes = compared.into_iter().zip(allowed).map(|(comparison, allowed)| comparison.outcome(allowed));
    Ok(outcomes.collect::<Result<Vec<String>, Failure>>()?.join("; "))
}

/// Makes the steps of a fixture with a network that `change` has been at.
fn steps<T: Float>(
    fixture: &NetworkCase,
    train: &Train,
    change: impl Fn(&Network<T>) -> Result<(), Failure>,
) -> Result<Train, Failure> {
    const OPTIMIZER: &str = "SGD lr=0.05 momentum=0.9 weight_decay=1e-4 (all parameters)";
    let (labels, optimizer) = (train.labels.clone(), train.optimizer.clone());
    if optimizer != OPTIMIZER {
        return Err(format!("the optimizer is {optimizer}, but only {OPTIMIZER} is known").into());
    }
    let net = build::<T>(fixture)?;
    change(&net)?;
    let mut sgd =
        Sgd::new(SgdRule { learning_rate: 0.05, momentum: 0.9, weight_decay: 1e-4, nesterov: false });
    let (mut losses, mut first_step_gradients) = (Vec::new(), IndexMap::new());
    for step in 0..train.losses.len() {
        let gradients = {
            let tape = Tape::new();
            let input = signed(&format!("input.{step}"), fixture.input_shape.clone());
            let loss = net.forward(&tape.input(input), Mode::Train)?.cross_entropy(&labels, 0.0)?;
            losses.push(loss.value().item()?.to_f64());
            loss.backward()?
        };
        if step == 0 {
            let found = net.parameters().into_iter();
            let found =
                found.filter_map(|(path, state)| Some((path, Digest::of(gradients.of_state(&state)?))));
            first_step_gradients = found.collect();
        }
        sgd.step(&net, &gradients)?;
    }
    let buffers = net.states().into_iter().filter(|(_, state)| state.role() == Role::Buffer);
    let buffers = buffers.map(|(path, state)| (path, Digest::of(&state.value()))).collect();
    let eval_logits = logits(&net, fixture, &Tape::without_recording())?;
    let after_steps = AfterSteps { eval_logits, buffers };
    Ok(Train { labels, optimizer, losses, first_step_gradients, after_steps })
}

/// The logits of the fixture's input in evaluation, picture by picture.
fn logits<T: Float>(
    net: &Network<T>,
    fixture: &NetworkCase,
    tape: &Tape<T>,
) -> Result<Vec<Vec<f64>>, Failure> {
    let input = tape.input(signed("input", fixture.input_shape.clone()));
    let logits = doubles(net.forward(&input, Mode::Eval)?.value());
    Ok(logits.chunks(fixture.classes.max(1)).map(<[f64]>::to_vec).collect())
}
