//! Compiled networks, the way users run them: their logits against PyTorch's, the same bits with
//! any number of threads, in every run and beside other sessions, and NaN and infinity as on a tape.

use std::thread;

use rayon::ThreadPoolBuilder;
use residual_autograd::Tape;
use residual_infer::{Compiled, Session};
use residual_nn::{Mode, Module};
use residual_tensor::{Generator, Tensor};
use residual_zoo::{Network, NetworkConfig};

use super::{
    Difference, Failure, Outcome, Settings,
    parity::{
        self,
        comparison::Comparison,
        fixture::{Fixture, NetworkCase, doubles},
        formula::signed,
        network::build,
    },
    recorder::Recorder,
};

/// Over the largest logit; rounding makes 1e-6 of it.
const TOLERANCE: f64 = 1e-5;
/// How many threads a session runs with.
const THREADS: [usize; 5] = [1, 2, 3, 4, 8];
/// Networks with every kind of step that a session has, and inputs for them. The last one's batch is
/// taken in parts.
const NETWORKS: &[(&str, [usize; 4])] = &[
    ("cifar_resnet20", [3, 3, 32, 29]),
    ("preresnet18", [2, 3, 41, 38]),
    ("resnext50_32x4d", [2, 3, 37, 50]),
    ("seresnet18", [2, 3, 33, 40]),
    ("resnetblur18", [2, 3, 40, 33]),
    ("convnext_atto", [2, 3, 40, 33]),
    ("resnet18", [4, 3, 160, 224]),
];

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for (name, fixture) in parity::fixtures(settings)? {
        match fixture {
            Ok(Fixture::Network(network)) => recorder.check(format!("{name} logits"), || logits(&network)),
            Ok(_) => {}
            Err(failure) => recorder.check(format!("{name} logits"), || Err(failure)),
        }
    }
    for (name, input) in NETWORKS {
        recorder.check(format!("{name} threads"), || threads(name, *input));
        recorder.check(format!("{name} NaN and infinity"), || not_finite(name, *input));
        recorder.check(format!("{name} sessions"), || sessions(name, *input));
    }
    Ok(())
}

fn network(name: &str) -> Result<Network<f32>, Failure> {
    Ok(NetworkConfig::named(name)?.classes(10).build(&mut Generator::new(0))?)
}

fn images(input: [usize; 4], seed: u64) -> Tensor<f32> {
    Generator::new(seed).split("images").normal_tensor(input, 1.0)
}

/// Runs a session of its own in a pool of so many threads.
fn answered(net: &Network<f32>, images: &Tensor<f32>, threads: usize) -> Result<Tensor<f32>, Failure> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| Ok(Session::new(net, images.shape())?.run(images)?))
}

fn bits(tensor: &Tensor<f32>) -> Vec<u32> {
    tensor.to_vec().into_iter().map(f32::to_bits).collect()
}

/// # Errors
/// If two answers are not the same, bit for bit.
fn same(what: &str, found: &Tensor<f32>, expected: &Tensor<f32>) -> Result<(), Failure> {
    let (found, expected) = (bits(found), bits(expected));
    let differ = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
    if found.len() == expected.len() && differ == 0 {
        return Ok(());
    }
    Err(Difference::found(format!("{what}: {differ} of {} numbers differ", expected.len())))
}

/// PyTorch's logits, with each number of threads.
fn logits(fixture: &NetworkCase) -> Outcome {
    let net = build::<f32>(fixture)?;
    let images = signed("input", fixture.input_shape.clone());
    let first = answered(&net, &images, THREADS[0])?;
    for threads in THREADS {
        same(&format!("{threads} threads"), &answered(&net, &images, threads)?, &first)?;
    }
    let mut comparison = Comparison::new("logits");
    comparison.array("", &doubles(&first), &fixture.eval.logits.concat());
    comparison.outcome(TOLERANCE)
}

/// As on a tape, with the same bits for each number of threads, and in a second run of a session.
fn threads(name: &str, input: [usize; 4]) -> Outcome {
    let (net, images) = (network(name)?, images(input, 0));
    let expected = answered(&net, &images, THREADS[0])?;
    agree("each logit", &net, &images)?;
    for threads in THREADS {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        pool.install(|| {
            let mut session = Session::new(&net, images.shape())?;
            for run in 1..=2 {
                same(&format!("run {run} with {threads} threads"), &session.run(&images)?, &expected)?;
            }
            Ok::<(), Failure>(())
        })?;
    }
    Ok(format!("{} logits, with {THREADS:?} threads, twice each: same bits", expected.len()))
}

