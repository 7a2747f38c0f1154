//! The training loop: batches in, steps made, epochs validated, checkpoints written. What a step,
//! a rate or a score is, is decided in other files; so is what pictures and networks of
//! `residual-zoo` need beyond others.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use residual_autograd::Tape;
use residual_data::{ImageShape, Loader, LoaderConfig, Pictures, Samples};
use residual_model::Model;
use residual_nn::{Mode, State};
use residual_tensor::{Float, Generator};

use crate::{
    Checkpoint, EpochRecord, FitConfig, GradientLength, Loaded, Objective, Observer, Position, Result,
    RunConfig, RunFolder, RunLength, Start, Step, Tally, TrainConfig, TrainError, Trainable, Training,
    evaluate::in_precision, pace::Pace, slices::are_finite, statistics, step,
};

/// How a call of [`Trainer::fit`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The run is complete.
    Finished,
    /// The stop flag was raised. The run can go on from here, or from its last checkpoint.
    Stopped,
}

/// Trains a network: one of `residual-zoo` on pictures as a [`TrainConfig`] says
/// ([`new`](Self::new)), or [any](Self::of) network on any samples.
///
/// All that it changes is a [`Checkpoint`]: a run that is stopped anywhere, saved and resumed ends
/// with the same bits as one that was not.
///
/// ```
/// use residual_data::Arrays;
/// use residual_nn::{Builder, Child, GlobalAvgPool, Linear, Module, Node};
/// use residual_tensor::Generator;
/// use residual_train::{CrossEntropy, FitConfig, Trainable, Trainer};
///
/// /// Tells inputs apart by the averages of their channels.
/// struct Averages {
///     fc: Child<Linear<f32>>,
/// }
///
/// impl Module<f32> for Averages {
///     fn build(&self, b: &Builder<f32>, x: Node) -> Node {
///         b.call(&self.fc, b.apply(GlobalAvgPool::default(), &[x]))
///     }
/// }
///
/// impl Trainable<f32> for Averages {
///     fn module(&self) -> &dyn Module<f32> {
///         self
///     }
/// }
///
/// let mut generator = Generator::new(0);
/// let inputs = generator.normal_tensor::<f32>([64, 5, 4, 4], 1.0);
/// let samples = Arrays::new("noise", inputs, (0..64).map(|n| n % 2).collect())?;
/// let net = Averages { fc: Child::new("fc", Linear::new(5, 2, &mut generator)?) };
/// let config = FitConfig { batch: 16, ..FitConfig::default() };
/// let mut trainer = Trainer::of(net, samples.clone(), samples, CrossEntropy::default(), config)?;
/// trainer.fit(None, &mut (), &false.into())?;
/// assert_eq!(trainer.checkpoint().training.history.len(), 10);
/// # Ok::<(), residual_train::TrainError>(())
/// ```
pub struct Trainer<T: Float, N = Model<T>, S: Samples = Pictures, C = TrainConfig> {
    pub(crate) state: Checkpoint<T, N, C>,
    pub(crate) fit: FitConfig,
    pub(crate) length: RunLength,
    train: Loader<S>,
    val: Loader<S>,
    pub(crate) objective: Box<dyn Objective<T, S::Target>>,
    /// What samples are mixed by.
    pub(crate) mixing: Generator,
    /// A part of the largest rate that stands for the schedule's, in trials.
    pub(crate) fixed_rate: Option<f64>,
    loaded: Option<Loaded>,
    skipped: Vec<PathBuf>,
    /// Of each epoch that has ended.
    pub(crate) gradient_lengths: Vec<GradientLength>,
    pace: Pace,
    /// How old the last checkpoint may become.
    checkpoint_every: Duration,
    saved: Instant,
}

impl<T: Float, N: Trainable<T>, S: Samples, C: RunConfig> Trainer<T, N, S, C> {
    /// A new run of a network on samples to learn from, and on samples that decide which epoch is best.
    ///
    /// # Errors
    /// If the configuration makes no sense, there are no samples, or the network refuses their shape.
    pub fn of(
        net: N,
        train: S,
        val: S,
        objective: impl Objective<T, S::Target> + 'static,
        config: C,
    ) -> Result<Self> {
        Self::going_on(Checkpoint::new(net, config), train, val, objective)
    }

