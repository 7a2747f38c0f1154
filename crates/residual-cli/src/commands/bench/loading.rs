//! What reading pictures costs a training step: how long the step waits for them, and how much
//! slower it is because threads that prepare them take part of the processor.

use std::time::Instant;

use residual_data::{Augment, Corrupt, ImageShape, Loader, LoaderConfig, Pictures, Preprocess, Split};
use residual_train::TrainConfig;
use serde::Serialize;

use super::{
    timed,
    workload::{Workload, median},
};
use crate::error::{Error, Result};

/// Pictures that are read while training goes on.
pub(super) struct Loading {
    loader: Loader,
    /// The batch of the first epoch that is read next.
    next: usize,
}

/// What was measured.
#[derive(Serialize)]
pub(super) struct Cost {
    /// Steps with pictures that were read, and as many with pictures that were there.
    pub(super) steps: usize,
    /// The fraction of a step in which it waits for pictures.
    pub(super) wait: f64,
    /// The fraction of a step that is saved if the pictures are there: waiting, and what the
    /// threads that prepare pictures take from those that compute.
    pub(super) cost: f64,
}

/// Steps with pictures that are read, before as many with pictures that are there.
const TURN: usize = 10;

/// The first steps of a turn do not count: they use up what was prepared while others ran.
const LEAD: usize = 4;

impl Loading {
    /// The training pictures of a data set in batches, varied as on CIFAR.
    pub(super) fn open(config: &TrainConfig) -> Result<Self> {
        let data = config.data.open(Split::Train, Corrupt::Refuse)?;
        let input = config.input_shape(&config.model.config()?, &*data);
        let preprocess = Preprocess::new(input);
        let vary = Augment::CIFAR.transforms(&preprocess);
        let pictures = Pictures::new(data, preprocess)?.varied(vary)?;
        let loader = Loader::new(pictures, LoaderConfig::train(config.batch, 0))?;
        let (batches, needed) = (loader.batches(), LEAD + TURN);
        if batches < needed {
            let name = loader.samples().dataset().name();
            let size = config.batch;
            return Err(Error::Usage(format!(
                "{name} has {batches} batches of {size}, but {needed} are needed; give a smaller --batch"
            )));
        }
        Ok(Self { loader, next: 0 })
    }

    pub(super) fn input(&self) -> ImageShape {
        self.loader.samples().preprocess().input
    }

    pub(super) fn classes(&self) -> usize {
        self.loader.samples().dataset().classes().len()
    }

    /// Trains in turns with pictures that are read and with pictures that are there.
    pub(super) fn measure(
        &mut self,
        workload: &mut Workload,
        enough: impl Fn(usize) -> bool,
    ) -> Result<Cost> {
        let (mut steps, mut waited, mut whole, mut ratios) = (0, 0.0, 0.0, Vec::new());
        while steps == 0 || !enough(steps) {
            if self.next + LEAD + TURN > self.loader.batches() {
                self.next = 0;
            }
            let mut batches = self.loader.epoch_from(0, self.next)?;
            self.next += LEAD + TURN;
            let mut read = Vec::new();
            for step in 0..LEAD + TURN {
                let started = Instant::now();
                let Some(batch) = batches.next() else { break };
                workload.show(batch?);
                let wait = 1e3 * started.elapsed().as_secs_f64();
                let ms = wait + timed(workload)?;
                if step >= LEAD {
                    read.push(ms);
                    waited += wait;
                }
            }
            drop(batches); // and with them the threads that prepare more
            let mut there = (0..TURN).map(|_| timed(workload)).collect::<Result<Vec<_>>>()?;
            steps += read.len();
            whole += read.iter().sum::<f64>();
            // Turns that are neighbours in time are compared: the machine may drift.
            ratios.push(median(&mut there) / median(&mut read));
        }
        Ok(Cost { steps, wait: waited / whole, cost: 1.0 - median(&mut ratios) })
    }
}
