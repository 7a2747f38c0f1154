//! Same seed, same bits: training with one thread, with two, again, and interrupted.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rayon::ThreadPoolBuilder;
use residual_data::{Dataset, ImageShape, InMemory};
use residual_model::ModelSpec;
use residual_nn::Module;
use residual_tensor::{Float, Generator};
use residual_train::{
    Averaging, Checkpoint, Data, Mix, Observer, RunFolder, Span, Step, TrainConfig, Trainer,
};
use residual_zoo::NetworkConfig;

use super::{Difference, Failure, Outcome, Settings, recorder::Recorder};

pub(super) fn run(_settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for (name, description) in NETWORKS {
        recorder.check(format!("{name} f32 threads"), || threads::<f32>(description));
    }
    recorder.check("basic f64 threads", || threads::<f64>(NETWORKS[0].1));
    recorder.check("resume f32", || resume::<f32>(NETWORKS[0].1));
    recorder.check("resume f64", || resume::<f64>(NETWORKS[0].1));
    Ok(())
}

/// Networks that between them run every kernel that training has.
const NETWORKS: &[(&str, &str)] = &[
    ("basic", "stem = 'cifar'\nblock = 'basic'\ndepths = [1, 1, 1]\nwidths = [16, 32, 64]\nshortcut = 'A'"),
    (
        "grouped bottleneck",
        "stem = 'imagenet'\nblock = 'bottleneck'\ndepths = [1, 1]\nwidths = [64, 128]\ngroups = 4\nwidth_per_group = 16",
    ),
    (
        "pre-activated",
        "stem = 'cifar'\nblock = 'bottleneck'\ndepths = [1, 1]\nwidths = [16, 32]\norder = 'pre'",
    ),
    (
        "squeeze-and-excitation, anti-aliased",
        "stem = 'deep'\nblock = 'basic'\ndepths = [1, 1]\nwidths = [64, 128]\nshortcut = 'D'\nplugins = ['squeeze_excite', 'blur_pool']",
    ),
    ("pooled", "stem = 'whitening'\nblock = 'pooled'\ndepths = [1, 1]\nwidths = [16, 32]"),
    ("ConvNeXt", "architecture = 'convnext'\ndepths = [1, 1, 1]\nwidths = [16, 32, 32]"),
];

/// Two epochs of a few steps, with everything that draws random numbers.
fn config(description: &str) -> Result<TrainConfig, Failure> {
    let network = NetworkConfig::from_toml(&format!("name = 'small'\n{description}"))?;
    Ok(TrainConfig {
        model: ModelSpec::Described(network),
        batch: 16,
        length: Span::Iterations(8),
        label_smoothing: 0.1,
        micro_batch: Some(10),
        mix: Mix { mixup: 0.2, cutmix: 1.0, probability: 0.8 },
        average: Some(Averaging::Ema { decay: 0.9, every: 1, warm_up: true }),
        exact_statistics: 32,
        ..TrainConfig::default()
    })
}

/// Noise: what the pictures show makes no difference here.
fn data() -> Result<Data, Failure> {
    let noise = |name: &str, pictures: usize| -> Result<Arc<dyn Dataset>, Failure> {
        let mut generator = Generator::new(0).split(name);
        let shape = ImageShape::new(3, 24, 24);
        let pixels = (0..pictures * shape.elements()).map(|_| generator.below(256) as u8).collect();
        let labels = (0..pictures).map(|_| generator.below(3) as u8).collect();
        Ok(Arc::new(InMemory::new(name, &["a", "b", "c"], shape, pixels, labels)?))
    };
    Ok(Data { train: noise("train", 80)?, val: noise("val", 16)? })
}

fn trainer<T: Float>(config: &TrainConfig) -> Result<Trainer<T>, Failure> {
    Ok(Trainer::new(config.clone(), data()?)?)
}

