//! What is tried before a run: whether a step can be made at all and how long it takes, whether the network can
//! learn a single batch by heart, and which learning rate to begin with. None of it belongs to a run: the network
//! has changed afterwards.

use std::time::Instant;

use residual_autograd::Tape;
use residual_data::{Batch, Pictures, Samples};
use residual_model::Model;
use residual_nn::{Mode, Module};
use residual_tensor::Float;
use serde::Serialize;

use crate::{Mix, Result, Tally, TrainConfig, TrainError, Trainer, evaluate::in_precision};

/// How long the parts of a run take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rehearsal {
    /// Seconds of a training step, the fastest of a few; of the last epoch, where inputs grow.
    pub step_seconds: f64,
    /// Seconds for all validation pictures, from the first few batches.
    pub validation_seconds: f64,
    /// Seconds of the whole run, as far as these tell.
    pub run_seconds: f64,
    /// The loss of the first step.
    pub loss: f64,
}

/// The losses of learning rates that rise from step to step (Smith 2017).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RateTrial {
    /// The rate of each step.
    pub rates: Vec<f64>,
    /// The smoothed loss of each step.
    pub losses: Vec<f64>,
    /// Where the loss falls most steeply.
    pub steepest: f64,
    /// A tenth of the rate of the smallest loss.
    pub tenth_of_smallest: f64,
}

/// Steps of a [`RateTrial`], and the rates that it goes through.
const TRIAL_STEPS: u64 = 100;
const TRIAL_RATES: [f64; 2] = [1e-7, 10.0];
/// Of the smallest loss; where it is more, a trial ends.
const TOO_MUCH: f64 = 4.0;
/// Steps before and after one, between which its slope is taken.
const REACH: usize = 5;
/// What remains of the mean loss in a step.
const MEMORY: f64 = 0.98;

impl<T: Float> Trainer<T, Model<T>, Pictures, TrainConfig> {
    /// Makes a few steps and validates a few batches, to see whether it can be done and how long it takes.
    ///
    /// # Errors
    /// What a run would report.
    pub fn rehearse(&mut self) -> Result<Rehearsal> {
        const STEPS: usize = 3;
        let (mut step_seconds, mut loss) = (f64::INFINITY, f64::NAN);
        self.state.training.tally = Tally::default();
        let epochs = self.length.epochs();
        for batch in self.train_epoch(epochs - 1)?.take(STEPS) {
            let batch = batch?;
            let started = Instant::now();
            let before = self.state.training.tally;
            self.step(batch, None)?;
            step_seconds = step_seconds.min(started.elapsed().as_secs_f64());
            if before.images == 0 {
                loss = self.state.training.tally.loss();
            }
        }
        let started = Instant::now();
        let (mut done, all) = (0, self.validation().samples().len());
        for batch in self.validation().epoch(0)?.take(STEPS) {
            let inputs = in_precision(batch?.inputs);
            done += inputs.shape()[0];
            self.state.model.net.forward(&Tape::without_recording().input(inputs), Mode::Eval)?;
        }
        let validation_seconds = started.elapsed().as_secs_f64() * all as f64 / done.max(1) as f64;
        // Of inputs that grow, these were the largest.
        let pixels = |epoch| self.training().samples().shape_in(epoch)[1..].iter().product::<usize>() as f64;
        let size = (0..epochs).map(|epoch| pixels(epoch) / pixels(epochs - 1)).sum::<f64>() / epochs as f64;
        let run_seconds =
            step_seconds * size * self.length.iterations as f64 + validation_seconds * epochs as f64;
        Ok(Rehearsal { step_seconds, validation_seconds, run_seconds, loss })
    }

    /// Makes steps with one batch, again and again, at the largest rate: a network, a loss and gradients that fit
    /// each other bring the loss near to zero. `watch` is told step, loss and accuracy; it returns whether to go
    /// on.
    ///
    /// # Errors
    /// [`TrainError::Diverged`], and what reading pictures reports.
    pub fn overfit(&mut self, steps: u64, mut watch: impl FnMut(u64, f64, f64) -> bool) -> Result<()> {
        let Some(batch) = self.train_epoch(0)?.next().transpose()? else { return Ok(()) };
        self.fixed_rate = Some(1.0);
        self.fit.mix = Mix::default(); // or the batch would be another one in each step
        self.state.average = None; // which may depend on how far a run is
        for step in 1..=steps {
            self.state.training.tally = Tally::default();
            self.step(copy(&batch), None)?;
            let tally = self.state.training.tally;
            if !watch(step, tally.loss(), tally.accuracy()) {
                break;
            }
        }
        Ok(())
    }

