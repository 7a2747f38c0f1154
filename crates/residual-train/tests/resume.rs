//! A run that is stopped anywhere and resumed ends with the same bits as one that was not, for
//! any number of threads.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use residual_model::ModelSpec;
use residual_nn::{BlockKind, Module};
use residual_train::{
    Averaging, Checkpoint, Data, Decay, EpochRecord, Mix, Observer, OptimizerConfig, OptimizerKind, Outcome,
    RunFolder, Schedule, Span, Step, TrainConfig, TrainError, Trainer,
};
use residual_zoo::{NetworkConfig, Stem};

/// A network, data and schedule in which every part of a checkpoint matters.
fn config() -> TrainConfig {
    let mut model = NetworkConfig::named("cifar_resnet8").unwrap();
    model.name = "tiny".to_owned();
    (model.depths, model.widths) = (vec![1, 1], vec![4, 8]);
    assert_eq!((model.stem, model.block), (Stem::Cifar, BlockKind::Basic));
    TrainConfig {
        model: ModelSpec::Described(model),
        data: "faces:train=70,val=21,test=0,seed=0".parse().unwrap(),
        length: Span::Epochs(3.0),
        batch: 16, // 4 batches, and 6 pictures that each epoch leaves out
        input: Some([16, 16]),
        seed: 5,
        drop_path_rate: Some(0.3),
        schedule: Schedule::new(Decay::Cosine { floor: 0.0 }).warm_up(Span::Epochs(1.0)),
        ..TrainConfig::default()
    }
}

fn data(config: &TrainConfig) -> Data {
    Data::open(&config.data, config.corrupt).unwrap()
}

/// Raises the stop flag after a number of steps, or while an epoch's end is validated.
struct StopAfter {
    steps: usize,
    in_validation: bool,
    flag: Arc<AtomicBool>,
}

impl Observer for StopAfter {
    fn step(&mut self, _: &Step) {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 && !self.in_validation {
            self.flag.store(true, Ordering::Relaxed);
        }
    }

