//! Gradients against difference quotients, in f64: every operation, layer and block that is
//! registered, and whole small networks. What is not registered does not compile. Samples follow from a
//! seed and their number, and are small: a failure is repeated by its number, and needs no shrinking.

use residual_autograd::{GradCheck, Result as AutogradResult, Tolerance, registry};
use residual_nn::{LayerSample, Mode, layers};
use residual_tensor::Generator;
use residual_zoo::NetworkConfig;

use super::{Difference, Failure, Outcome, Settings, numbers::grouped, recorder::Recorder};

/// What all samples are drawn from; a failure names the case under it.
const SEED: u64 = 0;

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for entry in registry() {
        recorder.check(entry.name, || {
            let mut total = Total::default();
            for case in 0..settings.samples {
                let generator = Generator::new(SEED).split(entry.name).split(case);
                let sample = entry.sample(generator.split("sample"));
                let mut upstream = generator.split("upstream");
                let check = GradCheck::run(
                    &sample.inputs,
                    |inputs| sample.apply(inputs),
                    &mut upstream,
                    Tolerance::default(),
                );
                total.add(&format!("case {case} {}", sample.case), check)?;
            }
            total.outcome()
        });
    }
    for entry in layers() {
        recorder.check(entry.name, || {
            let mut total = Total::default();
            for case in 0..settings.samples {
                let mut generator = Generator::new(SEED).split(entry.name).split(case);
                total.add_sample(&format!("case {case}"), &entry.sample(&mut generator), generator)?;
            }
            total.outcome()
        });
    }
    for (name, description) in NETWORKS {
        recorder.check(*name, || {
            let mut total = Total::default();
            let generator = Generator::new(SEED).split(*name);
            total.add_sample("", &network(description, generator.clone())?, generator)?;
            total.outcome()
        });
    }
    Ok(())
}

/// Two stages with everything that can be different between networks.
const NETWORKS: &[(&str, &str)] = &[
    ("network basic shortcut A", "block = 'basic'\nshortcut = 'A'"),
    ("network basic shortcut B", "block = 'basic'\nshortcut = 'B'"),
    ("network basic shortcut C", "block = 'basic'\nshortcut = 'C'"),
    ("network basic plain", "block = 'basic'\nresidual = false"),
    ("network basic pre-activated", "block = 'basic'\norder = 'pre'"),
    ("network bottleneck v1", "block = 'bottleneck'\nbottleneck_stride = 'v1'"),
    ("network bottleneck v1.5", "block = 'bottleneck'"),
    ("network bottleneck shortcut A", "block = 'bottleneck'\nshortcut = 'A'"),
    ("network bottleneck pre-activated", "block = 'bottleneck'\norder = 'pre'"),
    ("network bottleneck grouped", "block = 'bottleneck'\ngroups = 2\nwidth_per_group = 64"),
    ("network ImageNet stem", "block = 'basic'\nstem = 'imagenet'"),
    ("network squeeze-and-excitation", "block = 'basic'\nplugins = ['squeeze_excite']\ninit = 'uniform'"),
    ("network shortcut D", "block = 'bottleneck'\nshortcut = 'D'"),
    ("network deep stem", "block = 'basic'\nstem = 'deep'\nstem_width = 4"),
    ("network blurred", "block = 'bottleneck'\nplugins = ['blur_pool']"),
    ("network stochastic depth", "block = 'basic'\ndrop_path_rate = 0.5"),
    ("network ConvNeXt", "architecture = 'convnext'"),
    ("network ConvNeXt of convolutions", "architecture = 'convnext'\nconv_mlp = true"),
];

fn network(description: &str, mut generator: Generator) -> Result<LayerSample, Failure> {
    let has_stem = ["stem", "architecture"].iter().any(|key| description.contains(key));
    let stem = if has_stem { "" } else { "stem = 'cifar'" };
    let small = "name = 'small'\ndepths = [1, 1]\nwidths = [2, 3]\nclasses = 3\ninput_channels = 2";
    let config = NetworkConfig::from_toml(&format!("{small}\n{stem}\n{description}"))?;
    let size = config.native_size()[0] / 16; // 14 and 2, or the picture is a single pixel at the end
    let module = Box::new(config.build::<f64>(&mut generator)?);
    let input = generator.normal_tensor([2, 2, size + 5, size + 4], 1.0);
    Ok(LayerSample { module, input })
}

/// What several gradient checks gave together.
#[derive(Default)]
struct Total {
    compared: usize,
    nonzero: usize,
    worst: f64,
}

impl Total {
    /// Adds a layer or network in both modes, with its parameters.
    fn add_sample(
        &mut self,
        case: &str,
        sample: &LayerSample,
        mut generator: Generator,
    ) -> Result<(), Failure> {
        for mode in [Mode::Train, Mode::Eval] {
            let apply = |values: &[_]| sample.apply(values, mode);
            let check = GradCheck::run(&sample.differentiable(), apply, &mut generator, Tolerance::default());
            self.add(&format!("{case} {mode:?}"), check)?;
        }
        Ok(())
    }

    fn add(&mut self, case: &str, check: AutogradResult<GradCheck>) -> Result<(), Failure> {
        let check = check.map_err(|error| format!("{case}: {error}"))?;
        let worst = check.worst;
        if worst.ratio.is_nan() || worst.ratio > 1.0 {
            let (input, element) = (worst.input, worst.element);
            let (analytic, numeric) = (worst.analytic, worst.numeric);
            let reason =
                format!("{case}: input {input}, element {element}: {analytic}, but numerically {numeric}");
            return Err(Difference::found(reason));
        }
        self.compared += check.compared;
        self.nonzero += check.nonzero;
        self.worst = self.worst.max(worst.ratio);
        Ok(())
    }

    /// A check of zeros proves nothing: a tenth of the derivatives must not be zero.
    fn outcome(&self) -> Outcome {
        let [compared, nonzero] = [self.compared, self.nonzero].map(grouped);
        if self.nonzero * 10 < self.compared || self.compared == 0 {
            return Err(format!("only {nonzero} of {compared} derivatives are not zero").into());
        }
        Ok(format!("{compared} derivatives, worst at {:.3} of the tolerance", self.worst))
    }
}
