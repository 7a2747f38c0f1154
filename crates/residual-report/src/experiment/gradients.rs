//! Vanishing and exploding gradients: what arrives of the gradient at each depth of a network that has not
//! learnt anything yet, for different first weights, with and without batch normalization and shortcuts.

use std::{cell::RefCell, rc::Rc};

use residual_autograd::{Tape, Var};
use residual_nn::{Mode, Module};
use residual_tensor::{Generator, Tensor};

use super::{
    Claim, Experiment, Findings, Setting, Watch,
    learning::School,
    stack::{Stack, StackConfig},
};
use crate::{
    Result,
    numbers::{count, listed, short},
    plot::{Axis, COLOURS, Line, Plot},
};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "gradients",
    title: "Vanishing and exploding gradients",
    about: "gradient norm per layer over depth, first weights, batch normalization and shortcuts",
    claims: &[
        Claim {
            source: "He et al. 2015, section 1, on Bengio et al. 1994 and Glorot & Bengio 2010",
            text: "Vanishing and exploding gradients hamper convergence of deep networks from the beginning. If \
                   every layer multiplies the gradient by less than one, it goes to zero with depth; if by more, \
                   to infinity.",
        },
        Claim {
            source: "He et al. 2015, sections 1 and 4.1",
            text: "This has largely been addressed by normalized initialization and intermediate normalization \
                   layers: with batch normalization, backward propagated gradients of plain networks exhibit \
                   healthy norms.",
        },
    ],
    measure,
};

/// First weights: their deviation as a multiple of He's, in words.
const INITS: [(f64, &str); 3] = [(0.41, "small"), (1.0, "He"), (2.0, "large")];

/// With and without normalization and shortcuts.
const ARMS: [(bool, bool, &str); 4] = [
    (false, false, "plain, no BN"),
    (false, true, "residual, no BN"),
    (true, false, "plain, BN"),
    (true, true, "residual, BN"),
];

/// A gradient that loses or gains more than this on its way is called vanished or exploded.
const FAR: f64 = 1e3;

/// What arrives at the end of the stem and of each block, from the first to the last.
struct Arrived {
    arm: usize,
    init: usize,
    depth: usize,
    /// Euclidean norms of the gradient with respect to what the stem and each block give.
    norms: Vec<f64>,
}

impl Arrived {
    /// The gradient at the stem over that at the last block.
    fn ratio(&self) -> f64 {
        self.norms[0] / self.norms.last().copied().unwrap_or(f64::NAN)
    }

    /// By what each of the layers between multiplies the gradient, on average.
    fn per_layer(&self) -> f64 {
        self.ratio().powf(1.0 / (2.0 * (self.norms.len() - 1) as f64))
    }
}

fn measure(setting: &Setting, watch: Watch<'_>) -> Result<Findings> {
    let (side, batch) = setting.effort.pick((16, 32), (32, 128));
    let blocks: &[usize] = setting.effort.pick(&[3, 9, 27], &[3, 9, 27, 54]);
    let school = School::open(setting, [64, batch], side)?;
    let (images, labels) = school.batch(0, batch)?;

    let mut arrived = Vec::new();
    for (arm, &(norm, residual, name)) in ARMS.iter().enumerate() {
        watch(name);
        for (init, &(gain, _)) in INITS.iter().enumerate() {
            for &blocks in blocks {
                let config = StackConfig {
                    input_channels: school.channels(),
                    classes: school.classes(),
                    widths: vec![16],
                    blocks,
                    norm,
                    residual,
                    gain,
                };
                let net = config.build(&mut Generator::new(setting.seed).split("init"))?;
                let norms = gradient_norms(&net, &images, &labels)?;
                arrived.push(Arrived { arm, init, depth: config.depth(), norms });
            }
        }
    }

    let mut findings = Findings::default();
    findings.method(format!(
        "Networks of 3×3 convolutions with 16 channels throughout, at {side}×{side} pixels, which have not been \
         trained. One batch of {batch} pictures goes through forward and backward, and the Euclidean norm of the \
         gradient of the loss with respect to what the stem and each block of two layers give is taken. First \
         weights are normal, with He's deviation √(2 / fan_in), with {} times as much (small: a variance of \
         1 / (3 · fan_in), as of PyTorch's default) and with {} times as much (large).",
        INITS[0].0, INITS[2].0
    ));
    let depths: Vec<usize> = blocks.iter().map(|blocks| 2 + 2 * blocks).collect();
    conclude(&mut findings, &arrived, &depths);
    draw(&mut findings, &arrived, &depths)?;
    Ok(findings)
}

