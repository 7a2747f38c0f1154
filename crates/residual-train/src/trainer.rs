//! The training loop: batches in, steps made, epochs validated, checkpoints written. What a step,
//! a rate or a score is, is decided in other files.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use residual_autograd::Tape;
use residual_data::{Batch, Corrupt, DataSpec, Dataset, Loader, LoaderConfig, Preprocess, Split};
use residual_model::Model;
use residual_nn::{Mode, Module, State};
use residual_tensor::{Float, Generator, Shape};
use residual_zoo::ZooError;

use crate::{
    Checkpoint, EpochRecord, Evaluation, Loaded, Observer, Position, Result, RunFolder, RunLength, Sgd,
    SgdRule, Start, Step, Tally, TrainConfig, TrainError, Training,
    evaluate::{FirstFew, evaluate, in_precision, layer_by_layer},
    pace::Pace,
};

/// The pictures that a run uses.
#[derive(Clone)]
pub struct Data {
    /// Those that the network learns from.
    pub train: Arc<dyn Dataset>,
    /// Those that decide which epoch is best.
    pub val: Arc<dyn Dataset>,
}

impl Data {
    /// Opens the two splits of a data set.
    ///
    /// # Errors
    /// What is wrong with the data set.
    pub fn open(spec: &DataSpec, corrupt: Corrupt) -> Result<Self> {
        Ok(Self { train: spec.open(Split::Train, corrupt)?, val: spec.open(Split::Val, corrupt)? })
    }
}

/// How a call of [`Trainer::fit`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The run is complete.
    Finished,
    /// The stop flag was raised. The run can go on from here, or from its last checkpoint.
    Stopped,
}

/// Trains a network as a [`TrainConfig`] says.
///
/// All that it changes is a [`Checkpoint`]: a run that is stopped anywhere, saved and resumed ends
/// with the same bits as one that was not.
///
/// ```
/// use residual_train::{Data, Outcome, TrainConfig, Trainer, Span};
///
/// let config = TrainConfig {
///     data: "faces:28".parse()?,
///     batch: 14,
///     input: Some([12, 12]),
///     length: Span::Epochs(1.0),
///     ..TrainConfig::default()
/// };
/// let data = Data::open(&config.data, config.corrupt)?;
/// let mut trainer = Trainer::<f32>::new(config, data)?;
/// let outcome = trainer.fit(None, &mut (), &false.into())?;
/// assert_eq!((outcome, trainer.checkpoint().training.history.len()), (Outcome::Finished, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer<T: Float> {
    state: Checkpoint<T>,
    loaded: Option<Loaded>,
    length: RunLength,
    train: Loader,
    val: Loader,
    pace: Pace,
}

/// Of pictures that have to be decoded, so many are looked at for mean and deviation.
const MEASURED_PICTURES: usize = 4096;

impl<T: Float> Trainer<T> {
    /// A new run.
    ///
    /// # Errors
    /// If the configuration, the network and the data do not fit each other.
    pub fn new(config: TrainConfig, data: Data) -> Result<Self> {
        config.check()?;
        let classes = data.train.classes().to_vec();
        let input = config.input_shape(&config.model.config()?, &*data.train);
        let network = config.network(classes.len(), input.channels)?;
        let net = network.build(&mut Generator::new(config.seed).split("init"))?;
        // What does not fit is better said before minutes have been spent.
        let shape = Shape::new([config.batch, input.channels, input.height, input.width])
            .map_err(residual_nn::Error::from)?;
        net.trace(&shape).map_err(ZooError::from)?;
        let loaded = config.init.as_ref().map(|init| init.load(&net)).transpose()?;
        if let Some(stage) = &config.freeze_until {
            net.freeze_until(stage)?;
            let is_new = |path: &str| loaded.as_ref().is_none_or(|loaded| !loaded.has(path));
            let mut frozen = net.parameters().into_iter().filter(|(_, state)| !state.is_trained());
            if let Some((path, _)) = frozen.find(|(path, _)| is_new(path)) {
                return Err(TrainError::FrozenNew { stage: stage.clone(), path });
            }
        }
        let measured = if data.train.is_in_memory() { data.train.len() } else { MEASURED_PICTURES };
        let preprocess = Preprocess::new(input).fit(&*data.train, config.standardise, measured)?;
        let optimizer = Sgd::new(config.optimizer.rule()).decay_on(config.optimizer.decay_on);
        let training =
            Training { config, position: Position::default(), tally: Tally::default(), history: Vec::new() };
        let checkpoint = Checkpoint { model: Model { net, classes, preprocess }, optimizer, training };
        Ok(Self { loaded, ..Self::assemble(checkpoint, data)? })
    }

