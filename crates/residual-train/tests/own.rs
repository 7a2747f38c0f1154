//! Networks and samples of one's own: they are trained, stopped and resumed like those of this project.

use std::sync::atomic::{AtomicBool, Ordering};

use residual_data::{Arrays, DataError, Samples};
use residual_nn::{
    Builder, Child, Conv2d, Conv2dConfig, Conv2dGeometry, GlobalAvgPool, Linear, Module, Node,
};
use residual_tensor::{Generator, Tensor};
use residual_train::{
    Checkpoint, CrossEntropy, FitConfig, MeanSquaredError, Objective, Observer, Outcome, RunFolder, Span,
    Step, TrainError, Trainable, Trainer,
};

/// Five channels in, one convolution, whatever is asked for out.
struct Own {
    look: Child<Conv2d<f32>>,
    judge: Child<Linear<f32>>,
}

impl Own {
    fn new(outputs: usize) -> Self {
        let mut generator = Generator::new(1);
        let config = Conv2dConfig::new(5, 8, Conv2dGeometry::new(3, 3).padding(1)).bias();
        Self {
            look: Child::new("look", Conv2d::new(&config, &mut generator).unwrap()),
            judge: Child::new("judge", Linear::new(8, outputs, &mut generator).unwrap()),
        }
    }
}

impl Module<f32> for Own {
    fn build(&self, b: &Builder<f32>, x: Node) -> Node {
        let x = b.relu(b.call(&self.look, x));
        b.call(&self.judge, b.apply(GlobalAvgPool::default(), &[x]))
    }
}

impl Trainable<f32> for Own {
    fn module(&self) -> &dyn Module<f32> {
        self
    }
    fn head(&self) -> &str {
        "judge"
    }
}

/// Noise whose mean in one of its channels says which class it is of.
fn inputs(count: usize) -> (Tensor<f32>, Vec<usize>) {
    let mut generator = Generator::new(2);
    let labels: Vec<usize> = (0..count).map(|n| n % 3).collect();
    let mut values = generator.normal_tensor::<f32>([count, 5, 6, 7], 1.0);
    for (sample, &label) in values.as_mut_slice().chunks_exact_mut(5 * 42).zip(&labels) {
        sample[label * 42..(label + 1) * 42].iter_mut().for_each(|value| *value += 1.0);
    }
    (values, labels)
}

fn classes() -> Arrays<usize> {
    let (values, labels) = inputs(90);
    Arrays::new("channels", values, labels).unwrap()
}

fn config(epochs: f64) -> FitConfig {
    FitConfig { length: Span::Epochs(epochs), batch: 15, ..FitConfig::default() }
}

fn trained<S: Samples + Clone>(
    outputs: usize,
    samples: S,
    objective: impl Objective<f32, S::Target> + 'static,
) -> Trainer<f32, Own, S, FitConfig> {
    let mut trainer =
        Trainer::of(Own::new(outputs), samples.clone(), samples, objective, config(8.0)).unwrap();
    assert_eq!(trainer.fit(None, &mut (), &false.into()).unwrap(), Outcome::Finished);
    trainer
}

#[test]
fn a_network_of_ones_own_learns_classes_of_arrays() {
    let trainer = trained(3, classes(), CrossEntropy { label_smoothing: 0.1, ..CrossEntropy::default() });
    let best = trainer.checkpoint().training.best().unwrap();
    assert!(best.val_accuracy > 0.95, "{best:?}");
}

#[test]
fn and_numbers() {
    let (values, labels) = inputs(90);
    let targets: Vec<[f32; 2]> = labels.iter().map(|&label| [label as f32, 1.0]).collect();
    let trainer = trained(2, Arrays::new("numbers", values, targets).unwrap(), MeanSquaredError);
    let history = &trainer.checkpoint().training.history;
    // Their variance is 2/3 and 0.
    assert!(history.last().unwrap().val_loss < 0.2, "{history:?}");
    assert_eq!(trainer.checkpoint().training.best().unwrap().val_accuracy, 0.0);
}

/// Raises the flag after some steps.
struct StopAfter<'a>(usize, &'a AtomicBool);

