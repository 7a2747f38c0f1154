//! One step of the training loop: a batch through the network, in parts if it is to be, its gradients to the
//! optimizer, and the average after it.

use std::{cell::OnceCell, ops::Range, rc::Rc};

use residual_autograd::Tape;
use residual_data::{Batch, Samples};
use residual_nn::{Mode, Module};
use residual_tensor::{Float, Generator, Tensor};

use crate::{
    Checkpoint, GradientLength, GradientSum, Position, Result, RunConfig, RunFolder, Trainable, Trainer,
    evaluate::in_precision, mix::Mixed, slices::are_finite,
};

impl<T: Float, N: Trainable<T>, S: Samples, C: RunConfig> Trainer<T, N, S, C> {
    /// Makes a step with the gradients of a batch.
    pub(crate) fn step(&mut self, batch: Batch<S::Target>, folder: Option<&RunFolder>) -> Result<()> {
        let iteration = self.state.training.position.iterations();
        let Batch { mut inputs, mut targets, .. } = batch;
        let samples = targets.len();
        let size = self.fit.micro_batch.unwrap_or(samples).clamp(1, samples.max(1));
        let mixed = self.fit.mix.apply(&mut inputs, &mut self.mixing.split(iteration).split(0));
        let mut gradients = GradientSum::new();
        for (number, inputs) in parts(inputs, size).into_iter().enumerate() {
            let samples = number * size..samples.min((number + 1) * size);
            let part = Part { iteration, number, inputs, samples, mixed };
            self.part(part, &mut targets, &mut gradients, folder)?;
        }
        if let Some(path) = gradients.broken() {
            return Err(self.diverged(format!("the gradient of {path} is not finite"), folder));
        }
        let Position { epoch, batch: made, .. } = self.state.training.position;
        if made + 1 == self.length.iterations_of(epoch) {
            let lengths = GradientLength::of(self.state.model.module(), &gradients, epoch + 1);
            self.gradient_lengths.retain(|length| length.epoch <= epoch);
            self.gradient_lengths.extend(lengths);
        }
        if let Some(longest) = self.fit.optimizer.clip_norm {
            gradients.clip(longest);
        }
        let (factor, momentum) = (self.rate(iteration), self.fit.schedule.momentum(iteration, &self.length));
        let Checkpoint { model, optimizer, average, training } = &mut self.state;
        optimizer.step(model.module(), &gradients, factor, momentum)?;
        drop(gradients);
        if let Some(average) = average {
            average.follow(model.module(), iteration + 1, self.length.iterations);
        }
        training.position.batch += 1;
        Ok(())
    }

    /// Adds the gradients of a part of a batch with these targets.
    fn part(
        &mut self,
        part: Part,
        targets: &mut [S::Target],
        gradients: &mut GradientSum<T>,
        folder: Option<&RunFolder>,
    ) -> Result<()> {
        let Part { iteration, number, inputs, samples, mixed } = part;
        let weight = samples.len() as f64 / targets.len() as f64;
        let net = self.state.model.module();
        let tape = if self.fit.checkpoint_gradients { Tape::checkpointing() } else { Tape::new() };
        // From the seed and the number of the step alone, so that a run goes on as if it had not stopped.
        let random = Generator::new(self.fit.seed).split("step").split(iteration).split(number);
        let tape = tape.with_generator(random.clone());
        let inputs = in_precision(inputs);
        let outputs = net.forward(&tape.input(inputs.clone()), Mode::Train)?;
        let mut loss = self.objective.loss(&outputs, &targets[samples.clone()], Mode::Train)?;
        if let Some(mixed) = mixed {
            targets.rotate_right(1);
            let other = self.objective.loss(&outputs, &targets[samples.clone()], Mode::Train)?;
            targets.rotate_left(1);
            let [own, rest] = [mixed.own, 1.0 - mixed.own].map(T::of);
            loss = loss.mul_scalar(own)?.add(&other.mul_scalar(rest)?)?;
        }
        let value = loss.value().as_slice()[0].to_f64();
        if !value.is_finite() {
            let first = first_not_finite(net, &inputs, random)?;
            let first = first.map_or_else(
                || "the network's outputs are finite".to_owned(),
                |path| format!("the first value that is not finite comes from {path}"),
            );
            return Err(self.diverged(format!("the loss is {value} and {first}"), folder));
        }
        let tally = &mut self.state.training.tally;
        self.objective.count(outputs.value(), &targets[samples], value, tally);
        let found = loss.backward()?;
        gradients.add(self.state.model.module(), &found, weight);
        Ok(())
    }
}

/// A part of a batch.
struct Part {
    iteration: u64,
    number: usize,
    inputs: Tensor<f32>,
    /// Which samples of the batch these are.
    samples: Range<usize>,
    /// How the batch was mixed, if it was.
    mixed: Option<Mixed>,
}

/// The path of the layer whose output is the first that holds an infinite value or none.
fn first_not_finite<T: Float>(
    net: &dyn Module<T>,
    inputs: &Tensor<T>,
    random: Generator,
) -> Result<Option<String>> {
    if !are_finite(inputs.as_slice()) {
        return Ok(Some("the pictures".to_owned()));
    }
    let first = Rc::new(OnceCell::new());
    let tape = Tape::without_recording().with_generator(random);
    let found = first.clone();
    tape.observe(move |path, y| {
        if found.get().is_none() && !are_finite(y.value().as_slice()) {
            let _ = found.set(path.to_owned());
        }
    });
    net.forward(&tape.input(inputs.clone()), Mode::Train)?;
    Ok(first.get().cloned())
}

/// A batch `[n, c, h, w]`, channels-last, in parts of so many samples, of which the last may be smaller.
pub(crate) fn parts(inputs: Tensor<f32>, size: usize) -> Vec<Tensor<f32>> {
    let samples = inputs.shape()[0];
    if size >= samples {
        return vec![inputs];
    }
    let starts = (0..samples).step_by(size.max(1));
    let part = |start: usize| inputs.slice(0, start..samples.min(start + size));
    starts.map(|start| part(start).expect("a range of the samples")).collect()
}