    /// A run that goes on from a checkpoint, as its configuration says. To end with the same bits as
    /// a run that was not interrupted, samples and configuration must be the same.
    ///
    /// # Errors
    /// As [`of`](Self::of); [`TrainError::Resume`] if the samples make another number of batches.
    pub fn going_on(
        mut state: Checkpoint<T, N, C>,
        train: S,
        val: S,
        objective: impl Objective<T, S::Target> + 'static,
    ) -> Result<Self> {
        let fit = state.training.config.fit();
        fit.check()?;
        for samples in [&train, &val] {
            // What does not fit is better said before minutes have been spent.
            for [channels, height, width] in [samples.shape(), samples.shape_in(0)] {
                let shape = residual_tensor::Shape::new([fit.batch, channels, height, width]);
                state.model.module().trace(&shape.map_err(residual_nn::Error::from)?)?;
            }
        }
        state.optimizer.configure(&fit.optimizer);
        let train = Loader::new(train, LoaderConfig::train(fit.batch, fit.seed))?;
        let val = Loader::new(val, LoaderConfig::eval(fit.batch))?;
        let per_epoch = train.batches() as u64;
        let length = RunLength::of(fit.length, per_epoch);
        if length.iterations == 0 {
            return Err(TrainError::NoSteps { length: fit.length, per_epoch });
        }
        let warm_up = fit.schedule.warm_up_iterations(&length);
        if warm_up >= length.iterations {
            let all = length.iterations;
            log::warn!(
                "the run of {all} iterations ends within the warm-up of {warm_up} of the learning rate"
            );
        }
        let position = &mut state.training.position;
        let begun = position.iterations() > 0;
        if begun && (position.batches_per_epoch != per_epoch || position.batch > per_epoch) {
            let batches = |n: u64| format!("{n} batches per epoch");
            let (checkpoint, run) = (batches(position.batches_per_epoch), batches(per_epoch));
            return Err(TrainError::Resume { checkpoint, run });
        }
        position.batches_per_epoch = per_epoch;
        let (objective, mixing) = (Box::new(objective), Generator::new(fit.seed).split("mix"));
        Ok(Self {
            state,
            fit,
            length,
            train,
            val,
            objective,
            mixing,
            fixed_rate: None,
            loaded: None,
            skipped: Vec::new(),
            gradient_lengths: Vec::new(),
            pace: Pace::default(),
            checkpoint_every: Duration::from_secs(10 * 60),
            saved: Instant::now(),
        })
    }

    /// Writes the last checkpoint after this time at the latest, ten minutes if this is not called,
    /// beside the end of each epoch. Does not change the result.
    #[must_use]
    pub fn checkpoint_every(self, time: Duration) -> Self {
        Self { checkpoint_every: time, ..self }
    }

    /// What is told when the run starts, beside what the network and the samples say themselves.
    pub(crate) fn telling(self, loaded: Option<Loaded>, skipped: Vec<PathBuf>) -> Self {
        Self { loaded, skipped, ..self }
    }

    /// The network with all that is needed to use it and to train it further.
    pub fn checkpoint(&self) -> &Checkpoint<T, N, C> {
        &self.state
    }

    /// The length of the run.
    pub fn length(&self) -> RunLength {
        self.length
    }