impl Observer for StopAfter<'_> {
    fn step(&mut self, _: &Step) {
        self.0 -= 1;
        self.1.store(self.0 == 0, Ordering::Relaxed);
    }
}

fn states(net: &Own) -> Vec<(String, Vec<u32>)> {
    let bits = |value: Tensor<f32>| value.as_slice().iter().map(|x| x.to_bits()).collect();
    net.states().into_iter().map(|(path, state)| (path, bits(state.value().clone()))).collect()
}

#[test]
fn it_goes_on_bit_for_bit() {
    let whole = trained(3, classes(), CrossEntropy::default());
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(place.path()).unwrap();
    let flag = AtomicBool::new(false);
    let mut begun =
        Trainer::of(Own::new(3), classes(), classes(), CrossEntropy::default(), config(8.0)).unwrap();
    assert_eq!(begun.fit(Some(&folder), &mut StopAfter(20, &flag), &flag).unwrap(), Outcome::Stopped);

    let kept = Checkpoint::<f32, Own, FitConfig>::restore(folder.last(), Own::new(3)).unwrap();
    let mut resumed = Trainer::going_on(kept, classes(), classes(), CrossEntropy::default()).unwrap();
    assert_eq!(resumed.fit(Some(&folder), &mut (), &false.into()).unwrap(), Outcome::Finished);
    assert_eq!(states(&resumed.checkpoint().model), states(&whole.checkpoint().model));

    let other =
        Checkpoint::<f32, Own, FitConfig>::restore(folder.last(), Own::new(4)).err().unwrap().to_string();
    assert!(other.contains("last.safetensors") && other.contains("judge.weight"), "{other}");
}

#[test]
fn a_part_of_it_can_be_frozen() {
    let net = Own::new(3);
    net.freeze_until("judge").unwrap();
    let before = states(&net);
    let mut trainer = Trainer::of(net, classes(), classes(), CrossEntropy::default(), config(1.0)).unwrap();
    trainer.fit(None, &mut (), &false.into()).unwrap();
    let after = states(&trainer.checkpoint().model);
    for ((path, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before == after, path.starts_with("look"), "{path}");
    }
    let message = Trainable::freeze_until(&Own::new(3), "layer4").unwrap_err().to_string();
    assert_eq!(message, "the network has no part 'layer4'; its parts are look, judge");
}

/// Samples one of which cannot be read.
#[derive(Clone)]
struct Broken(Arrays<usize>);

impl Samples for Broken {
    type Target = usize;
    fn name(&self) -> &str {
        "broken"
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn shape(&self) -> [usize; 3] {
        self.0.shape()
    }
    fn write(&self, index: usize, draws: &mut Generator, input: &mut [f32]) -> residual_data::Result<usize> {
        if index == 77 {
            return Err(DataError::Sample { index, name: self.name().into(), source: "a bad sector".into() });
        }
        self.0.write(index, draws, input)
    }
}

#[test]
fn a_sample_that_cannot_be_read_does_not_lose_what_was_learnt() {
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(place.path()).unwrap();
    let samples = Broken(classes());
    let mut trainer =
        Trainer::of(Own::new(3), samples.clone(), samples, CrossEntropy::default(), config(1.0)).unwrap();
    let error = trainer.fit(Some(&folder), &mut (), &false.into()).unwrap_err();
    assert_eq!(error.to_string(), "sample 77 of broken: a bad sector");
    let kept = Checkpoint::<f32, Own, FitConfig>::restore(folder.last(), Own::new(3)).unwrap();
    assert_eq!(kept.training.position, trainer.checkpoint().training.position);
}

#[test]
fn samples_that_do_not_fit_are_refused_at_once() {
    let three = Arrays::new("three", Tensor::<f32>::zeros([9, 3, 6, 6]), vec![0; 9]).unwrap();
    let error =
        Trainer::of(Own::new(3), three.clone(), three, CrossEntropy::default(), config(1.0)).err().unwrap();
    assert!(matches!(error, TrainError::Layer(_)) && error.to_string().contains("look"), "{error}");
}
