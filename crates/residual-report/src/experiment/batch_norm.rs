//! Batch normalization: a worked example with its matrices, learning with and without it, and what happens if
//! a trained network is left in training mode.

use residual_autograd::{Role, RunningStatistics, State, Tape};
use residual_nn::{Mode, Module};
use residual_tensor::{Generator, Tensor};
use residual_train::predicted;

use super::{
    Claim, Experiment, Findings, Setting, Watch,
    learning::{Course, Learned, School},
    stack::{Stack, StackConfig},
};
use crate::{
    Result,
    numbers::{percent, short},
    plot::{Axis, COLOURS, Line, Plot},
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "batch-norm",
    title: "Batch normalization",
    about: "a worked example, learning with and without, training mode against evaluation mode",
    claims: &[
        Claim {
            source: "Ioffe & Szegedy 2015, algorithm 1",
            text: "Each channel is brought to mean 0 and variance 1 over the batch and all positions; γ and β then \
                   scale and shift it.",
        },
        Claim {
            source: "Ioffe & Szegedy 2015, sections 3.3 and 4.2",
            text: "Batch normalization enables higher learning rates, and networks reach the same accuracy in fewer \
                   steps.",
        },
        Claim {
            source: "Ioffe & Szegedy 2015, algorithm 2",
            text: "When a network is used, the statistics of the batch are replaced by running ones, so that what it \
                   says about a picture does not depend on the other pictures of the batch.",
        },
    ],
    measure,
};

/// Two pictures of two channels of 2×2.
const PICTURES: [[[f64; 4]; 2]; 2] =
    [[[1.0, 1.0, 1.0, 2.0], [-1.0, 1.0, 0.0, 1.0]], [[0.0, -1.0, 2.0, 2.0], [0.0, -1.0, 3.0, 1.0]]];

/// Learning rates that are tried.
const RATES: [f64; 4] = [0.001, 0.01, 0.1, 1.0];

fn measure(setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
    let mut findings = Findings::default();
    worked_example(&mut findings)?;

    let (side, sizes, epochs) = setting.effort.pick((16, [2048, 1024], 12.0), (32, [usize::MAX; 2], 20.0));
    let school = School::open(setting, sizes, side)?;
    let course = |rate| Course { epochs, batch: 32, rate, warm_up: false, varied: false };
    let mut learned = Vec::new();
    for norm in [false, true] {
        for rate in RATES {
            let training = format!("{}, learning rate {rate}", name(norm));
            let config = StackConfig {
                input_channels: school.channels(),
                classes: school.classes(),
                widths: vec![16, 32, 64],
                blocks: setting.effort.pick(2, 3),
                norm,
                residual: false,
                gain: 1.0,
            };
            let net = config.build(&mut Generator::new(setting.seed).split("init"))?;
            learned.push((norm, rate, school.teach(&training, net, &course(rate), setting.seed, watch)?));
        }
    }
    let depth = 2 + 6 * setting.effort.pick(2, 3);
    findings.method(format!(
        "Then plain networks of {depth} layers with He's weights learn with and without batch normalization, at \
         learning rates of {}: {}. {}.",
        RATES.map(|rate| rate.to_string()).join(", "),
        school.described(),
        course(RATES[0]).described().replace(&format!("learning rate {}", RATES[0]), "each of these rates")
    ));
    compare(&mut findings, &learned, &school)?;
    let best = best_of(&learned, true, &school);
    modes(&mut findings, best.2.net(), &school)?;
    Ok(findings)
}

fn name(norm: bool) -> &'static str {
    if norm { "with BN" } else { "without BN" }
}