    /// Trains until the run is complete or `stop` is raised, which is looked at before each step.
    /// With a folder, writes configuration, metrics and checkpoints to it, and keeps other programs
    /// from training there meanwhile.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if the loss becomes infinite or no number; [`TrainError::Running`];
    /// what reading pictures or writing files reports. What has been learnt is saved first if it can be.
    pub fn fit(
        &mut self,
        folder: Option<&RunFolder>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Outcome> {
        let _lock = folder.map(RunFolder::lock).transpose()?;
        if let (Some(folder), true) = (folder, self.gradient_lengths.is_empty()) {
            self.gradient_lengths = folder.read_gradients();
        }
        self.saved = Instant::now();
        if let Some(folder) = folder.filter(|folder| !folder.last().exists()) {
            // So that a run that is killed before its first checkpoint leaves what it was.
            folder.write_config(&self.state.training.config.to_toml())?;
        }
        self.announce(observer);
        // An epoch that was cut short by the end of a run, which is longer now, is not complete.
        let training = &mut self.state.training;
        if training.position.iterations() < self.length.iterations {
            training.history.truncate(training.position.epoch as usize);
        }
        while !self.is_finished() {
            let record = match self.epoch(folder, observer, stop) {
                Ok(Some(record)) => record,
                Ok(None) => {
                    self.save(folder, false, observer)?;
                    return Ok(Outcome::Stopped);
                }
                // Numbers that went wrong, and a disk that takes no file.
                Err(
                    error @ (TrainError::Diverged { .. } | TrainError::Weights(_) | TrainError::Io { .. }),
                ) => {
                    return Err(error);
                }
                // A sample that cannot be read is no reason to lose what has been learnt.
                Err(error) => {
                    self.save(folder, false, observer)?;
                    return Err(error);
                }
            };
            let is_best = self.state.training.best().is_none_or(|best| record.is_better_than(best));
            observer.epoch(&record, is_best);
            self.close_epoch(record);
            self.save(folder, is_best, observer)?;
        }
        Ok(Outcome::Finished)
    }

    /// Whether all epochs have ended, or none has been better than the best one for as many as the configuration
    /// waits for.
    fn is_finished(&self) -> bool {
        let Training { history, .. } = &self.state.training;
        let best = self.state.training.best().map_or(0, |best| best.epoch);
        let waited = history.last().map_or(0, |last| last.epoch - best);
        let gave_up = self.fit.patience.is_some_and(|patience| waited >= patience.max(1));
        gave_up || history.len() as u64 >= self.length.epochs()
    }

    /// How long the gradients of weights were at the end of each epoch.
    pub fn gradient_lengths(&self) -> &[GradientLength] {
        &self.gradient_lengths
    }

    /// The samples that the network learns from, varied as it sees them.
    pub fn training(&self) -> &Loader<S> {
        &self.train
    }

    /// The samples that decide which epoch is best, as the network sees them.
    pub fn validation(&self) -> &Loader<S> {
        &self.val
    }

    /// The training batches of an epoch, counted from 0, for trials.
    pub(crate) fn train_epoch(&self, epoch: u64) -> Result<residual_data::Epoch<S>> {
        Ok(self.train.epoch(epoch)?)
    }

    fn announce(&self, observer: &mut dyn Observer) {
        let [train, val] = [self.train.samples(), self.val.samples()];
        let net = self.state.model.module();
        let trained = net.parameters().into_iter().filter(|(_, state)| state.is_trained());
        let [channels, height, width] = train.shape();
        observer.start(&Start {
            model: self.state.model.name(),
            parameters: net.parameter_count(),
            trained: trained.map(|(_, state)| state.shape().elements()).sum(),
            loaded: self.loaded.as_ref(),
            data: [train.name(), val.name()],
            pictures: [train.len(), val.len()],
            classes: self.state.model.classes(),
            input: ImageShape::new(channels, height, width),
            run: self.length,
            iterations_done: self.state.training.position.iterations(),
            history: &self.state.training.history,
            skipped: &self.skipped,
        });
    }

    /// The rest of an epoch with its validation, or nothing if it was stopped. Where weights are averaged, the
    /// network holds those that the steps move only in between.
    fn epoch(
        &mut self,
        folder: Option<&RunFolder>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<EpochRecord>> {
        let started = Instant::now();
        self.state.exchange();
        let made = self.steps(folder, observer, stop);
        self.state.exchange();
        let Some((images, waited)) = made? else { return Ok(None) };
        self.measure_statistics()?;
        let training_seconds = started.elapsed().as_secs_f64();
        let Some(validation) = self.validate(observer, stop)? else { return Ok(None) };
        if !validation.loss().is_finite() {
            return Err(self.diverged(format!("the validation loss is {}", validation.loss()), folder));
        }
        let Training { tally, position, .. } = &self.state.training;
        Ok(Some(EpochRecord {
            epoch: position.epoch + 1,
            iteration: position.iterations(),
            learning_rate: self.learning_rate(position.iterations().saturating_sub(1)),
            train_loss: tally.loss(),
            train_accuracy: tally.accuracy(),
            val_loss: validation.loss(),
            val_accuracy: validation.accuracy(),
            val_top5_accuracy: validation.top5_accuracy(),
            seconds: started.elapsed().as_secs_f64(),
            images_per_second: images as f64 / training_seconds,
            data_wait: waited.as_secs_f64() / training_seconds,
        }))
    }

    /// The steps that are left of an epoch: how many images that were, and how long they were waited for.
    /// Nothing if they were stopped.
    fn steps(
        &mut self,
        folder: Option<&RunFolder>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<(usize, Duration)>> {
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
            let in_batch = batch.targets.len();
            self.step(batch, folder)?;
            if self.saved.elapsed() > self.checkpoint_every {
                self.state.exchange();
                let saved = self.save(folder, false, observer);
                self.state.exchange();
                saved?;
            }
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
        Ok(Some((images, waited)))
    }

    /// When the run ends, the statistics of normalizations for the weights that it ends with: over batches in the
    /// order of the epoch after the last.
    fn measure_statistics(&self) -> Result<()> {
        let batches = self.fit.exact_statistics.div_ceil(self.fit.batch.min(self.train.samples().len()));
        if batches == 0 || self.state.training.position.iterations() < self.length.iterations {
            return Ok(());
        }
        let epoch = self.train.epoch_from(self.length.epochs(), 0)?;
        let size = self.fit.micro_batch.unwrap_or(self.fit.batch);
        let parts = epoch.take(batches).flat_map(|batch| match batch {
            Ok(batch) => step::parts(batch.inputs, size).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        let parts = parts.map(|part| Ok(in_precision(part?)));
        statistics::measure(self.state.model.module(), parts)
    }

    /// The learning rate of an iteration, counted from 0.
    fn learning_rate(&self, iteration: u64) -> f64 {
        self.fit.optimizer.learning_rate * self.rate(iteration)
    }

    /// The same as a part of the largest rate.
    pub(crate) fn rate(&self, iteration: u64) -> f64 {
        if let Some(fixed) = self.fixed_rate {
            return fixed;
        }
        let history = &self.state.training.history;
        // An objective that counts nothing as right is judged by its loss.
        let has_hits = history.iter().any(|record| record.val_accuracy > 0.0);
        let scores =
            history.iter().map(|record| if has_hits { record.val_accuracy } else { 1.0 / record.val_loss });
        self.fit.schedule.factor(iteration, &self.length) * self.fit.schedule.plateau(scores)
    }

    /// The error for numbers that are infinite or none.
    pub(crate) fn diverged(&self, what: String, folder: Option<&RunFolder>) -> TrainError {
        let kept = match folder.map(RunFolder::last).filter(|last| last.exists()) {
            Some(last) => format!("The last good state is in {}", last.display()),
            None => "Nothing had been saved yet".to_owned(),
        };
        let position = self.state.training.position;
        let (iteration, epoch) = (position.iterations(), position.epoch + 1);
        TrainError::Diverged { what, iteration, epoch, learning_rate: self.learning_rate(iteration), kept }
    }

    /// Loss and hits of the network now, or nothing if it was stopped.
    fn validate(&self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Option<Tally>> {
        let samples = self.val.samples().len();
        let mut tally = Tally::default();
        for batch in self.val.epoch(0)? {
            let batch = batch?;
            let tape = Tape::without_recording();
            let inputs = tape.input(in_precision(batch.inputs));
            let outputs = self.state.model.module().forward(&inputs, Mode::Eval)?;
            let loss = self.objective.loss(&outputs, &batch.targets, Mode::Eval)?;
            let value = loss.value().as_slice()[0].to_f64();
            self.objective.count(outputs.value(), &batch.targets, value, &mut tally);
            let done = tally.images as usize;
            observer.validation(done, samples);
            if stop.load(Ordering::Relaxed) && done < samples {
                return Ok(None);
            }
        }
        Ok(Some(tally))
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
    fn save(&mut self, folder: Option<&RunFolder>, is_best: bool, observer: &mut dyn Observer) -> Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        self.saved = Instant::now();
        let broken = |(_, state): &(_, State<T>)| !are_finite(state.value().as_slice());
        let in_network = self.state.model.module().states().into_iter().find(broken).map(|(path, _)| path);
        if let Some(path) = in_network.or_else(|| self.state.average.as_ref()?.broken()) {
            return Err(self.diverged(format!("{path} is no longer finite"), Some(folder)));
        }
        let best = is_best.then(|| folder.best());
        for path in best.into_iter().chain([folder.last()]) {
            self.state.save(&path)?;
            observer.checkpoint(&path);
        }
        // The checkpoint comes first: the other files only tell what is in it.
        folder.write_metrics(&self.state.training.history)?;
        folder.write_gradients(&self.gradient_lengths)?;
        folder.write_config(&self.state.training.config.to_toml())
    }
}
