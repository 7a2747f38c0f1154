//! Algorithms for convolution: time and error of each, held against the definition.

use std::time::Instant;

use residual_kernels::{
    Conv2dGeometry,
    conv2d::{Algorithm, forward_with},
};
use residual_tensor::{Generator, Layout, Tensor};

use super::{Claim, Experiment, Findings, Setting, Watch};
use crate::{
    Result,
    numbers::{count, least, short},
    plot::Bar,
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "algorithms",
    title: "Algorithms for convolution",
    about: "time and error of each algorithm for the convolutions of residual networks",
    claims: &[
        Claim {
            source: "Lavin & Gray 2016 (Fast Algorithms for Convolutional Neural Networks), section 4",
            text: "F(2×2, 3×3) needs 2.25 times fewer multiplications than the definition, F(4×4, 3×3) 4 times fewer.",
        },
        Claim {
            source: "Lavin & Gray 2016, section 5.3",
            text: "Larger tiles are less accurate, still accurate enough for networks.",
        },
    ],
    measure,
};

/// Convolutions of networks: channels in and out, side, kernel, stride.
const LAYERS: [(&str, [usize; 5]); 5] = [
    ("3×3, 64 → 64, 56×56 (ResNet-18, conv2_x)", [64, 64, 56, 3, 1]),
    ("3×3, 256 → 256, 14×14 (conv4_x)", [256, 256, 14, 3, 1]),
    ("3×3 /2, 128 → 256, 28×28 (conv4_1)", [128, 256, 28, 3, 2]),
    ("1×1, 256 → 64, 56×56 (ResNet-50, conv2_x)", [256, 64, 56, 1, 1]),
    ("3×3, 16 → 16, 32×32 (ResNet-20)", [16, 16, 32, 3, 1]),
];

/// The definition, too slow to be timed beside the others.
const DEFINITION: Algorithm = Algorithm::Reference;

/// An algorithm on a layer.
struct Run {
    layer: usize,
    algorithm: Algorithm,
    milliseconds: Vec<f64>,
    /// The largest difference from the definition in double precision, over the deviation of the results.
    error: f64,
}

fn measure(setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
    let (batch, repeats) = setting.effort.pick((4, 9), (16, 25));
    let mut runs = Vec::new();
    for (layer, &(name, [from, to, side, kernel, stride])) in LAYERS.iter().enumerate() {
        watch(name);
        let mut generator = Generator::new(setting.seed).split(layer);
        let geometry = Conv2dGeometry::new(kernel, kernel).stride(stride).padding(kernel / 2);
        let deviation = (2.0 / (from * kernel * kernel) as f64).sqrt();
        let x =
            generator.normal_tensor::<f32>([batch, from, side, side], 1.0).to_layout(Layout::ChannelsLast);
        let w = generator
            .normal_tensor::<f32>([to, from, kernel, kernel], deviation)
            .to_layout(Layout::ChannelsLast);
        // One picture is enough for the error: the definition takes long.
        let one = x.slice(0, 0..1).map_err(residual_nn::Error::from)?;
        let exact = forward_with(DEFINITION, one.map(f64::from), w.map(f64::from), &geometry)?;

        let shape = geometry.resolve(x.shape(), w.shape())?;
        let able = Algorithm::ALL.into_iter().filter(|&a| a != DEFINITION && a.check(&shape).is_ok());
        let mut of_layer = Vec::new();
        for algorithm in able {
            let error = error(&forward_with(algorithm, &one, &w, &geometry)?, &exact);
            of_layer.push(Run { layer, algorithm, milliseconds: Vec::new(), error });
        }
        // In turns, so that whatever else the machine does meets all of them.
        for repeat in 0..=repeats {
            for run in &mut of_layer {
                let started = Instant::now();
                forward_with(run.algorithm, &x, &w, &geometry)?;
                if repeat > 0 {
                    run.milliseconds.push(1e3 * started.elapsed().as_secs_f64());
                }
            }
        }
        runs.extend(of_layer);
    }

    let mut findings = Findings::default();
    findings.method(format!(
        "Forward passes of convolutions of networks on {batch} pictures of normal noise, with He's weights, in f32. Times \
         are the shortest of {repeats} turns, in each of which every algorithm runs once, packing of weights included. \
         Errors are the largest differences from the definition in f64, on one picture, over the standard deviation of \
         the results."
    ));
    conclude(&mut findings, &runs);
    draw(&mut findings, &runs, batch)?;
    Ok(findings)
}

