//! More than a thousand layers: that they learn, and what memory they need with and without checkpointing.

use std::{cell::Cell, rc::Rc, time::Instant};

use residual_autograd::{Pass, Tape};
use residual_nn::{Mode, Module};
use residual_tensor::{Generator, memory};
use residual_zoo::{Network, NetworkConfig};

use super::{
    Claim, Effort, Experiment, Findings, Setting, Watch,
    learning::{Course, Learned, School},
};
use crate::{
    Result,
    numbers::{count, mebibytes, percent, short},
    plot::{Axis, Bar, COLOURS, Line, Plot},
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "depth-1000",
    title: "More than a thousand layers",
    about: "ResNet-1202 and the pre-activated ResNet-1001 learn; memory with and without checkpointing",
    claims: &[
        Claim {
            source: "He et al. 2015, section 4.2",
            text: "A network of 1202 layers shows no optimization difficulty: its training error falls below 0.1 %.",
        },
        Claim {
            source: "He et al. 2016 (Identity Mappings), section 4",
            text: "A pre-activated network of 1001 layers is easy to train, and better than shallower ones.",
        },
        Claim {
            source: "Chen et al. 2016 (Training Deep Nets with Sublinear Memory Cost)",
            text: "Keeping only what goes into each block, and computing it again in the backward pass, saves most of the \
                   memory for one more forward pass.",
        },
    ],
    measure,
};

/// A network and whether it is expected to learn.
const ARMS: [(&str, &str); 3] = [
    ("cifar_resnet1202", "ResNet-1202"),
    ("cifar_preresnet1001", "pre-activated ResNet-1001"),
    ("cifar_plain1202", "plain-1202"),
];

/// Memory and time of a training step.
struct Cost {
    bytes: usize,
    seconds: f64,
}

struct Arm {
    name: &'static str,
    parameters: usize,
    learned: Learned<Network<f32>>,
    /// Without checkpointing and with.
    costs: [Cost; 2],
}

fn measure(setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
    let (side, sizes, epochs, batch) =
        setting.effort.pick((8, [63, 63], 24.0, 21), (32, [5000, 1000], 30.0, 64));
    // As the paper does for its deepest networks: not at the full rate from the beginning.
    let rate = setting.effort.pick(0.02, 0.1);
    let course = Course { epochs, batch, rate, warm_up: true, varied: false };
    let school = School::open(setting, sizes, side)?;
    // In the papers' networks thousands of steps pass before the sum of so many branches is tamed.
    let begins_as_shortcut = setting.effort == Effort::Quick;
    let mut arms = Vec::new();
    for (network, name) in ARMS {
        watch(&format!("{name}, a step"));
        let mut config =
            NetworkConfig::named(network)?.classes(school.classes()).input_channels(school.channels());
        config.zero_init_residual = begins_as_shortcut && config.residual;
        let net = config.build::<f32>(&mut Generator::new(setting.seed).split("init"))?;
        let costs = [cost(&net, &school, batch, false)?, cost(&net, &school, batch, true)?];
        let parameters = net.parameter_count();
        arms.push(Arm {
            name,
            parameters,
            learned: school.teach(name, net, &course, setting.seed, watch)?,
            costs,
        });
    }

    let mut findings = Findings::default();
    findings.method(format!(
        "The papers' networks of more than a thousand layers, and a plain one: {}. {}.",
        school.described(),
        course.described()
    ));
    if begins_as_shortcut {
        findings.method(
            "There is time for a few steps only. In the residual networks each block therefore begins as its shortcut, \
             with the last γ at 0 (Goyal et al. 2017), which the papers' networks do not.",
        );
    }
    findings.method(format!(
        "Before that, each of them makes one step on {batch} pictures, forward and backward, without and with \
         checkpointing. The memory is the most that tensors take at the end of an operation of the forward pass, beyond \
         the weights: what is kept for the backward pass. It is the same on every machine; times are of a single step."
    ));
    conclude(&mut findings, &arms, &school);
    school.tell_diverged(&mut findings);
    draw(&mut findings, &arms, &school)?;
    Ok(findings)
}

/// What a step takes beyond the weights and the batch.
fn cost(net: &Network<f32>, school: &School, batch: usize, checkpointing: bool) -> Result<Cost> {
    let (images, labels) = school.batch(0, batch)?;
    let before = memory::statistics().in_use;
    let started = Instant::now();
    let tape = if checkpointing { Tape::checkpointing() } else { Tape::new() };
    let most = Rc::new(Cell::new(0));
    let seen = most.clone();
    tape.time(move |timing| {
        if timing.pass == Pass::Forward {
            seen.set(seen.get().max(memory::statistics().in_use));
        }
    });
    let logits = net.forward(&tape.input(images), Mode::Train)?;
    let gradients = logits.cross_entropy(&labels, 0.0)?.backward()?;
    let seconds = started.elapsed().as_secs_f64();
    drop(gradients);
    Ok(Cost { bytes: most.get().saturating_sub(before), seconds })
}