/// Norms of the gradient with respect to the results of the stem and of the blocks.
fn gradient_norms(net: &Stack, images: &Tensor<f32>, labels: &[usize]) -> Result<Vec<f64>> {
    let tape = Tape::new();
    let results: Rc<RefCell<Vec<Var<f32>>>> = Rc::default();
    let seen = results.clone();
    tape.observe(move |path, result| {
        // The stem's ReLU, and blocks as a whole.
        if path == "relu" || (path.starts_with("block") && !path.contains('.')) {
            result.retain_gradient();
            seen.borrow_mut().push(result.clone());
        }
    });
    // A leaf, so that the gradient passes the first layer, too.
    let logits = net.forward(&tape.leaf(images.clone()), Mode::Train)?;
    let gradients = logits.cross_entropy(labels, 0.0)?.backward()?;
    let results = results.borrow();
    let norms = results.iter().map(|result| gradients.of(result).map_or(0.0, norm));
    Ok(norms.collect())
}

fn norm(tensor: &Tensor<f32>) -> f64 {
    tensor.as_slice().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

fn conclude(findings: &mut Findings, arrived: &[Arrived], depths: &[usize]) {
    let deepest = depths[depths.len() - 1];
    let at = |arm: usize, init: usize, depth: usize| {
        let found = arrived.iter().find(|a| (a.arm, a.init, a.depth) == (arm, init, depth));
        found.expect("every arm was measured")
    };
    // Without normalization, plain: the factor per layer decides.
    let (small, large) = (at(0, 0, deepest), at(0, 2, deepest));
    let over_depth = |init: usize| {
        let ratios =
            depths.iter().map(|&depth| format!("{} at {depth} layers", short(at(0, init, depth).ratio())));
        listed(&ratios.collect::<Vec<_>>())
    };
    findings.claim(
        small.per_layer() < 1.0 && small.ratio() < 1.0 / FAR,
        format!(
            "Vanishing: without normalization and with small weights each layer multiplies the gradient by {}; \
             from the last block to the stem it changes by a factor of {}.",
            short(small.per_layer()),
            over_depth(0)
        ),
    );
    findings.claim(
        large.per_layer() > 1.0 && large.ratio() > FAR,
        format!(
            "Exploding: with large weights each layer multiplies it by {}; on the way it changes by a factor of {}.",
            short(large.per_layer()),
            over_depth(2)
        ),
    );
    let he = at(0, 1, deepest).ratio();
    findings.claim(
        (1.0 / FAR..FAR).contains(&he),
        format!(
            "Normalized initialization helps: with He's weights the factor of the plain network of {deepest} layers \
             without normalization is {}.",
            short(he)
        ),
    );
    let normalized: Vec<f64> = (0..INITS.len()).map(|init| at(2, init, deepest).ratio()).collect();
    let healthy = normalized.iter().all(|ratio| (1.0 / FAR..FAR).contains(ratio));
    let factors =
        INITS.iter().zip(&normalized).map(|((_, name), ratio)| format!("{} ({name})", short(*ratio)));
    let factors = listed(&factors.collect::<Vec<_>>());
    let (least, most) = normalized
        .iter()
        .fold((f64::INFINITY, 0.0f64), |(low, high), &ratio| (low.min(ratio), high.max(ratio)));
    findings.claim(
        most < 2.0 * least,
        format!(
            "With batch normalization the size of the first weights does not matter: over {} times as large weights, the \
             factors of the plain network of {deepest} layers differ by {:.1} %.",
            short(INITS[2].0 / INITS[0].0),
            100.0 * (most / least - 1.0)
        ),
    );
    findings.claim(
        healthy,
        format!(
            "Batch normalization keeps gradients of the plain network of {deepest} layers within a factor of {} for \
             all first weights: the factors are {factors}.",
            count(FAR as u64)
        ),
    );
    let growth: Vec<f64> = [2, 3].map(|arm| at(arm, 1, deepest).per_layer()).to_vec();
    findings.observe(format!(
        "With batch normalization and He's weights, each layer multiplies the gradient by {} in the plain network \
         and by {} in the residual one, on its way backwards.",
        short(growth[0]),
        short(growth[1])
    ));
    // Distances from a gradient that arrives as it left, on either side.
    let distances = [0, 1].map(|arm| at(arm, 1, deepest).ratio().ln().abs());
    let nearer = if distances[1] < distances[0] { "nearer to 1 than" } else { "further from 1 than" };
    findings.observe(format!(
        "Shortcuts without normalization: with He's weights, the gradient of the residual network of {deepest} layers changes \
         by a factor of {}, {nearer} that of the plain one; with normalization it is {}.",
        short(at(1, 1, deepest).ratio()),
        short(at(3, 1, deepest).ratio())
    ));
}

fn draw(findings: &mut Findings, arrived: &[Arrived], depths: &[usize]) -> Result<()> {
    let deepest = depths[depths.len() - 1];
    let plot_of = |arm: usize| {
        let lines = arrived.iter().filter(|a| a.arm == arm && a.depth == deepest).map(|a| {
            // Blocks end at every second layer, the stem at the first.
            let points = a.norms.iter().enumerate().map(|(i, &norm)| ((2 * i + 1) as f64, norm));
            let name = format!("{} weights", INITS[a.init].1);
            Line { name, points: points.collect(), colour: COLOURS[a.init], dashed: false }
        });
        Plot {
            title: format!("{}, {deepest} layers", ARMS[arm].2),
            x: Axis::linear("layer"),
            y: Axis::log("norm of the gradient"),
            lines: lines.collect(),
        }
    };
    let plots: Vec<Plot> = (0..ARMS.len()).map(plot_of).collect();
    let caption = "From the stem (left) to the last block. The gradient comes from the right. A line that falls to \
                   the left vanishes, one that rises to the left explodes. Equal lines cover each other.";
    findings.plot("gradients", "The gradient in the deepest networks", &plots, caption)?;

    let over_depth = |init: usize| {
        let lines = ARMS.iter().enumerate().map(|(arm, &(_, _, name))| {
            let of_arm = arrived.iter().filter(|a| (a.arm, a.init) == (arm, init));
            let points = of_arm.map(|a| (a.depth as f64, a.ratio())).collect();
            Line { name: name.to_owned(), points, colour: COLOURS[arm + 3], dashed: false }
        });
        Plot {
            title: format!("{} weights", INITS[init].1),
            x: Axis::linear("layers"),
            y: Axis::log("at the stem / at the end"),
            lines: lines.collect(),
        }
    };
    let plots: Vec<Plot> = [0, 1, 2].map(over_depth).to_vec();
    let caption = "What is left of the gradient at the stem, over the depth of the network. 1 is a gradient that \
                   arrives as it left.";
    findings.plot("depth", "Over depth", &plots, caption)?;

    let header = ["network", "first weights", "layers", "at the stem", "at the end", "factor", "per layer"];
    let rows = arrived.iter().map(|a| {
        let last = a.norms[a.norms.len() - 1];
        let numbers = [a.norms[0], last, a.ratio(), a.per_layer()].map(short);
        let words = [ARMS[a.arm].2.to_owned(), INITS[a.init].1.to_owned(), a.depth.to_string()];
        words.into_iter().chain(numbers).collect()
    });
    findings.table("factors", "All networks", &header, rows.collect(), "");
    let rows = arrived.iter().flat_map(|a| {
        a.norms.iter().enumerate().map(|(i, norm)| {
            let layer = (2 * i + 1).to_string();
            let words = [ARMS[a.arm].2.to_owned(), INITS[a.init].1.to_owned(), a.depth.to_string(), layer];
            words.into_iter().chain([format!("{norm:e}")]).collect()
        })
    });
    findings.csv("norms", &["network", "first weights", "layers", "layer", "gradient norm"], rows.collect());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a network without shortcuts and normalization, and with a linear head, the gradient at the last
    /// block follows from the softmax by hand.
    #[test]
    fn the_gradient_at_the_end_is_that_of_the_softmax() {
        let config = StackConfig {
            input_channels: 1,
            classes: 3,
            widths: vec![4],
            blocks: 2,
            norm: false,
            residual: true,
            gain: 1.0,
        };
        let mut generator = Generator::new(5);
        let net = config.build(&mut generator).unwrap();
        let images = generator.normal_tensor::<f32>([2, 1, 6, 6], 1.0);
        let norms = gradient_norms(&net, &images, &[2, 0]).unwrap();
        assert_eq!(norms.len(), 3);

        let tape = Tape::without_recording();
        let logits = net.forward(&tape.input(images), Mode::Train).unwrap();
        let probabilities = logits.softmax(1).unwrap().value().to_vec();
        let states = net.states();
        let (_, weight) = states.iter().find(|(path, _)| path == "fc.weight").unwrap();
        let weight = weight.value().to_vec();
        // ∂loss/∂y = Wᵀ(p − onehot) / (pictures · positions) at each of the positions.
        let mut squares = 0.0;
        for (picture, label) in [2, 0].into_iter().enumerate() {
            for channel in 0..4 {
                let terms = (0..3).map(|class| {
                    let target = if class == label { 1.0 } else { 0.0 };
                    (probabilities[3 * picture + class] - target) * weight[4 * class + channel]
                });
                squares += 36.0 * f64::from(terms.sum::<f32>() / (2.0 * 36.0)).powi(2);
            }
        }
        assert!((norms[2] / squares.sqrt() - 1.0).abs() < 1e-4, "{norms:?} {}", squares.sqrt());
    }
}
