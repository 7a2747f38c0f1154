//! What a run tells while it goes on. How that is shown is up to the observer: this crate prints
//! nothing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Loaded, RunLength};

/// Receives the events of a run. Every method does nothing unless it is implemented.
pub trait Observer {
    /// The run is about to start or to go on.
    fn start(&mut self, start: &Start<'_>) {
        let _ = start;
    }

    /// A step has been made.
    fn step(&mut self, step: &Step) {
        let _ = step;
    }

    /// Another batch has been validated; there are `images` to validate.
    fn validation(&mut self, done: usize, images: usize) {
        let _ = (done, images);
    }

    /// An epoch has ended.
    fn epoch(&mut self, record: &EpochRecord, is_best: bool) {
        let _ = (record, is_best);
    }

    /// A checkpoint has been written.
    fn checkpoint(&mut self, path: &Path) {
        let _ = path;
    }
}

/// An observer that ignores everything.
impl Observer for () {}

/// Two observers that are told the same.
impl<A: Observer + ?Sized, B: Observer + ?Sized> Observer for (&mut A, &mut B) {
    fn start(&mut self, start: &Start<'_>) {
        self.0.start(start);
        self.1.start(start);
    }

    fn step(&mut self, step: &Step) {
        self.0.step(step);
        self.1.step(step);
    }

    fn validation(&mut self, done: usize, images: usize) {
        self.0.validation(done, images);
        self.1.validation(done, images);
    }

    fn epoch(&mut self, record: &EpochRecord, is_best: bool) {
        self.0.epoch(record, is_best);
        self.1.epoch(record, is_best);
    }

    fn checkpoint(&mut self, path: &Path) {
        self.0.checkpoint(path);
        self.1.checkpoint(path);
    }
}

/// What is going to happen.
#[derive(Debug)]
pub struct Start<'a> {
    /// The network's name.
    pub model: &'a str,
    /// The elements of its parameters, frozen ones included.
    pub parameters: usize,
    /// How many of them are trained; the others are frozen.
    pub trained: usize,
    /// The weights that the network has begun with, in a new run that was given some.
    pub loaded: Option<&'a Loaded>,
    /// The names of the training and the validation data.
    pub data: [&'a str; 2],
    /// How many pictures each of them has.
    pub pictures: [usize; 2],
    /// The names of the classes.
    pub classes: &'a [String],
    /// Channels, height and width of the network's input.
    pub input: residual_data::ImageShape,
    /// The length of the run.
    pub run: RunLength,
    /// Iterations that have been made before, in a run that goes on.
    pub iterations_done: u64,
    /// Epochs that have ended before, in a run that goes on.
    pub history: &'a [EpochRecord],
    /// Pictures that are left out because they cannot be decoded.
    pub skipped: &'a [PathBuf],
}

/// Where a run is after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Steps made in this epoch.
    pub step: u64,
    /// Steps that this epoch has.
    pub steps: u64,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy of the epoch so far, on varied training pictures.
    pub accuracy: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// Training speed, smoothed.
    pub images_per_second: f64,
    /// Time to the end of the run at this speed.
    pub seconds_left: f64,
}

/// An epoch in numbers: a row of `metrics.csv`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Iterations since the beginning of the run.
    pub iteration: u64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Mean loss over the epoch's steps.
    pub train_loss: f64,
    /// Accuracy over the epoch's steps, on varied training pictures.
    pub train_accuracy: f64,
    /// Loss on the validation pictures.
    pub val_loss: f64,
    /// Accuracy on the validation pictures.
    pub val_accuracy: f64,
    /// Top-5 accuracy on the validation pictures.
    pub val_top5_accuracy: f64,
    /// Time for training and validation, since the run was last started.
    pub seconds: f64,
    /// Training speed.
    pub images_per_second: f64,
    /// The fraction of the training time in which the network waited for pictures. Runs of
    /// earlier versions do not know it.
    #[serde(default)]
    pub data_wait: f64,
}

impl EpochRecord {
    /// Whether this epoch is better than another: more validation pictures right, or as many at a
    /// smaller loss.
    pub fn is_better_than(&self, other: &Self) -> bool {
        let key = |record: &Self| (record.val_accuracy, -record.val_loss);
        key(self) > key(other)
    }

    /// The best of these epochs; of equal ones, the first.
    pub fn best(history: &[Self]) -> Option<&Self> {
        history.iter().reduce(|best, epoch| if epoch.is_better_than(best) { epoch } else { best })
    }
}
