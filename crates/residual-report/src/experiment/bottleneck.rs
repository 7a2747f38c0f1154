//! The bottleneck: parameters, multiply-adds and time of the two kinds of block.

use std::time::Instant;

use residual_autograd::Tape;
use residual_nn::{BlockConfig, Mode, Module};
use residual_tensor::{Generator, Shape, Tensor};

use super::{Claim, Experiment, Findings, Setting, Watch};
use crate::{
    Result,
    numbers::{count, least, short},
    plot::Bar,
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "bottleneck",
    title: "The bottleneck",
    about: "parameters, multiply-adds and time of a basic block and a bottleneck of 256 channels",
    claims: &[
        Claim {
            source: "He et al. 2015, section 4.1 and figure 5",
            text: "The 1×1 layers reduce and then restore dimensions, leaving the 3×3 layer a bottleneck with smaller \
                   dimensions: for 256 channels 1·1·256·64 + 3·3·64·64 + 1·1·64·256 = 69,632 weights, where two 3×3 \
                   layers have 2 · 3·3·256·256 = 1,179,648.",
        },
        Claim {
            source: "He et al. 2015, figure 5",
            text: "A basic block of 64 channels and a bottleneck of 256 have similar time complexity.",
        },
    ],
    measure,
};

/// A block, and what was measured of it.
struct Arm {
    name: &'static str,
    channels: usize,
    block: Box<dyn Module<f32>>,
    /// Weights of its convolutions.
    weights: usize,
    /// For one picture.
    multiply_adds: u64,
    /// Milliseconds of a forward pass, and of forward and backward.
    times: [Vec<f64>; 2],
}

fn measure(setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
    let (batch, side, repeats) = setting.effort.pick((8, 28, 15), (32, 56, 25));
    let mut generator = Generator::new(setting.seed);
    let mut arm = |name, config: BlockConfig| -> Result<Arm> {
        let block = config.build::<f32>(&mut generator)?;
        let kernels = block.parameters().into_iter().filter(|(_, state)| state.shape().rank() == 4);
        let weights = kernels.map(|(_, state)| state.shape().elements()).sum();
        let shape = Shape::new([1, config.in_channels, side, side]).map_err(residual_nn::Error::from)?;
        let multiply_adds = block.trace(&shape)?.multiply_adds;
        let (channels, times) = (config.in_channels, [Vec::new(), Vec::new()]);
        Ok(Arm { name, channels, block, weights, multiply_adds, times })
    };
    let mut arms = [
        arm("two 3×3, 256 channels", BlockConfig::basic(256, 256))?,
        arm("bottleneck, 256 channels", BlockConfig::bottleneck(256, 64))?,
        arm("two 3×3, 64 channels", BlockConfig::basic(64, 64))?,
    ];
    // In turns, so that whatever else the machine does meets all of them.
    for repeat in 0..=repeats {
        watch(&format!("turn {repeat} of {repeats}"));
        for arm in &mut arms {
            let images = generator.normal_tensor::<f32>([batch, arm.channels, side, side], 1.0);
            let times = [forward(&*arm.block, &images)?, forward_and_backward(&*arm.block, &images)?];
            if repeat > 0 {
                arm.times.iter_mut().zip(times).for_each(|(kept, time)| kept.push(time));
            }
        }
    }

    let mut findings = Findings::default();
    findings.method(format!(
        "Blocks with identity shortcuts on {batch} pictures of {side}×{side}. Times are the shortest of {repeats} turns, in \
         each of which every block runs once, forward in evaluation mode, and forward and backward in training mode."
    ));
    conclude(&mut findings, &arms);
    for (file, title, which) in [("forward", "Forward", 0), ("training", "Forward and backward", 1)] {
        let bars = arms.iter().enumerate().map(|(number, arm)| {
            let value = least(&arm.times[which]);
            Bar { label: arm.name.to_owned(), value, figure: format!("{} ms", short(value)), colour: number }
        });
        findings.bars(file, title, "milliseconds", &bars.collect::<Vec<_>>(), "")?;
    }
    let rows = arms.iter().map(|arm| {
        let numbers = [arm.weights as u64, arm.multiply_adds].map(count);
        let times = [0, 1].map(|which| short(least(&arm.times[which])));
        std::iter::once(arm.name.to_owned()).chain(numbers).chain(times).collect()
    });
    let header =
        ["block", "weights", "multiply-adds of a picture", "forward, ms", "forward and backward, ms"];
    findings.table("blocks", "Numbers", &header, rows.collect(), "");
    Ok(findings)
}

fn milliseconds(run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    run()?;
    Ok(1e3 * started.elapsed().as_secs_f64())
}

fn forward(block: &dyn Module<f32>, images: &Tensor<f32>) -> Result<f64> {
    milliseconds(|| {
        let tape = Tape::without_recording();
        block.forward(&tape.input(images.clone()), Mode::Eval)?;
        Ok(())
    })
}

fn forward_and_backward(block: &dyn Module<f32>, images: &Tensor<f32>) -> Result<f64> {
    milliseconds(|| {
        let tape = Tape::new();
        let y = block.forward(&tape.leaf(images.clone()), Mode::Train)?;
        y.backward_with(images.clone())?;
        Ok(())
    })
}

fn conclude(findings: &mut Findings, arms: &[Arm; 3]) {
    let [wide, bottleneck, narrow] = arms;
    findings.claim(
        (wide.weights, bottleneck.weights) == (1_179_648, 69_632),
        format!(
            "Counted in the blocks that networks are made of: {} weights in two 3×3 convolutions of 256 channels, {} in \
             the bottleneck, {} times fewer.",
            count(wide.weights as u64),
            count(bottleneck.weights as u64),
            short(wide.weights as f64 / bottleneck.weights as f64)
        ),
    );
    let time = |arm: &Arm, which: usize| least(&arm.times[which]);
    let ratios = [0, 1].map(|which| time(wide, which) / time(bottleneck, which));
    let fewer = wide.multiply_adds as f64 / bottleneck.multiply_adds as f64;
    let compared = if ratios.iter().all(|&ratio| ratio < fewer) { "less than" } else { "not less than" };
    findings.claim(
        ratios.iter().all(|&ratio| ratio > 1.0),
        format!(
            "Time: the two 3×3 take {} times as long as the bottleneck forward and {} times forward and backward, {compared} \
             the {} times as many multiply-adds would suggest.",
            short(ratios[0]),
            short(ratios[1]),
            short(fewer)
        ),
    );
    let adds = bottleneck.multiply_adds as f64 / narrow.multiply_adds as f64;
    let times = [0, 1].map(|which| time(bottleneck, which) / time(narrow, which));
    findings.claim(
        (0.8..1.25).contains(&adds),
        format!(
            "A bottleneck of 256 channels has {} times the multiply-adds of a basic block of 64, where the paper \
             calls their complexity similar.",
            short(adds)
        ),
    );
    findings.observe(format!(
        "Its time is {} times that of the basic block of 64 channels forward, and {} times forward and backward; four \
         times as many numbers go in and out.",
        short(times[0]),
        short(times[1])
    ));
}