/// The largest difference over the deviation of what is exact.
fn error(ours: &Tensor<f32>, exact: &Tensor<f64>) -> f64 {
    let exact = exact.to_layout(ours.layout());
    let pairs = || ours.as_slice().iter().zip(exact.as_slice());
    let largest = pairs().map(|(&a, &b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
    let squares: f64 = exact.as_slice().iter().map(|x| x * x).sum();
    largest / (squares / exact.len().max(1) as f64).sqrt()
}

fn conclude(findings: &mut Findings, runs: &[Run]) {
    let of = |layer: usize, algorithm: Algorithm| {
        runs.iter()
            .find(|run| (run.layer, run.algorithm) == (layer, algorithm))
            .expect("every 3×3 can be computed so")
    };
    let ratio = |layer: usize, of_this: Algorithm, than: Algorithm| {
        least(&of(layer, than).milliseconds) / least(&of(layer, of_this).milliseconds)
    };
    let two = ratio(0, Algorithm::Winograd2, Algorithm::Blocked);
    let four = ratio(0, Algorithm::Winograd4, Algorithm::Blocked);
    findings.claim(
        two > 1.0 && four > two,
        format!(
            "Fewer multiplications save time on 64 channels of 56×56: against the same engine with all of them, F(2×2, 3×3) is \
             {} times and F(4×4, 3×3) {} times as fast (2.25 and 4 would be the multiplications alone).",
            short(two),
            short(four)
        ),
    );
    let errors = [Algorithm::Blocked, Algorithm::Winograd2, Algorithm::Winograd4].map(|a| of(0, a).error);
    findings.claim(
        errors[2] > errors[1] && errors[2] < 1e-3,
        format!(
            "Larger tiles are less accurate: there, the largest error is {} of the results' deviation with F(4×4, 3×3), {} \
             with F(2×2, 3×3) and {} with all multiplications.",
            short(errors[2]),
            short(errors[1]),
            short(errors[0])
        ),
    );
    let im2col = (0..LAYERS.len()).map(|layer| {
        let fastest = runs.iter().filter(|run| run.layer == layer).map(|run| least(&run.milliseconds));
        least(&of(layer, Algorithm::Im2col).milliseconds) / fastest.fold(f64::INFINITY, f64::min)
    });
    let im2col: Vec<f64> = im2col.collect();
    let (least, most) =
        im2col.iter().fold((f64::INFINITY, 0.0f64), |(low, high), &x| (low.min(x), high.max(x)));
    findings.observe(format!(
        "Copying windows into a matrix (im2col) takes {} to {} times as long as the fastest algorithm of each layer.",
        short(least),
        short(most)
    ));
}

fn draw(findings: &mut Findings, runs: &[Run], batch: usize) -> Result<()> {
    const FILES: [&str; LAYERS.len()] = ["layer1", "layer2", "layer3", "layer4", "layer5"];
    for (layer, (name, _)) in LAYERS.iter().enumerate() {
        let of_layer = runs.iter().filter(|run| run.layer == layer);
        let bars = of_layer.map(|run| {
            let value = least(&run.milliseconds);
            let figure = format!("{} ms, error {:.1e}", short(value), run.error);
            let colour = Algorithm::ALL.iter().position(|&a| a == run.algorithm).unwrap_or(0);
            Bar { label: run.algorithm.name().to_owned(), value, figure, colour }
        });
        findings.bars(FILES[layer], *name, "milliseconds", &bars.collect::<Vec<_>>(), "")?;
    }
    let rows = runs.iter().map(|run| {
        let (name, [from, to, side, kernel, stride]) = LAYERS[run.layer];
        let out = side.div_ceil(stride);
        let adds = (batch * out * out * to * from * kernel * kernel) as u64;
        let milliseconds = least(&run.milliseconds);
        let gflops = 2.0 * adds as f64 / milliseconds / 1e6;
        let words = [name.to_owned(), run.algorithm.name().to_owned(), count(adds)];
        words.into_iter().chain([short(milliseconds), short(gflops), format!("{:.1e}", run.error)]).collect()
    });
    let header = ["convolution", "algorithm", "multiply-adds", "ms", "GFLOPS by definition", "error"];
    findings.table("algorithms", "Numbers", &header, rows.collect(), "");
    Ok(())
}
