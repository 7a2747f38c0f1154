//! A bias before batch normalization: it cancels, so that convolutions of residual networks have none.

use residual_autograd::{Tape, Var};
use residual_kernels::Conv2dGeometry;
use residual_tensor::{Generator, Tensor};

use super::{Claim, Experiment, Findings, Setting, Watch};
use crate::{
    Result,
    numbers::short,
    plot::{Axis, COLOURS, Line, Plot},
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "bias",
    title: "A bias before batch normalization",
    about: "a convolution's bias in front of batch normalization cancels exactly",
    claims: &[Claim {
        source: "Ioffe & Szegedy 2015, section 3.2",
        text: "Since Wu + b is normalized, the bias b can be ignored: its effect is cancelled by the subsequent mean \
               subtraction.",
    }],
    measure,
};

const CHANNELS: usize = 6;
const SHAPE: [usize; 4] = [4, CHANNELS, 8, 8];

/// The network of this experiment for a bias per channel: convolution, bias, batch normalization, ReLU.
/// Gives the normalized convolution and the gradient of the bias for a gradient of the result.
fn network(bias: &[f64], normalized: bool, seed: u64) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut generator = Generator::new(seed);
    let [x, weight] =
        [[4, 3, 8, 8], [CHANNELS, 3, 3, 3]].map(|shape| generator.normal_tensor::<f64>(shape, 1.0));
    let [gamma, beta] = [(); 2].map(|()| generator.normal_tensor::<f64>([CHANNELS], 1.0));
    let upstream = generator.normal_tensor::<f64>(SHAPE, 1.0);

    let tape = Tape::new();
    let per_channel = Tensor::from_slice([1, CHANNELS, 1, 1], bias).map_err(residual_nn::Error::from)?;
    let bias = tape.leaf(per_channel);
    let convolved: Var<f64> =
        tape.input(x).conv2d(&tape.input(weight), &Conv2dGeometry::new(3, 3).padding(1))?;
    let mut y = convolved.add(&bias)?;
    if normalized {
        y = y.batch_norm(&tape.input(gamma), &tape.input(beta), None, 1e-5)?;
    }
    let y = y.relu()?;
    let gradients = y.backward_with(upstream)?;
    let gradient = gradients.of(&bias).map(Tensor::to_vec).unwrap_or_default();
    Ok((y.value().to_vec(), gradient))
}

fn measure(setting: &Setting, _: Watch<'_>) -> Result<Findings> {
    // Biases of growing size, with both signs and different in each channel.
    let sizes = [0.01, 0.1, 1.0, 10.0, 100.0];
    let biases = |size: f64| -> Vec<f64> {
        let mut generator = Generator::new(setting.seed).split("bias");
        (0..CHANNELS).map(|_| size * generator.normal()).collect()
    };
    let mut rows = Vec::new();
    for size in sizes {
        let mut row = vec![size];
        for normalized in [false, true] {
            let (without, _) = network(&[0.0; CHANNELS], normalized, setting.seed)?;
            let (with, gradient) = network(&biases(size), normalized, setting.seed)?;
            let differences: Vec<f64> = with.iter().zip(&without).map(|(a, b)| a - b).collect();
            row.extend([largest(&differences), largest(&gradient)]);
        }
        rows.push(row);
    }

    let mut findings = Findings::default();
    findings.method(
        "A convolution from 3 to 6 channels, a bias for each channel, batch normalization in training mode with \
         random γ and β, and ReLU, in double precision. Biases are normal with growing deviations. The largest \
         change of any result against a bias of zero is taken, and the largest derivative with respect to a bias, \
         with batch normalization and, to show that there is something to cancel, without it.",
    );
    let most = |column: usize| rows.iter().map(|row| row[column]).fold(0.0, f64::max);
    let last = &rows[rows.len() - 1];
    findings.claim(
        most(3) < 1e-9,
        format!(
            "With batch normalization, a bias of deviation {} changes results by at most {}; without it, by {}.",
            last[0],
            short(last[3]),
            short(last[1])
        ),
    );
    findings.claim(
        most(4) < 1e-9 && most(2) > 1.0,
        format!(
            "It cannot learn anything either: its derivative is at most {} with batch normalization, and up to {} \
             without.",
            short(most(4)),
            short(most(2))
        ),
    );
    if last[3] > rows[0][3] {
        findings.observe(format!(
            "What is left is rounding, which grows with the bias, from {} to {}: a number in memory has 16 digits, of which \
             a large bias takes the first ones.",
            short(rows[0][3]),
            short(last[3])
        ));
    }
    let line = |name: &str, column: usize, colour: usize| Line {
        name: name.to_owned(),
        // A change of exactly nothing is drawn at the smallest number that there is beside 1.
        points: rows.iter().map(|row| (row[0], row[column].max(f64::EPSILON))).collect(),
        colour: COLOURS[colour],
        dashed: false,
    };
    let plots = [
        Plot {
            title: "Largest change of a result".into(),
            x: Axis::log("deviation of the biases"),
            y: Axis::log("change"),
            lines: vec![line("without batch normalization", 1, 1), line("with", 3, 0)],
        },
        Plot {
            title: "Largest derivative with respect to a bias".into(),
            x: Axis::log("deviation of the biases"),
            y: Axis::log("derivative"),
            lines: vec![line("without batch normalization", 2, 1), line("with", 4, 0)],
        },
    ];
    findings.plot("bias", "What a bias does", &plots, "")?;
    let header = [
        "deviation of the biases",
        "change without BN",
        "derivative without BN",
        "change with BN",
        "derivative with BN",
    ];
    let rows = rows.iter().map(|row| row.iter().copied().map(short).collect());
    findings.table("bias", "Numbers", &header, rows.collect(), "");
    Ok(findings)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}
