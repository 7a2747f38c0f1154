//! What runs against what is defined: small networks of every kind, trained for one step the way
//! users train them, with layers that run fused; the same with each layer by itself; compiled; and
//! as the plain loops of `reference` compute it. Every element of outputs, running statistics and
//! gradients is compared, in both precisions and by each instruction set that the processor has.
//!
//! Rounding must not decide which side of a kink a value is on, or the comparison would need
//! tolerances in which faults could hide: inputs are drawn until no ReLU's input is close to zero
//! and no two values under a window's maximum are close to each other.

mod definition;
mod panels;

use std::{collections::BTreeMap, env};

use definition::{Definition, Evaluated};
use panels::Panels;
use residual_autograd::Tape;
use residual_infer::Session;
use residual_nn::{Mode, Module, Role};
use residual_tensor::{Float, Generator, Tensor};
use residual_zoo::{Network, NetworkConfig};

use super::{Difference, Failure, Outcome, Settings, child, instruction_sets, recorder::Recorder};

/// Allowed differences over the largest magnitude in a panel: rounding makes a few
const F32: f64 = 1e-4;
const F64: f64 = 1e-9;

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for network in NETWORKS {
        let name = network.name;
        recorder.check(format!("{name} training f32"), || training::<f32>(network, F32));
        recorder.check(format!("{name} training f64"), || training::<f64>(network, F64));
        recorder.check(format!("{name} compiled f32"), || compiled(network, F32));
    }
    instruction_sets::on_others(recorder, |name| {
        let (only, variable) = ("fused/training,fused/compiled", ("RESIDUAL_ISA", Some(name)));
        let result = child::verify(&env::current_exe()?, &settings.root, only, variable)?;
        child::outcome(&result, |result| format!("the checks above again, {} of them", result["passed"]))
    })
}

/// A network that is small enough for plain loops.
struct Small {
    name: &'static str,
    description: &'static str,
    /// Of the input.
    input: [usize; 4],
}

/// Every kind of block, order, shortcut and stem; channels that fill panels and channels that do
/// not; odd sizes, not square.
const NETWORKS: &[Small] = &[
    Small {
        name: "basic A",
        description: "stem = 'cifar'\nblock = 'basic'\ndepths = [2, 1, 1]\nwidths = [16, 32, 64]\nshortcut = 'A'",
        input: [4, 3, 9, 11],
    },
    Small {
        name: "basic B",
        description: "stem = 'imagenet'\nblock = 'basic'\ndepths = [1, 1]\nwidths = [64, 128]\nshortcut = 'B'",
        input: [3, 3, 29, 26],
    },
    Small {
        name: "basic C",
        description: "stem = 'cifar'\nblock = 'basic'\ndepths = [1, 1]\nwidths = [20, 40]\nshortcut = 'C'",
        input: [3, 1, 10, 9],
    },
    Small {
        name: "plain",
        description: "stem = 'cifar'\nblock = 'basic'\ndepths = [1, 1]\nwidths = [32, 48]\nresidual = false",
        input: [3, 3, 8, 11],
    },
    Small {
        name: "bottleneck v1",
        description: "stem = 'imagenet'\nblock = 'bottleneck'\ndepths = [1, 1]\nwidths = [16, 32]\nbottleneck_stride = 'v1'",
        input: [3, 3, 31, 27],
    },
    Small {
        name: "bottleneck v1.5",
        description: "stem = 'cifar'\nblock = 'bottleneck'\ndepths = [1, 1]\nwidths = [16, 32]",
        input: [3, 3, 9, 8],
    },
    Small {
        name: "pre-activated basic",
        description: "stem = 'cifar'\nblock = 'basic'\ndepths = [1, 1]\nwidths = [16, 32]\norder = 'pre'",
        input: [3, 3, 10, 9],
    },
    Small {
        name: "pre-activated bottleneck",
        description: "stem = 'cifar'\nblock = 'bottleneck'\ndepths = [1, 1]\nwidths = [16, 32]\norder = 'pre'",
        input: [3, 3, 8, 9],
    },
    Small {
        name: "wide",
        description: "stem = 'cifar'\nblock = 'basic'\ndepths = [1, 1]\nwidths = [64, 96]\norder = 'pre'",
        input: [2, 3, 8, 8],
    },
    Small {
        name: "grouped bottleneck",
        description: "stem = 'cifar'\nblock = 'bottleneck'\ndepths = [1, 1]\nwidths = [64, 128]\ngroups = 8\nwidth_per_group = 4",
        input: [3, 3, 8, 7],
    },
    Small {
        name: "squeeze-and-excitation",
        description: "stem = 'cifar'\nblock = 'basic'\ndepths = [1, 1]\nwidths = [16, 32]\nplugins = ['squeeze_excite']",
        input: [3, 3, 9, 8],
    },
    Small {
        name: "deep stem, shortcut D",
        description: "stem = 'deep'\nblock = 'bottleneck'\ndepths = [1, 1]\nwidths = [16, 32]\nstem_width = 32\nshortcut = 'D'",
        input: [3, 3, 27, 30],
    },
    Small {
        name: "blurred",
        description: "stem = 'imagenet'\nblock = 'basic'\ndepths = [1, 1]\nwidths = [16, 32]\nplugins = ['blur_pool']",
        input: [3, 3, 26, 29],
    },
    Small {
        name: "ConvNeXt",
        description: "architecture = 'convnext'\ndepths = [1, 1]\nwidths = [16, 24]",
        input: [3, 3, 17, 20],
    },
    Small {
        name: "ConvNeXt of convolutions",
        description: "architecture = 'convnext'\ndepths = [1, 1]\nwidths = [16, 24]\nconv_mlp = true",
        input: [3, 3, 17, 20],
    },
];