/// Everything that a run changes, as bits.
fn bits<T: Float>(checkpoint: &Checkpoint<T>) -> Vec<(String, Vec<u64>)> {
    let bits = |values: Vec<T>| values.into_iter().map(|value| value.to_f64().to_bits()).collect();
    let states =
        checkpoint.model.net.states().into_iter().map(|(path, state)| (path, bits(state.value().to_vec())));
    let collected = checkpoint.optimizer.tensors().into_iter();
    states.chain(collected.map(|(name, tensor)| (name, bits(tensor.to_vec())))).collect()
}

/// Trains in a pool of so many threads.
fn train<T: Float>(config: &TrainConfig, threads: usize) -> Result<Vec<(String, Vec<u64>)>, Failure> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| {
        let mut trainer = trainer::<T>(config)?;
        trainer.fit(None, &mut (), &AtomicBool::new(false))?;
        Ok(bits(trainer.checkpoint()))
    })
}

fn threads<T: Float>(description: &str) -> Outcome {
    let config = config(description)?;
    let expected = train::<T>(&config, 1)?;
    for threads in [1, 2, 2, 3] {
        same(&format!("{threads} threads"), &expected, &train::<T>(&config, threads)?)?;
    }
    // Equal bits prove something only where other runs have others.
    let other = train::<T>(&TrainConfig { seed: config.seed + 1, ..config.clone() }, 1)?;
    if other == expected {
        return Err("another seed gives the same bits".into());
    }
    Ok(format!("{} after 1, 2 and 3 threads, twice: same bits", config.length))
}

fn same(what: &str, expected: &[(String, Vec<u64>)], found: &[(String, Vec<u64>)]) -> Result<(), Failure> {
    if expected.len() != found.len() {
        let lengths = format!("{what}: {} tensors, expected {}", found.len(), expected.len());
        return Err(Difference::found(lengths));
    }
    for ((path, expected), (other, found)) in expected.iter().zip(found) {
        if path != other || expected != found {
            let differ = expected.iter().zip(found).filter(|(a, b)| a != b).count();
            let numbers = expected.len();
            return Err(Difference::found(format!(
                "{what}: {path} differs in {differ} of {numbers} numbers"
            )));
        }
    }
    Ok(())
}

/// Raises the flag after so many steps.
struct StopAfter<'a> {
    steps: usize,
    stop: &'a AtomicBool,
}

impl Observer for StopAfter<'_> {
    fn step(&mut self, _step: &Step) {
        self.steps = self.steps.saturating_sub(1);
        self.stop.store(self.steps == 0, Ordering::Relaxed);
    }
}

/// Stopped in the middle of an epoch and at its end, saved, opened again and continued.
fn resume<T: Float>(description: &str) -> Outcome {
    let config = config(description)?;
    let expected = train::<T>(&config, 2)?;
    let folder = tempfile::tempdir()?;
    // In the middle of an epoch at an odd and an even place, and where one ends.
    for steps in [1, 5, 7] {
        let last = interrupted::<T>(&config, steps, &folder.path().join(steps.to_string()))?;
        let mut trainer = Trainer::resume(config.clone(), data()?, Checkpoint::<T>::open(last)?)?;
        trainer.fit(None, &mut (), &AtomicBool::new(false))?;
        same(&format!("stopped after {steps} steps"), &expected, &bits(trainer.checkpoint()))?;
    }
    Ok(format!("stopped after 1, 5 or 7 of {}: same bits", config.length))
}

/// Trains for some steps into a folder. Gives the checkpoint that was left there.
fn interrupted<T: Float>(config: &TrainConfig, steps: usize, folder: &Path) -> Result<PathBuf, Failure> {
    let folder = RunFolder::create(folder)?;
    let stop = AtomicBool::new(false);
    trainer::<T>(config)?.fit(Some(&folder), &mut StopAfter { steps, stop: &stop }, &stop)?;
    Ok(folder.last())
}