/// One compiled network asked by several threads at once, each with images of its own.
fn sessions(name: &str, input: [usize; 4]) -> Outcome {
    const SESSIONS: u64 = 4;
    const RUNS: usize = 3;
    let net = network(name)?;
    let expected: Vec<Tensor<f32>> =
        (0..SESSIONS).map(|session| answered(&net, &images(input, session), 1)).collect::<Result<_, _>>()?;
    let compiled = Compiled::new(&net);
    let session = |number: u64| {
        let images = images(input, number);
        for run in 1..=RUNS {
            let what = format!("session {number}, run {run}");
            same(&what, &compiled.run(&images)?, &expected[number as usize])?;
        }
        Ok::<(), Failure>(())
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..SESSIONS).map(|number| scope.spawn(move || session(number))).collect();
        running.into_iter().try_for_each(|running| match running.join() {
            Ok(outcome) => outcome,
            Err(_) => Err("a session panicked".into()),
        })
    })?;
    Ok(format!("{SESSIONS} at once, {RUNS} runs each: the bits of one alone"))
}

/// NaN and infinity, in each weight of a convolution or normalization in turn and in one picture of
/// a batch: the session must not answer with numbers where the tape does not, nor the other way round.
///
/// Infinity may come out as NaN: fast algorithms subtract what the definition does not.
fn not_finite(name: &str, [_, channels, height, width]: [usize; 4]) -> Outcome {
    // Small pictures: what is looked at is the path of single values.
    let input = [2, channels, height.min(32), width.min(32)];
    let clean = images(input, 0);
    let mut cases = 0;
    for (what, value) in [("NaN", f32::NAN), ("infinity", f32::INFINITY), ("-infinity", f32::NEG_INFINITY)] {
        let mut spoiled = clean.to_vec();
        let at = spoiled.len() * 3 / 4; // in the second picture
        spoiled[at] = value;
        let spoiled = Tensor::from_vec(input, spoiled)?;
        let net = network(name)?;
        let answer = agree(&format!("{what} in the input"), &net, &spoiled)?;
        let (first, second) = answer.split_at(answer.len() / 2);
        if !first.iter().all(|value| value.is_finite()) || second.iter().any(|value| value.is_finite()) {
            let reason = format!("{what} in the second of two pictures gives {answer:?}");
            return Err(Difference::found(reason));
        }
        cases += 1;
    }
    let paths: Vec<String> = network(name)?.parameters().into_iter().map(|(path, _)| path).collect();
    // The first, the last, and some between them that are of every kind.
    let step = (paths.len() / 12).max(1);
    for path in paths.iter().step_by(step).chain(paths.last()) {
        let net = network(name)?;
        for (_, state) in net.parameters().into_iter().filter(|(other, _)| other == path) {
            state.update(|value| value.as_mut_slice()[0] = f32::NAN);
        }
        let answer = agree(&format!("NaN in {path}"), &net, &clean)?;
        if answer.iter().all(|value| value.is_finite()) {
            return Err(Difference::found(format!("NaN in {path} gives {answer:?}")));
        }
        cases += 1;
    }
    Ok(format!("{cases} cases as on a tape"))
}

/// The session's answer, if it is finite and close where the tape's is, and only there.
fn agree(what: &str, net: &Network<f32>, images: &Tensor<f32>) -> Result<Vec<f32>, Failure> {
    let tape = Tape::without_recording();
    let expected = net.forward(&tape.input(images.clone()), Mode::Eval)?.value().to_vec();
    let found = Session::new(net, images.shape())?.run(images)?.to_vec();
    let finite = expected.iter().filter(|value| value.is_finite());
    let largest = finite.fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let close = (found - expected).abs() <= 1e-4 * largest;
        if found.is_finite() != expected.is_finite() || (expected.is_finite() && !close) {
            return Err(Difference::found(format!("{what}, logit {i}: {found}, on a tape {expected}")));
        }
    }
    Ok(found)
}