const CLASSES: usize = 7;
const SMOOTHING: f64 = 0.1;

impl Small {
    /// The network with states as after some training: no two channels are normalized alike. The
    /// values are rounded to f32, so that both precisions start from the same.
    fn build<T: Float>(&self) -> Result<Network<T>, Failure> {
        let [_, channels, ..] = self.input;
        let text =
            format!("name = 'small'\n{}\nclasses = {CLASSES}\ninput_channels = {channels}", self.description);
        let mut generator = Generator::new(0).split(self.name);
        let net = NetworkConfig::from_toml(&text)?.build::<T>(&mut generator)?;
        for (path, state) in net.states() {
            let vector = state.shape().rank() == 1 && state.role() != Role::Counter;
            state.update(|value| {
                for value in value.as_mut_slice().iter_mut() {
                    let part = if vector { generator.between(-0.3, 0.3) } else { 0.0 };
                    let base = if path.ends_with("running_var") { 1.0 } else { value.to_f64() };
                    *value = T::of(f64::from((base + part) as f32));
                }
            });
        }
        Ok(net)
    }

    /// Images for a draw, in f32's numbers.
    fn images(&self, seed: u64) -> Tensor<f64> {
        let mut generator = Generator::new(seed).split(self.name);
        generator.normal_tensor::<f32>(self.input, 1.0).map(f64::from)
    }

    fn labels(&self) -> Vec<usize> {
        (0..self.input[0]).map(|picture| picture * 3 % CLASSES).collect()
    }

    /// The first images that `run` evaluates without coming close to a kink, and what it gives.
    fn away_from_kinks(
        &self,
        run: impl Fn(&Tensor<f64>) -> Result<Evaluated, Failure>,
    ) -> Result<(Tensor<f64>, Evaluated), Failure> {
        /// Many times what rounding in f32 does to a value of about one.
        const CLEARANCE: f64 = 1e-5;
        const DRAWS: u64 = 50;
        for seed in 0..DRAWS {
            let images = self.images(seed);
            let evaluated = run(&images)?;
            if evaluated.clearance >= CLEARANCE {
                return Ok((images, evaluated));
            }
        }
        Err(format!("each of {DRAWS} inputs comes close to a kink").into())
    }
}

/// What one step leaves: outputs, running statistics and gradients, by name.
type Arrays = BTreeMap<String, (usize, Vec<f64>)>;