/// The definition by hand beside the operation that networks use.
fn worked_example(findings: &mut Findings) -> Result<()> {
    let elements: Vec<f64> = PICTURES.as_flattened().as_flattened().to_vec();
    let state = |value: f64| State::new(Role::Buffer, Tensor::full([2], value));
    let running = RunningStatistics { mean: state(0.0), variance: state(1.0), momentum: 0.1 };
    let tape = Tape::<f64>::without_recording();
    let x = tape.input(Tensor::from_vec([2, 2, 2, 2], elements).map_err(residual_nn::Error::from)?);
    let (gamma, beta) = (tape.input(Tensor::full([2], 1.0)), tape.input(Tensor::full([2], 0.0)));
    let eps = 1e-5;
    let y = x.batch_norm(&gamma, &beta, Some(&running), eps)?.value().to_vec();

    let mut rows = Vec::new();
    let mut largest = 0.0f64;
    for channel in 0..2 {
        let values: Vec<f64> = PICTURES.iter().flat_map(|picture| picture[channel]).collect();
        let mean = values.iter().sum::<f64>() / 8.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 8.0;
        for (picture, matrix) in PICTURES.iter().enumerate() {
            let at = |position: usize| y[(2 * picture + channel) * 4 + position];
            for (position, value) in matrix[channel].iter().enumerate() {
                let by_hand = (value - mean) / (variance + eps).sqrt();
                largest = largest.max((by_hand - at(position)).abs());
            }
            let shown = |of: &dyn Fn(usize) -> f64| {
                let row = |first: usize| format!("{} {}", decimals(of(first)), decimals(of(first + 1)));
                format!("[{} | {}]", row(0), row(2))
            };
            rows.push(vec![
                format!("channel {}, picture {}", channel + 1, picture + 1),
                shown(&|position| matrix[channel][position]),
                decimals(mean),
                decimals(variance),
                shown(&at),
            ]);
        }
    }
    let unbiased = running.variance.value().to_vec();
    findings.method(
        "First, two pictures of two channels of 2×2 are normalized by the definition, number by number, and by the \
         operation that networks are made of (γ = 1, β = 0, ε = 1e-5).",
    );
    findings.claim(
        largest < 1e-12,
        format!(
            "The worked example: the operation gives what the definition gives by hand, {}. Running \
             statistics then stand at {} and {} (means), {} and {} (variances, which take a tenth of the unbiased \
             ones).",
            if largest == 0.0 { "to the last digit".to_owned() } else { format!("to within {}", short(largest)) },
            decimals(running.mean.value().to_vec()[0]),
            decimals(running.mean.value().to_vec()[1]),
            decimals(unbiased[0]),
            decimals(unbiased[1])
        ),
    );
    let header = ["", "x", "mean", "variance", "normalized"];
    let caption = "The rows of a matrix are separated by |. Mean and variance of a channel are those of both \
                   pictures together.";
    findings.table("example", "A worked example", &header, rows, caption);
    Ok(())
}

/// Up to four decimals.
fn decimals(value: f64) -> String {
    let text = format!("{value:.4}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

type Tried = (bool, f64, Learned<Stack>);

/// The network of the smallest test error.
fn best_of<'a>(learned: &'a [Tried], norm: bool, school: &School) -> &'a Tried {
    let error = |tried: &&Tried| tried.2.errors(school)[1];
    let of_kind = learned.iter().filter(|tried| tried.0 == norm);
    of_kind.min_by(|a, b| error(a).total_cmp(&error(b))).expect("rates were tried")
}