    fn validation(&mut self, _: usize, _: usize) {
        if self.steps == 0 {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs from the start, or from the folder's last checkpoint, until stopped or finished.
fn run(folder: &Path, resume: bool, stop_after: Option<(usize, bool)>) -> Outcome {
    run_of(config(), folder, resume, stop_after)
}

fn run_of(config: TrainConfig, folder: &Path, resume: bool, stop_after: Option<(usize, bool)>) -> Outcome {
    let folder = RunFolder::open(folder);
    let data = data(&config);
    let mut trainer = match resume {
        true => Trainer::<f32>::resume(config, data, Checkpoint::open(folder.last()).unwrap()).unwrap(),
        false => Trainer::<f32>::new(config, data).unwrap(),
    };
    let flag = Arc::new(AtomicBool::new(false));
    let (steps, in_validation) = stop_after.unwrap_or((usize::MAX, false));
    let mut observer = StopAfter { steps, in_validation, flag: flag.clone() };
    trainer.fit(Some(&folder), &mut observer, &flag).unwrap()
}

/// Everything in a checkpoint that is not a time.
struct Contents {
    /// States of the network and of the optimizer, in bits.
    tensors: Vec<(String, Vec<u32>)>,
    history: Vec<EpochRecord>,
    rest: String,
}

fn contents(path: impl AsRef<Path>) -> Contents {
    let checkpoint = Checkpoint::<f32>::open(path).unwrap();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let states =
        checkpoint.model.net.states().into_iter().map(|(path, state)| (path, bits(state.value().to_vec())));
    let velocity = checkpoint.optimizer.tensors().into_iter();
    let velocity = velocity.map(|(name, tensor)| (name, bits(tensor.to_vec()))).collect::<Vec<_>>();
    let mut training = checkpoint.training;
    for record in &mut training.history {
        (record.seconds, record.images_per_second, record.data_wait) = (0.0, 0.0, 0.0);
    }
    let rest = format!("{:?} {:?} {:?}", training.position, training.tally, checkpoint.model.preprocess);
    Contents { tensors: states.chain(velocity).collect(), history: training.history, rest }
}

/// Names what differs, instead of printing thousands of numbers.
#[track_caller]
fn assert_same(found: &Contents, expected: &Contents, what: &str) {
    assert_eq!(found.tensors.len(), expected.tensors.len(), "{what}");
    let pairs = found.tensors.iter().zip(&expected.tensors);
    let differing: Vec<&str> = pairs.filter(|(a, b)| a != b).map(|((name, _), _)| name.as_str()).collect();
    assert!(differing.is_empty(), "{what}: {} tensors differ, such as {}", differing.len(), differing[0]);
    assert_eq!(found.history, expected.history, "{what}");
    assert_eq!(found.rest, expected.rest, "{what}");
}

fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    std::fs::create_dir(&whole).unwrap();
    assert_eq!(with_threads(1, || run(&whole, false, None)), Outcome::Finished);
    let expected = contents(RunFolder::open(&whole).last());
    assert_eq!(expected.history.len(), 3);
    let best = contents(RunFolder::open(&whole).best());

    // In the middle of an epoch, at its end, while it is validated, and before the first one ends.
    for (number, (first, threads)) in
        [((6, false), [2, 1]), ((8, false), [1, 2]), ((4, true), [2, 2]), ((1, false), [1, 1])]
            .into_iter()
            .enumerate()
    {
        let parts = folder.path().join(number.to_string());
        std::fs::create_dir(&parts).unwrap();
        assert_eq!(with_threads(threads[0], || run(&parts, false, Some(first))), Outcome::Stopped);
        assert!(contents(RunFolder::open(&parts).last()).tensors != expected.tensors, "it did stop");
        assert_eq!(with_threads(threads[1], || run(&parts, true, Some((2, false)))), Outcome::Stopped);
        assert_eq!(with_threads(threads[1], || run(&parts, true, None)), Outcome::Finished);
        let what = format!("stopped after {first:?}, threads {threads:?}");
        assert_same(&contents(RunFolder::open(&parts).last()), &expected, &what);
        assert_same(&contents(RunFolder::open(&parts).best()), &best, &what);
        let rows = std::fs::read_to_string(RunFolder::open(&parts).metrics()).unwrap();
        assert_eq!(rows.lines().count(), 1 + 3);
    }
}

/// Configurations in which there is more to keep than weights and velocities.
fn elaborate() -> [(&'static str, TrainConfig); 3] {
    let base = config();
    let mut varied = base.augment;
    (varied.alternating_flip, varied.cutout) = (true, 4);
    let lookahead = TrainConfig {
        average: Some(Averaging::Lookahead { decay: 0.9, every: 3 }),
        micro_batch: Some(6), // 6, 6 and 4 of 16
        mix: Mix { mixup: 0.4, cutmix: 1.0, probability: 0.7 },
        augment: varied,
        exact_statistics: 40,
        ..base.clone()
    };
    let ema = Averaging::Ema { decay: 0.8, every: 1, warm_up: true };
    let adamw = TrainConfig {
        optimizer: OptimizerConfig { clip_norm: Some(1.0), ..OptimizerConfig::of(OptimizerKind::Adamw) },
        average: Some(ema),
        schedule: Schedule::new(Decay::one_cycle()),
        ..base.clone()
    };
    let muon = TrainConfig {
        optimizer: OptimizerConfig { bias_rate: 8.0, ..OptimizerConfig::of(OptimizerKind::Muon) },
        average: Some(ema),
        schedule: Schedule::new(Decay::Plateau { factor: 0.5, patience: 0, threshold: 1.0 }),
        ..base
    };
    [("lookahead", lookahead), ("adamw", adamw), ("muon", muon)]
}

#[test]
fn averages_and_moments_are_resumed_with_the_same_bits() {
    let place = tempfile::tempdir().unwrap();
    for (name, config) in elaborate() {
        let [whole, parts] = ["whole", "parts"].map(|part| place.path().join(format!("{name}-{part}")));
        [&whole, &parts].iter().for_each(|folder| fs::create_dir(folder).unwrap());
        assert_eq!(with_threads(1, || run_of(config.clone(), &whole, false, None)), Outcome::Finished);
        let expected = contents(RunFolder::open(&whole).last());
        assert_eq!(
            with_threads(2, || run_of(config.clone(), &parts, false, Some((6, false)))),
            Outcome::Stopped
        );
        assert!(contents(RunFolder::open(&parts).last()).tensors != expected.tensors, "it did stop");
        assert_eq!(
            with_threads(2, || run_of(config.clone(), &parts, true, Some((1, true)))),
            Outcome::Stopped
        );
        assert_eq!(with_threads(1, || run_of(config.clone(), &parts, true, None)), Outcome::Finished);
        assert_same(&contents(RunFolder::open(&parts).last()), &expected, name);
        let files = [&whole, &parts].map(|folder| {
            let weights = residual_weights::load(RunFolder::open(folder).last()).unwrap();
            weights
                .iter()
                .map(|(name, tensor)| (name.to_owned(), tensor.to_float::<f32>().to_vec()))
                .collect::<Vec<_>>()
        });
        let averaged = files[0].iter().filter(|(name, _)| name.starts_with("optimizer.trained.")).count();
        assert_eq!(averaged > 0, config.average.is_some());
        assert!(files[0] == files[1], "{name}: what the steps move differs");
    }
}

#[test]
fn a_run_of_iterations_that_is_made_longer_goes_on_inside_its_last_epoch() {
    let config = TrainConfig { length: Span::Iterations(6), ..config() };
    let schedule = Schedule::new(Decay::Constant);
    let config = TrainConfig { schedule, ..config };
    let finished = |config: &TrainConfig, from: Option<Checkpoint<f32>>| {
        let mut trainer = match from {
            Some(checkpoint) => Trainer::resume(config.clone(), data(config), checkpoint).unwrap(),
            None => Trainer::new(config.clone(), data(config)).unwrap(),
        };
        let folder = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(folder.path()).unwrap();
        assert_eq!(trainer.fit(Some(&folder), &mut (), &false.into()).unwrap(), Outcome::Finished);
        (contents(folder.last()), Checkpoint::open(folder.last()).unwrap())
    };
    let longer = TrainConfig { length: Span::Iterations(8), ..config.clone() };
    let (short, checkpoint) = finished(&config, None);
    assert_eq!(short.history.iter().map(|record| record.iteration).collect::<Vec<_>>(), [4, 6]);
    let (extended, _) = finished(&longer, Some(checkpoint));
    let (at_once, _) = finished(&longer, None);
    assert_same(&extended, &at_once, "extended");
}

#[test]
fn gradient_checkpointing_does_not_change_a_bit() {
    let [expected, found] = [false, true].map(|checkpoint_gradients| {
        let config = TrainConfig { checkpoint_gradients, length: Span::Iterations(5), ..config() };
        let folder = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(folder.path()).unwrap();
        let mut trainer = Trainer::<f32>::new(config.clone(), data(&config)).unwrap();
        assert_eq!(trainer.fit(Some(&folder), &mut (), &false.into()).unwrap(), Outcome::Finished);
        contents(folder.last())
    });
    assert_same(&found, &expected, "with gradient checkpointing");
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), false, Some((1, false)));
    let refusal = |config: TrainConfig| {
        let data = data(&config);
        let checkpoint = Checkpoint::open(RunFolder::open(folder.path()).last()).unwrap();
        let error = Trainer::<f32>::resume(config, data, checkpoint).err().expect("a refusal");
        assert!(matches!(error, TrainError::Resume { .. }));
        error.to_string()
    };
    let other = ModelSpec::Named("cifar_resnet20".to_owned());
    assert_eq!(
        refusal(TrainConfig { model: other, ..config() }),
        "cannot resume: the checkpoint has tiny with 7 classes, but this run has cifar_resnet20 with 7 classes; \
         resume with the same model and data"
    );
    let fewer = "faces:train=35,val=21,test=0,seed=0".parse().unwrap();
    assert!(
        refusal(TrainConfig { data: fewer, ..config() })
            .contains("the checkpoint has 4 batches per epoch, but this run has 2 batches per epoch")
    );
    let ModelSpec::Described(mut wider) = config().model else { unreachable!() };
    wider.widths = vec![4, 12];
    assert!(
        refusal(TrainConfig { model: ModelSpec::Described(wider), ..config() })
            .contains("another network called tiny")
    );
}

#[test]
fn what_has_had_its_effect_cannot_change() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), false, Some((1, false)));
    let resumed = |config: TrainConfig| {
        let checkpoint = Checkpoint::open(RunFolder::open(folder.path()).last()).unwrap();
        Trainer::<f32>::resume(config.clone(), data(&config), checkpoint)
    };
    for (config, expected) in [
        (TrainConfig { batch: 35, ..config() }, "batch was 16 when the run began, and cannot become 35"),
        (TrainConfig { seed: 6, ..config() }, "seed was 5"),
        (TrainConfig { input: Some([20, 20]), ..config() }, "input was [16, 16]"),
        (TrainConfig { zero_init: true, ..config() }, "zero_init was false"),
        (
            TrainConfig { optimizer: OptimizerConfig::of(OptimizerKind::Adamw), ..config() },
            "optimizer.kind was \"sgd\"",
        ),
        (
            TrainConfig { average: Some(Averaging::Lookahead { decay: 0.9, every: 5 }), ..config() },
            "average was unset",
        ),
    ] {
        let error = resumed(config).err().expect("a refusal");
        assert!(matches!(error, TrainError::Fixed { .. }) && error.to_string().contains(expected), "{error}");
    }
    let mut slower = config();
    slower.optimizer.learning_rate = 0.01;
    slower.augment.flip = false;
    assert!(resumed(slower).is_ok());
}