    /// A run that goes on from a checkpoint. The configuration may differ from the checkpoint's in
    /// everything but the network; to end with the same bits, it must not.
    ///
    /// # Errors
    /// [`TrainError::Resume`] if the checkpoint belongs to another network, other classes or
    /// another number of batches.
    pub fn resume(config: TrainConfig, data: Data, mut checkpoint: Checkpoint<T>) -> Result<Self> {
        config.check()?;
        let classes = data.train.classes();
        let channels = checkpoint.model.preprocess.input.channels;
        let [held, wanted] = [checkpoint.model.net.config(), &config.network(classes.len(), channels)?];
        let differ = |checkpoint: String, run: String| Err(TrainError::Resume { checkpoint, run });
        if (&held.name, held.classes) != (&wanted.name, wanted.classes) {
            let named = |name: &str, classes: usize| format!("{name} with {classes} classes");
            return differ(named(&held.name, held.classes), named(&wanted.name, wanted.classes));
        }
        if held != wanted {
            return differ(format!("another network called {}", held.name), "one by the same name".into());
        }
        if checkpoint.model.classes != classes {
            let listed = |classes: &[String]| format!("the classes {}", FirstFew(classes));
            return differ(listed(&checkpoint.model.classes), listed(classes));
        }
        checkpoint.optimizer.decay_on = config.optimizer.decay_on;
        checkpoint.training.config = config;
        Self::assemble(checkpoint, data)
    }

    fn assemble(mut state: Checkpoint<T>, data: Data) -> Result<Self> {
        let config = &state.training.config;
        if let Some(stage) = &config.freeze_until {
            state.model.net.freeze_until(stage)?;
        }
        let batches = LoaderConfig::train(config.batch, config.augment, config.seed);
        let train = Loader::new(data.train, state.model.preprocess.clone(), batches)?;
        let val = Loader::new(data.val, state.model.preprocess.clone(), LoaderConfig::eval(config.batch))?;
        let per_epoch = train.batches() as u64;
        let length = RunLength { per_epoch, iterations: config.length.iterations(per_epoch) };
        let position = &mut state.training.position;
        let begun = position.iterations() > 0;
        if begun && (position.batches_per_epoch != per_epoch || position.batch > per_epoch) {
            let batches = |n: u64| format!("{n} batches per epoch");
            let (checkpoint, run) = (batches(position.batches_per_epoch), batches(per_epoch));
            return Err(TrainError::Resume { checkpoint, run });
        }
        position.batches_per_epoch = per_epoch;
        let pace = Pace::default();
        Ok(Self { state, loaded: None, length, train, val, pace })
    }

    /// The network with all that is needed to use it and to train it further.
    pub fn checkpoint(&self) -> &Checkpoint<T> {
        &self.state
    }

    /// The length of the run.
    pub fn length(&self) -> RunLength {
        self.length
    }