fn compare(findings: &mut Findings, learned: &[Tried], school: &School) -> Result<()> {
    let [without, with] = [false, true].map(|norm| best_of(learned, norm, school));
    let test = |tried: &Tried| percent(tried.2.errors(school)[1]);
    findings.claim(
        with.2.errors(school)[1] < without.2.errors(school)[1],
        format!(
            "After equally many steps, the best network with batch normalization gets {} of the test pictures wrong \
             (rate {}), the best without {} (rate {}).",
            test(with),
            with.1,
            test(without),
            without.1
        ),
    );
    // A network has learnt if it is right more than halfway from guessing to the best.
    let bar = school.chance() - 0.5 * (school.chance() - with.2.errors(school)[1]);
    let highest = |norm: bool| {
        let learnt = learned.iter().filter(|tried| tried.0 == norm && tried.2.errors(school)[1] < bar);
        learnt.map(|tried| tried.1).fold(0.0, f64::max)
    };
    let [low, high] = [false, true].map(highest);
    findings.claim(
        high > low,
        format!(
            "Higher rates are possible: {} learns up to a rate of {high} of those tried, {} up to {} (an error \
             below {} counts as learning).",
            name(true),
            name(false),
            if low == 0.0 { "none of them".to_owned() } else { low.to_string() },
            percent(bar)
        ),
    );
    school.tell_diverged(findings);
    let plots = [false, true].map(|norm| {
        let lines =
            learned.iter().filter(|tried| tried.0 == norm).enumerate().map(|(number, (_, rate, net))| {
                let points =
                    net.history().iter().map(|record| (record.epoch as f64, 1.0 - record.val_accuracy));
                let name = format!("rate {rate}");
                Line { name, points: points.collect(), colour: COLOURS[number], dashed: false }
            });
        let mut title = name(norm).to_owned();
        title[..1].make_ascii_uppercase();
        Plot {
            title,
            x: Axis::linear("epoch"),
            y: Axis::percent("test error").including(school.chance()),
            lines: lines.collect(),
        }
    });
    let caption = "A line that ends early is that of a network whose loss became infinite.";
    findings.plot("rates", "Learning at different rates", &plots, caption)?;
    let rows = learned.iter().map(|(norm, rate, net)| {
        let [train, test] = net.told_errors(school);
        vec![name(*norm).to_owned(), rate.to_string(), train, test]
    });
    let header = ["network", "learning rate", "training error", "test error"];
    findings.table("learning", "At the end", &header, rows.collect(), "");
    Ok(())
}

/// The trained network on test pictures, in evaluation mode and, in batches of different sizes, in training
/// mode. Running statistics are put back afterwards.
fn modes(findings: &mut Findings, net: &Stack, school: &School) -> Result<()> {
    let pictures = school.test_pictures().min(512);
    let error = |batch: usize, mode: Mode| -> Result<f64> {
        let states = net.states();
        let kept: Vec<_> = states.iter().map(|(_, state)| state.value()).collect();
        let mut wrong = 0;
        for first in (0..pictures).step_by(batch) {
            let (images, labels) = school.batch(first, batch)?;
            let tape = Tape::without_recording();
            let logits = net.forward(&tape.input(images), mode)?;
            let rows = logits.value().as_slice().chunks_exact(school.classes());
            wrong += rows.zip(&labels).filter(|(row, label)| predicted(row) != **label).count();
        }
        for ((_, state), value) in states.iter().zip(&kept) {
            state.set(value)?;
        }
        Ok(wrong as f64 / pictures.next_multiple_of(batch) as f64)
    };
    let sizes = [1, 2, 8, 64];
    let mut rows = Vec::new();
    for batch in sizes {
        let [eval, train] = [error(batch, Mode::Eval)?, error(batch, Mode::Train)?];
        rows.push((batch, eval, train));
    }
    let shown = |of: fn(&(usize, f64, f64)) -> f64| rows.iter().map(of).collect::<Vec<_>>();
    let (eval, train) = (shown(|row| row.1), shown(|row| row.2));
    let spread = eval.iter().fold(0.0f64, |most, error| most.max((error - eval[0]).abs()));
    findings.claim(
        spread == 0.0,
        format!(
            "In evaluation mode the answers do not depend on the batch: the error is {} in batches of 1 and differs \
             by at most {} in batches of 2, 8 and 64.",
            percent(eval[0]),
            percent(spread)
        ),
    );
    findings.claim(
        train[0] > eval[0] && train[1] > eval[1],
        format!(
            "A trained network that is left in training mode is worse on few pictures: {} wrong one by one and {} \
             in pairs, against {} in evaluation mode; in batches of 64 it is {}.",
            percent(train[0]),
            percent(train[1]),
            percent(eval[0]),
            percent(train[3])
        ),
    );
    let rows =
        rows.iter().map(|&(batch, eval, train)| vec![batch.to_string(), percent(eval), percent(train)]);
    let header = ["pictures at once", "error in evaluation mode", "error in training mode"];
    findings.table("modes", "Training mode and evaluation mode", &header, rows.collect(), "");
    Ok(())
}