    /// Makes steps at learning rates that rise evenly on a logarithmic scale, until the loss is several times its
    /// smallest value. `watch` is told step, rate and smoothed loss.
    ///
    /// # Errors
    /// What reading pictures or the network reports.
    pub fn try_rates(&mut self, mut watch: impl FnMut(u64, f64, f64)) -> Result<RateTrial> {
        let (mut rates, mut losses) = (Vec::new(), Vec::new());
        let (mut mean, mut smallest) = (0.0, f64::INFINITY);
        let (mut epoch, mut step) = (0, 0u64);
        self.state.average = None; // which may depend on how far a run is
        'trial: loop {
            for batch in self.train_epoch(epoch)? {
                let part = step as f64 / (TRIAL_STEPS - 1) as f64;
                let rate = TRIAL_RATES[0] * (TRIAL_RATES[1] / TRIAL_RATES[0]).powf(part);
                self.fixed_rate = Some(rate / self.fit.optimizer.learning_rate);
                self.state.training.tally = Tally::default();
                match self.step(batch?, None) {
                    Err(TrainError::Diverged { .. }) => break 'trial,
                    made => made?,
                }
                step += 1;
                mean = MEMORY * mean + (1.0 - MEMORY) * self.state.training.tally.loss();
                let smoothed = mean / (1.0 - MEMORY.powi(step as i32));
                rates.push(rate);
                losses.push(smoothed);
                smallest = smallest.min(smoothed);
                watch(step, rate, smoothed);
                if step == TRIAL_STEPS || smoothed > TOO_MUCH * smallest {
                    break 'trial;
                }
            }
            epoch += 1;
        }
        let [steepest, tenth_of_smallest] = suggestions(&rates, &losses);
        Ok(RateTrial { rates, losses, steepest, tenth_of_smallest })
    }
}

/// A batch once more.
fn copy(batch: &Batch) -> Batch {
    Batch { inputs: batch.inputs.clone(), targets: batch.targets.clone(), indices: batch.indices.clone() }
}

/// Where the loss falls most steeply, and a tenth of the rate of its smallest value. The first tenth of the steps
/// and the last five say little.
fn suggestions(rates: &[f64], losses: &[f64]) -> [f64; 2] {
    let first = rates.len() / 10;
    let last = rates.len().saturating_sub(5).max(first + 1).min(rates.len());
    let at = |step: Option<usize>| step.map_or(f64::NAN, |step| rates[step]);
    let slope = |step: usize| {
        let (before, after) = (step.saturating_sub(REACH), (step + REACH).min(losses.len() - 1));
        (losses[after] - losses[before]) / (after - before).max(1) as f64
    };
    let steepest = (first..last).min_by(|&a, &b| slope(a).total_cmp(&slope(b)));
    let smallest = (first..last).min_by(|&a, &b| losses[a].total_cmp(&losses[b]));
    [at(steepest), at(smallest) / 10.0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_where_the_loss_falls_and_before_it_is_smallest() {
        let rates: Vec<f64> = (0..50).map(|step| 1e-5 * 1.3f64.powi(step)).collect();
        // Flat, then down around step 25 to the bottom at 32, then up.
        let losses: Vec<f64> = (0..50)
            .map(|step| match step {
                0..20 => 2.0,
                20..33 => 2.0 - 1.0 / (1.0 + (25.0 - f64::from(step)).exp()),
                _ => 1.0 + 0.1 * f64::from(step - 32),
            })
            .collect();
        let [steepest, tenth] = suggestions(&rates, &losses);
        assert_eq!(steepest, rates[25]);
        assert!((tenth / (rates[32] / 10.0) - 1.0).abs() < 1e-9, "{tenth}");
        assert!(suggestions(&[], &[]).iter().all(|rate| rate.is_nan()));
    }
}