fn conclude(findings: &mut Findings, arms: &[Arm], school: &School) {
    let last = |arm: &Arm| arm.learned.history().last().cloned();
    let losses = |arm: &Arm| arm.learned.history().iter().map(|record| record.train_loss).collect::<Vec<_>>();
    for arm in &arms[..2] {
        let losses = losses(arm);
        let (first, end) =
            (losses.first().copied().unwrap_or(f64::NAN), losses.last().copied().unwrap_or(f64::NAN));
        let train = arm.learned.errors(school)[0];
        let told = arm.learned.told_errors(school);
        findings.claim(
            !arm.learned.diverged && end < first && train < 0.9 * school.chance(),
            format!(
                "{} learns: its training loss goes from {} (first epoch) to {} (last), its training error is {} and its \
                 test error {} in the end, where guessing has {}.",
                arm.name,
                short(first),
                short(end),
                told[0],
                told[1],
                percent(school.chance())
            ),
        );
    }
    let (residual, plain) = (&arms[0], &arms[2]);
    let [of_residual, of_plain] = [residual, plain].map(|arm| arm.learned.errors(school)[0]);
    findings.claim(
        of_residual < of_plain,
        format!(
            "Equally many layers without shortcuts do worse. Training errors in the end: {} {}, {} {}.",
            plain.name,
            plain.learned.told_errors(school)[0],
            residual.name,
            residual.learned.told_errors(school)[0]
        ),
    );
    findings.claim(
        of_residual < 0.001,
        format!(
            "The paper's training error of less than 0.1 %, after 64,000 steps on CIFAR-10: here it is {} after {} steps.",
            percent(of_residual),
            count(last(residual).map_or(0, |record| record.iteration))
        ),
    );
    for arm in &arms[..2] {
        let [without, with] = &arm.costs;
        findings.claim(
            with.bytes < without.bytes / 2,
            format!(
                "Checkpointing brings the memory of a step of {} from {} to {} ({} times less), for {} times the time.",
                arm.name,
                mebibytes(without.bytes),
                mebibytes(with.bytes),
                short(without.bytes as f64 / with.bytes.max(1) as f64),
                short(with.seconds / without.seconds)
            ),
        );
    }
}

fn draw(findings: &mut Findings, arms: &[Arm], school: &School) -> Result<()> {
    let lines = |of: fn(&residual_train::EpochRecord) -> f64, dashed: bool, what: &'static str| {
        arms.iter().enumerate().map(move |(number, arm)| {
            let points = arm.learned.history().iter().map(|record| (record.epoch as f64, of(record)));
            let name = format!("{}, {what}", arm.name);
            Line { name, points: points.collect(), colour: COLOURS[number], dashed }
        })
    };
    let error = lines(|record| 1.0 - record.train_accuracy, true, "training");
    let plots = [
        Plot {
            title: "Loss on training pictures".into(),
            x: Axis::linear("epoch"),
            y: Axis::linear("loss").including(0.0),
            lines: lines(|record| record.train_loss, true, "training").collect(),
        },
        Plot {
            title: "Error".into(),
            x: Axis::linear("epoch"),
            y: Axis::percent("error").including(school.chance()),
            lines: error.chain(lines(|record| 1.0 - record.val_accuracy, false, "test")).collect(),
        },
    ];
    findings.plot("learning", "Learning", &plots, "")?;
    let bars = arms.iter().flat_map(|arm| {
        arm.costs.iter().zip(["everything kept", "checkpointing"]).enumerate().map(|(number, (cost, how))| {
            Bar {
                label: format!("{}, {how}", arm.name),
                value: cost.bytes as f64,
                figure: mebibytes(cost.bytes),
                colour: number,
            }
        })
    });
    findings.bars("memory", "Memory of a step", "beyond the weights", &bars.collect::<Vec<_>>(), "")?;
    let rows = arms.iter().map(|arm| {
        let [train, test] = arm.learned.told_errors(school);
        let [without, with] = &arm.costs;
        let memory = [mebibytes(without.bytes), mebibytes(with.bytes)];
        let times = [short(without.seconds), short(with.seconds)];
        let words = [arm.name.to_owned(), count(arm.parameters as u64), train, test];
        words.into_iter().chain(memory).chain(times).collect()
    });
    let header = [
        "network",
        "parameters",
        "training error",
        "test error",
        "memory",
        "memory with checkpointing",
        "seconds of a step",
        "seconds with checkpointing",
    ];
    findings.table("networks", "Numbers", &header, rows.collect(), "");
    Ok(())
}