fn training<T: Float>(small: &Small, tolerance: f64) -> Outcome {
    let definition = Definition::of(&small.build::<f64>()?);
    let labels = small.labels();
    let (images, evaluated) = small.away_from_kinks(|images| definition.train(images, &labels, SMOOTHING))?;
    let (layered, layered_nodes) = step::<T>(small, &images, true)?;
    let (fused, fused_nodes) = step::<T>(small, &images, false)?;
    let graph = small.build::<T>()?.graph();
    let fuses = graph.groups_in_training().iter().any(|group| graph.normalization(group).is_some());
    if fuses && fused_nodes >= layered_nodes {
        return Err(
            format!("{fused_nodes} nodes on the tape, as many as layer by layer: nothing is fused").into()
        );
    }
    let mut told = Vec::new();
    for (what, ours, exact) in [
        ("fused", &fused, &evaluated.arrays),
        ("layer by layer", &layered, &evaluated.arrays),
        ("fused against layer by layer", &fused, &layered),
    ] {
        let mut panels = Panels::new(tolerance);
        panels.all(ours, exact);
        told.push(panels.outcome(what)?);
    }
    Ok(format!("{fused_nodes} nodes instead of {layered_nodes}; {}", told.join("; ")))
}

/// A step of training, on an observed tape layer by layer. Gives what it leaves, and the number of
/// nodes on the tape.
fn step<T: Float>(small: &Small, images: &Tensor<f64>, observed: bool) -> Result<(Arrays, usize), Failure> {
    let net = small.build::<T>()?;
    let tape = Tape::<T>::new();
    if observed {
        tape.observe(|_, _| ());
    }
    let x = tape.leaf(images.map(T::of));
    let logits = net.forward(&x, Mode::Train)?;
    let loss = logits.cross_entropy(&small.labels(), SMOOTHING)?;
    let (nodes, mut arrays) = (tape.len(), Arrays::new());
    let mut keep = |name: String, tensor: &Tensor<T>| {
        let rows = tensor.shape().first().copied().unwrap_or(1);
        arrays.insert(name, (rows, tensor.to_vec().into_iter().map(Float::to_f64).collect()));
    };
    keep("logits".into(), logits.value());
    keep("loss".into(), loss.value());
    let gradients = loss.backward()?;
    keep("gradient of the input".into(), gradients.of(&x).ok_or("no gradient of the input")?);
    for (path, state) in net.states() {
        match state.role() {
            Role::Parameter => {
                let gradient = gradients.of_state(&state).ok_or_else(|| format!("no gradient of {path}"))?;
                keep(format!("gradient of {path}"), gradient);
            }
            Role::Buffer => keep(path, &state.value()),
            Role::Counter => {}
        }
    }
    Ok((arrays, nodes))
}

fn compiled(small: &Small, tolerance: f64) -> Outcome {
    let definition = Definition::of(&small.build::<f64>()?);
    let (images, evaluated) = small.away_from_kinks(|images| definition.evaluate(images))?;
    let net = small.build::<f32>()?;
    let images = images.map(|value| value as f32);
    let logits = |tensor: &Tensor<f32>| -> Arrays {
        let values = tensor.to_vec().into_iter().map(f64::from).collect();
        Arrays::from([("logits".to_owned(), (1, values))])
    };
    let tape = Tape::without_recording();
    let on_tape = logits(net.forward(&tape.input(images.clone()), Mode::Eval)?.value());
    let compiled = logits(&Session::new(&net, images.shape())?.run(&images)?);
    let mut told = Vec::new();
    for (what, ours) in [("compiled", &compiled), ("on a tape", &on_tape)] {
        let mut panels = Panels::new(tolerance);
        panels.all(ours, &evaluated.arrays);
        told.push(panels.outcome(what)?);
    }
    Ok(told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fault of one per cent in one panel of one gradient, of a real step.
    #[test]
    fn one_per_cent_in_one_panel_of_one_gradient_is_found() {
        let small = &NETWORKS[2];
        let (exact, _) = step::<f64>(small, &small.images(0), true).unwrap();
        let outcome = |ours: &Arrays| {
            let mut panels = Panels::new(F32);
            panels.all(ours, &exact);
            panels.outcome("faulty")
        };
        assert!(outcome(&exact).is_ok());
        for (name, (rows, values)) in exact.iter().filter(|(name, _)| name.starts_with("gradient")) {
            for panel in 0..rows.div_ceil(panels::ROWS) {
                let mut faulty = values.clone();
                let row = values.len() / rows;
                let end = ((panel + 1) * panels::ROWS).min(*rows);
                faulty[panel * panels::ROWS * row..end * row].iter_mut().for_each(|value| *value *= 1.01);
                let mut ours = exact.clone();
                ours.insert(name.clone(), (*rows, faulty));
                let failure = outcome(&ours).unwrap_err();
                assert!(failure.is::<Difference>() && failure.to_string().contains(name), "{failure}");
            }
        }
    }
}
