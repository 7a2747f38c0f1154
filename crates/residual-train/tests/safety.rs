//! Nothing is lost when a run is killed or a file cannot be written; when runs end early, and what can be tried before
//! one.

use std::{fs, path::Path, time::Duration};

use residual_model::ModelSpec;
use residual_nn::Module;
use residual_train::{
    Checkpoint, Data, Observer, Outcome, RunFolder, Span, TensorBoard, TrainConfig, Trainer,
};
use residual_zoo::NetworkConfig;

fn config() -> TrainConfig {
    let mut model = NetworkConfig::named("cifar_resnet8").unwrap();
    model.name = "tiny".to_owned();
    (model.depths, model.widths) = (vec![1, 1], vec![8, 16]);
    TrainConfig {
        model: ModelSpec::Described(model),
        data: "faces:train=70,val=21,test=0,seed=0".parse().unwrap(),
        length: Span::Epochs(2.0),
        batch: 16,
        input: Some([16, 16]),
        ..TrainConfig::default()
    }
}

fn trainer(config: TrainConfig) -> Trainer<f32> {
    let data = Data::open(&config.data, config.corrupt).unwrap();
    Trainer::new(config, data).unwrap()
}

fn bits(checkpoint: &Checkpoint<f32>) -> Vec<Vec<u32>> {
    let states = checkpoint.model.net.states().into_iter();
    states.map(|(_, state)| state.value().to_vec().into_iter().map(f32::to_bits).collect()).collect()
}

/// A run that is killed goes on from a checkpoint in the middle of an epoch, with the same bits.
#[test]
fn checkpoints_come_in_the_middle_of_an_epoch() {
    struct Copy<'a>(&'a Path, usize);
    impl Observer for Copy<'_> {
        fn checkpoint(&mut self, path: &Path) {
            self.1 += usize::from(path.ends_with("last.safetensors"));
            if self.1 == 6 {
                fs::copy(path, self.0).unwrap();
            }
        }
    }
    let place = tempfile::tempdir().unwrap();
    let (folder, copy) = (RunFolder::create(place.path().join("run")).unwrap(), place.path().join("copy"));
    let average = residual_train::Averaging::Ema { decay: 0.7, every: 1, warm_up: false };
    let config = TrainConfig { average: Some(average), ..config() };
    let (whole, mut copied) = (trainer(config.clone()), Copy(&copy, 0));
    let mut whole = whole.checkpoint_every(Duration::ZERO);
    whole.fit(Some(&folder), &mut copied, &false.into()).unwrap();
    assert_eq!(copied.1, 4 + 1 + 4 + 1, "one after each step, and one for each epoch");

    let killed = Checkpoint::<f32>::open(&copy).unwrap();
    assert_eq!((killed.training.position.epoch, killed.training.position.batch), (1, 1));
    let data = Data::open(&config.data, config.corrupt).unwrap();
    let mut resumed = Trainer::resume(config, data, killed).unwrap();
    assert_eq!(resumed.fit(None, &mut (), &false.into()).unwrap(), Outcome::Finished);
    assert_eq!(bits(resumed.checkpoint()), bits(whole.checkpoint()));
}

#[test]
fn what_cannot_be_written_is_named_and_the_last_checkpoint_stays() {
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(place.path()).unwrap();
    fs::create_dir(folder.metrics()).unwrap();
    let error = trainer(config()).fit(Some(&folder), &mut (), &false.into()).unwrap_err().to_string();
    assert!(error.contains("metrics.csv") && !error.contains('\n'), "{error}");
    let kept = Checkpoint::<f32>::open(folder.last()).unwrap();
    assert_eq!(kept.training.history.len(), 1);
    let gone = RunFolder::open(place.path().join("gone"));
    let error = trainer(config()).fit(Some(&gone), &mut (), &false.into()).unwrap_err().to_string();
    assert!(error.contains("gone"), "{error}");
}

#[test]
fn a_run_ends_when_nothing_gets_better() {
    let mut config = TrainConfig { length: Span::Epochs(9.0), patience: Some(2), ..config() };
    config.optimizer.learning_rate = 0.0;
    // Statistics would go on learning.
    config.average = Some(residual_train::Averaging::Ema { decay: 1.0, every: 1, warm_up: false });
    let mut trainer = trainer(config);
    // The second time, it goes on from where it ended.
    for _ in 0..2 {
        assert_eq!(trainer.fit(None, &mut (), &false.into()).unwrap(), Outcome::Finished);
        assert_eq!(trainer.checkpoint().training.history.len(), 3);
    }
}

#[test]
fn a_batch_can_be_learnt_by_heart_and_steps_are_timed() {
    let config = TrainConfig { batch: 8, ..config() };
    // What depends on how far a run is, or makes each batch another one, is left aside.
    let lookahead = residual_train::Averaging::Lookahead { decay: 0.95, every: 5 };
    let mix = residual_train::Mix { mixup: 1.0, ..Default::default() };
    let mixed = TrainConfig { average: Some(lookahead), mix, ..config.clone() };
    for config in [config.clone(), mixed] {
        let mut losses = Vec::new();
        let watch = |_, loss, accuracy| {
            losses.push(loss);
            accuracy < 1.0 || loss > 0.3
        };
        trainer(config).overfit(80, watch).unwrap();
        assert!(*losses.last().unwrap() < 0.3 && losses[0] > 1.0, "{losses:?}");
    }

    let rehearsal = trainer(config.clone()).rehearse().unwrap();
    assert!(rehearsal.step_seconds > 0.0 && rehearsal.run_seconds > 16.0 * rehearsal.step_seconds);
    assert!((1.0..4.0).contains(&rehearsal.loss), "{rehearsal:?}");

    let trial = trainer(config).try_rates(|_, _, _| {}).unwrap();
    assert!(trial.rates.len() > 40 && trial.rates.len() == trial.losses.len());
    assert!((1e-7..10.0).contains(&trial.steepest) && trial.rates[0] == 1e-7, "{trial:?}");
}

#[test]
fn samples_are_mixed_within_their_batch_however_it_is_divided() {
    let loss = |mixup: f64| {
        let mix = residual_train::Mix { mixup, ..Default::default() };
        let config = TrainConfig { mix, micro_batch: Some(1), length: Span::Iterations(2), ..config() };
        let mut trainer = trainer(config);
        trainer.fit(None, &mut (), &false.into()).unwrap();
        trainer.checkpoint().training.history[0].train_loss
    };
    assert_ne!(loss(1.0), loss(0.0));
}

#[test]
fn events_are_written_for_steps_and_epochs() {
    let place = tempfile::tempdir().unwrap();
    let mut events = TensorBoard::create(place.path()).unwrap();
    trainer(TrainConfig { length: Span::Epochs(3.0), ..config() })
        .fit(None, &mut (&mut (), &mut events), &false.into())
        .unwrap();
    events.finish().unwrap();
    let bytes = fs::read(events.path()).unwrap();
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        records.push(&bytes[at + 12..at + 12 + length]);
        at += 16 + length;
    }
    // The version, step 10 of 12, and three epochs.
    assert_eq!(records.len(), 1 + 1 + 3);
    let tells = |record: &[u8], tag: &str| record.windows(tag.len()).any(|window| window == tag.as_bytes());
    assert!(tells(records[0], "brain.Event:2"));
    let both = |tag: &str| records.iter().filter(|record| tells(record, tag)).count();
    assert_eq!((both("train/loss"), both("epoch/val_accuracy")), (1, 3));
}