/// Whoever looks while a run goes on, or after it was killed, finds whole files about the same epochs.
#[test]
fn files_of_a_run_follow_its_checkpoint() {
    struct Look(RunFolder);
    impl Observer for Look {
        fn checkpoint(&mut self, path: &Path) {
            let folder = &self.0;
            let epochs = fs::read_to_string(folder.metrics()).map_or(0, |table| table.lines().count() - 1);
            if path == folder.last() {
                let held = Checkpoint::<f32>::open(path).unwrap().training.history.len();
                assert_eq!(epochs + 1, held, "the table comes after the checkpoint");
                assert!(folder.config().exists(), "what the run is, is known from its start");
            }
        }
    }
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(place.path()).unwrap();
    let config = config();
    let mut trainer = Trainer::<f32>::new(config.clone(), data(&config)).unwrap();
    trainer.fit(Some(&folder), &mut Look(folder.clone()), &false.into()).unwrap();
    assert_eq!(TrainConfig::open(folder.config()).unwrap(), config);
    assert_eq!(fs::read_to_string(folder.metrics()).unwrap().lines().count(), 4);
    let mut names: Vec<_> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let files =
        [".lock", "best.safetensors", "config.toml", "gradients.csv", "last.safetensors", "metrics.csv"];
    assert_eq!(names, files);

    // A run that goes on adds its epochs to those that are there.
    let weights = trainer.checkpoint().model.net.parameters();
    let weights = weights.iter().filter(|(_, weight)| weight.shape().rank() > 1).count();
    let rows = || {
        fs::read_to_string(folder.gradients()).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let (three, config) = (rows(), TrainConfig { length: Span::Epochs(4.0), ..config });
    assert_eq!(three.len(), 3 * weights);
    let last = Checkpoint::open(folder.last()).unwrap();
    let mut longer = Trainer::<f32>::resume(config.clone(), data(&config), last).unwrap();
    longer.fit(Some(&folder), &mut (), &false.into()).unwrap();
    let four = rows();
    assert_eq!((four.len(), &four[..three.len()]), (4 * weights, &three[..]));
    let lengths: Vec<f64> = longer.gradient_lengths().iter().map(|length| length.length).collect();
    assert!(lengths.iter().all(|length| length.is_finite() && *length > 0.0), "{lengths:?}");
}

#[test]
fn a_run_of_no_steps_is_refused_before_it_begins() {
    for length in [Span::Epochs(0.0), Span::Iterations(0)] {
        let config = TrainConfig { length, ..config() };
        let message = Trainer::<f32>::new(config.clone(), data(&config)).err().unwrap().to_string();
        assert!(message.contains("length must be more than nothing"), "{message}");
    }
    let config = TrainConfig { length: Span::Epochs(0.01), ..config() };
    let message = Trainer::<f32>::new(config.clone(), data(&config)).err().unwrap().to_string();
    assert!(message.contains("with 4 steps an epoch trains nothing"), "{message}");
}

#[test]
fn a_run_that_diverges_says_so_and_keeps_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(folder.path()).unwrap();
    let mut config = TrainConfig { length: Span::Epochs(1.0), ..config() };
    let mut trainer = Trainer::<f32>::new(config.clone(), data(&config)).unwrap();
    assert_eq!(trainer.fit(Some(&folder), &mut (), &false.into()).unwrap(), Outcome::Finished);
    let good = contents(folder.last());

    config.length = Span::Epochs(9.0);
    config.optimizer.learning_rate = 1e6;
    let checkpoint = Checkpoint::open(folder.last()).unwrap();
    let mut trainer = Trainer::<f32>::resume(config.clone(), data(&config), checkpoint).unwrap();
    let error = trainer.fit(Some(&folder), &mut (), &false.into()).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("lower it") && message.contains("last.safetensors"), "{message}");
    assert_same(&contents(folder.last()), &good, "the checkpoint that is kept");
}

#[test]
fn a_run_that_diverges_names_the_layer_where_it_began() {
    let config = config();
    let mut trainer = Trainer::<f32>::new(config.clone(), data(&config)).unwrap();
    let parameters = trainer.checkpoint().model.net.parameters();
    let (_, weight) = parameters.into_iter().find(|(path, _)| path == "layer2.0.conv2.weight").unwrap();
    let mut value = weight.value();
    value.as_mut_slice()[0] = f32::INFINITY;
    weight.set(&value).unwrap();
    let message = trainer.fit(None, &mut (), &false.into()).unwrap_err().to_string();
    assert!(message.contains("first value that is not finite comes from layer2.0.conv2 "), "{message}");
}