    /// Trains until the run is complete or `stop` is raised, which is looked at before each step.
    /// With a folder, writes configuration, metrics and checkpoints to it.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if the loss becomes infinite or no number; what reading pictures
    /// or writing files reports.
    pub fn fit(
        &mut self,
        folder: Option<&RunFolder>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Outcome> {
        if let Some(folder) = folder {
            folder.write_config(&self.state.training.config)?;
        }
        self.announce(observer);
        // An epoch that was cut short by the end of a run, which is longer now, is not complete.
        let training = &mut self.state.training;
        if training.position.iterations() < self.length.iterations {
            training.history.truncate(training.position.epoch as usize);
        }
        while (self.state.training.history.len() as u64) < self.length.epochs() {
            let Some(record) = self.epoch(folder, observer, stop)? else {
                self.save(folder, false, observer)?;
                return Ok(Outcome::Stopped);
            };
            let is_best = self.state.training.best().is_none_or(|best| record.is_better_than(best));
            observer.epoch(&record, is_best);
            self.close_epoch(record);
            self.save(folder, is_best, observer)?;
        }
        Ok(Outcome::Finished)
    }

    /// The pictures that decide which epoch is best, as the network sees them.
    pub fn validation(&self) -> &Loader {
        &self.val
    }

    fn announce(&self, observer: &mut dyn Observer) {
        let [train, val] = [self.train.dataset(), self.val.dataset()];
        let skipped: Vec<PathBuf> = train.skipped().iter().chain(val.skipped()).cloned().collect();
        let trained = self.state.model.net.parameters().into_iter().filter(|(_, state)| state.is_trained());
        observer.start(&Start {
            model: &self.state.model.net.config().name,
            parameters: self.state.model.net.parameter_count(),
            trained: trained.map(|(_, state)| state.shape().elements()).sum(),
            loaded: self.loaded.as_ref(),
            data: [train.name(), val.name()],
            pictures: [train.len(), val.len()],
            classes: &self.state.model.classes,
            input: self.state.model.preprocess.input,
            run: self.length,
            iterations_done: self.state.training.position.iterations(),
            skipped: &skipped,
        });
    }

    /// The rest of an epoch with its validation, or nothing if it was stopped.
    fn epoch(
        &mut self,
        folder: Option<&RunFolder>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<EpochRecord>> {
        let started = Instant::now();
        let Position { epoch, batch: first, .. } = self.state.training.position;
        let steps = self.length.iterations_of(epoch);
        let batches = self.train.epoch_from(epoch, first as usize)?;
        let mut batches = batches.take(steps.saturating_sub(first) as usize);
        let mut images = 0;
        let mut waited = Duration::ZERO;
        self.pace.resume();
        loop {
            let asked = Instant::now();
            let Some(batch) = batches.next() else { break };
            waited += asked.elapsed();
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let batch = batch?;
            let in_batch = batch.labels.len();
            self.step(batch, folder)?;
            self.pace.add(in_batch);
            images += in_batch;
            let Training { tally, position, .. } = &self.state.training;
            observer.step(&Step {
                epoch: epoch + 1,
                step: position.batch,
                steps,
                loss: tally.loss(),
                accuracy: tally.accuracy(),
                learning_rate: self.learning_rate(position.iterations() - 1),
                images_per_second: self.pace.images_per_second(),
                seconds_left: self.pace.seconds_for(self.length.iterations - position.iterations()),
            });
        }
        let training_seconds = started.elapsed().as_secs_f64();
        let Some(evaluation) = self.validate(observer, stop)? else { return Ok(None) };
        if !evaluation.loss.is_finite() {
            return Err(self.diverged(format!("the validation loss is {}", evaluation.loss), folder));
        }
        let Training { tally, position, .. } = &self.state.training;
        Ok(Some(EpochRecord {
            epoch: epoch + 1,
            iteration: position.iterations(),
            learning_rate: self.learning_rate(position.iterations().saturating_sub(1)),
            train_loss: tally.loss(),
            train_accuracy: tally.accuracy(),
            val_loss: evaluation.loss,
            val_accuracy: evaluation.accuracy,
            val_top5_accuracy: evaluation.top5_accuracy,
            seconds: started.elapsed().as_secs_f64(),
            images_per_second: images as f64 / training_seconds,
            data_wait: waited.as_secs_f64() / training_seconds,
        }))
    }

    /// The learning rate of an iteration, counted from 0.
    fn learning_rate(&self, iteration: u64) -> f64 {
        let config = &self.state.training.config;
        config.optimizer.learning_rate * config.schedule.factor(iteration, &self.length)
    }

    fn step(&mut self, batch: Batch, folder: Option<&RunFolder>) -> Result<()> {
        let learning_rate = self.learning_rate(self.state.training.position.iterations());
        let Checkpoint { model: Model { net, .. }, optimizer, training } = &mut self.state;
        let gradients = {
            let checkpointing = training.config.checkpoint_gradients;
            let tape = if checkpointing { Tape::checkpointing() } else { Tape::new() };
            let logits = net.forward(&tape.input(in_precision(batch.images)), Mode::Train)?;
            let loss = logits.cross_entropy(&batch.labels, training.config.label_smoothing)?;
            let value = loss.value().as_slice()[0].to_f64();
            if !value.is_finite() {
                return Err(self.diverged(format!("the loss is {value}"), folder));
            }
            training.tally.add(logits.value(), &batch.labels, value);
            loss.backward()?
        }; // The tape is gone: parameters change in place.
        optimizer.rule = SgdRule { learning_rate, ..training.config.optimizer.rule() };
        optimizer.step(net, &gradients)?;
        training.position.batch += 1;
        Ok(())
    }

    /// The error for numbers that are infinite or none.
    fn diverged(&self, what: String, folder: Option<&RunFolder>) -> TrainError {
        let kept = match folder.map(RunFolder::last).filter(|last| last.exists()) {
            Some(last) => format!("The last good state is in {}", last.display()),
            None => "Nothing had been saved yet".to_owned(),
        };
        let position = self.state.training.position;
        let (iteration, epoch) = (position.iterations(), position.epoch + 1);
        TrainError::Diverged { what, iteration, epoch, learning_rate: self.learning_rate(iteration), kept }
    }

    /// The scores of the network now, or nothing if it was stopped.
    fn validate(&self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Option<Evaluation>> {
        let images = self.val.dataset().len();
        let mut stopped = false;
        let evaluation = evaluate(layer_by_layer(&self.state.model.net), &self.val, |done| {
            observer.validation(done, images);
            stopped = stop.load(Ordering::Relaxed) && done < images;
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((!stopped).then_some(evaluation))
    }

    /// Notes an epoch that has ended and moves on to the next. An epoch that the end of the run
    /// cuts short stays open: the run may be made longer.
    fn close_epoch(&mut self, record: EpochRecord) {
        let Training { history, position, tally, .. } = &mut self.state.training;
        history.push(record);
        if position.batch == self.length.per_epoch {
            *position = Position { epoch: position.epoch + 1, batch: 0, ..*position };
            *tally = Tally::default();
        }
    }

    /// Writes what a run leaves behind. A network that is broken does not replace one that is not.
    fn save(&self, folder: Option<&RunFolder>, is_best: bool, observer: &mut dyn Observer) -> Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        let broken = |(_, state): &(_, State<T>)| !state.value().as_slice().iter().all(|x| x.is_finite());
        if let Some((path, _)) = self.state.model.net.states().into_iter().find(broken) {
            return Err(self.diverged(format!("{path} is no longer finite"), Some(folder)));
        }
        folder.write_metrics(&self.state.training.history)?;
        let best = is_best.then(|| folder.best());
        for path in best.into_iter().chain([folder.last()]) {
            self.state.save(&path)?;
            observer.checkpoint(&path);
        }
        Ok(())
    }
}
