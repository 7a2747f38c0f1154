//! Batches for training and evaluation, prepared ahead by threads of their own. Not by the
//! threads that compute: decoding is to overlap with computing, not to queue behind it.
//!
//! What is in batch 17 of epoch 3 follows from the seed, the epoch and the samples' indices
//! alone. Each worker prepares every `workers`-th batch and hands it over in a channel of its
//! own; the reader takes from the channels in turn, so that batches, and errors, arrive in
//! order without being sorted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use residual_tensor::{Generator, Layout, Tensor};

use crate::{DataError, Pictures, Result, Samples, Variation};

/// How batches are made of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Samples in a batch.
    pub batch_size: usize,
    /// Whether each epoch has an order of its own. Otherwise it is that of the samples.
    pub shuffle: bool,
    /// Whether an incomplete batch at the end is left out, unless it is the only one.
    pub drop_last: bool,
    /// What order and variation follow from.
    pub seed: u64,
    /// Threads that prepare batches. Does not change what is in them.
    pub workers: usize,
    /// Batches that each worker keeps ready.
    pub prefetch: usize,
}

impl LoaderConfig {
    /// Every sample once, in order.
    pub fn eval(batch_size: usize) -> Self {
        Self {
            batch_size,
            shuffle: false,
            drop_last: false,
            seed: 0,
            workers: thread::available_parallelism().map_or(1, |cores| cores.get().min(4)),
            prefetch: 1,
        }
    }

    /// Full batches in an order that changes with each epoch.
    pub fn train(batch_size: usize, seed: u64) -> Self {
        Self { shuffle: true, drop_last: true, seed, ..Self::eval(batch_size) }
    }

    /// The number of batches in an epoch of so many samples.
    pub fn batches(&self, samples: usize) -> usize {
        let size = self.batch_size;
        if self.drop_last { (samples / size).max(1) } else { samples.div_ceil(size) }
    }
}

/// Samples and what is to be found out about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<Y = usize> {
    /// `[n, channels, height, width]`, channels-last.
    pub inputs: Tensor<f32>,
    /// The target of each: of pictures, the number of its class.
    pub targets: Vec<Y>,
    /// The number of each sample.
    pub indices: Vec<usize>,
}

/// Makes batches of [`Samples`], such as [`Pictures`], an [`Epoch`] at a time.
pub struct Loader<S: Samples = Pictures> {
    source: Arc<Source<S>>,
}

/// What the workers share.
struct Source<S> {
    samples: S,
    config: LoaderConfig,
    generator: Generator,
}

impl<S: Samples> Loader<S> {
    /// A loader of all samples.
    ///
    /// # Errors
    /// [`DataError::Empty`] without samples, [`DataError::BatchSize`] for batches of none.
    pub fn new(samples: S, config: LoaderConfig) -> Result<Self> {
        if config.batch_size == 0 {
            return Err(DataError::BatchSize);
        }
        if samples.is_empty() {
            return Err(DataError::Empty { name: samples.name().into() });
        }
        let generator = Generator::new(config.seed);
        Ok(Self { source: Arc::new(Source { samples, config, generator }) })
    }

    /// What the batches are made of.
    pub fn samples(&self) -> &S {
        &self.source.samples
    }

    /// How batches are made.
    pub fn config(&self) -> &LoaderConfig {
        &self.source.config
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        self.config().batches(self.samples().len())
    }

    /// The batches of an epoch.
    ///
    /// # Errors
    /// [`DataError::Thread`] if a worker cannot be started.
    pub fn epoch(&self, epoch: u64) -> Result<Epoch<S>> {
        self.epoch_from(epoch, 0)
    }

    /// The batches of an epoch from `first_batch` on, as [`epoch`](Self::epoch) would have given
    /// them: for going on where a run was interrupted.
    ///
    /// # Errors
    /// [`DataError::Thread`] if a worker cannot be started.
    pub fn epoch_from(&self, epoch: u64, first_batch: usize) -> Result<Epoch<S>> {
        Epoch::start(self.source.clone(), epoch, first_batch, self.batches())
    }
}

impl<S: Samples> Source<S> {
    fn order(&self, epoch: u64) -> Vec<usize> {
        let samples = self.samples.len();
        if self.config.shuffle {
            self.generator.split("order").split(epoch).permutation(samples)
        } else {
            (0..samples).collect()
        }
    }

    /// The batch of these samples, or nothing if `stop` came in between.
    fn batch(&self, epoch: u64, indices: &[usize], stop: &AtomicBool) -> Result<Option<Batch<S::Target>>> {
        let [channels, height, width] = self.samples.shape_in(epoch);
        let shape = [indices.len(), channels, height, width];
        let mut inputs = Tensor::try_unfilled(shape, Layout::ChannelsLast)?;
        let mut targets = Vec::with_capacity(indices.len());
        let [varying, lasting] =
            [self.generator.split("augment").split(epoch), self.generator.split("lasting")];
        let length = (inputs.len() / indices.len().max(1)).max(1);
        for (&index, slot) in indices.iter().zip(inputs.as_mut_slice().chunks_exact_mut(length)) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let (draws, lasting) = (varying.split(index), lasting.split(index));
            targets.push(self.samples.vary(index, &mut Variation { epoch, draws, lasting }, slot)?);
        }
        Ok(Some(Batch { inputs, targets, indices: indices.to_vec() }))
    }
}

/// The batches of one epoch, in order. Ends after the first error. Dropping it stops its
/// workers at the next sample.
pub struct Epoch<S: Samples = Pictures> {
    workers: Vec<Worker<S::Target>>,
    stop: Arc<AtomicBool>,
    source: Arc<Source<S>>,
    first: usize,
    next: usize,
    end: usize,
}

struct Worker<Y> {
    ready: Receiver<Result<Batch<Y>>>,
    thread: JoinHandle<()>,
}

impl<S: Samples> Epoch<S> {
    fn start(source: Arc<Source<S>>, epoch: u64, first: usize, end: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut this = Self { workers: Vec::new(), stop, source, first, next: first, end };
        let order = Arc::new(this.source.order(epoch));
        let workers = this.source.config.workers.clamp(1, this.len().max(1));
        for worker in 0..workers {
            let (source, order, stop) = (this.source.clone(), order.clone(), this.stop.clone());
            let (sender, ready) = sync_channel(source.config.prefetch.max(1));
            let work = move || {
                let size = source.config.batch_size;
                for batch in (first + worker..end).step_by(workers) {
                    let indices = &order[batch * size..order.len().min((batch + 1) * size)];
                    let Some(prepared) = source.batch(epoch, indices, &stop).transpose() else { return };
                    let failed = prepared.is_err();
                    if sender.send(prepared).is_err() || failed {
                        return;
                    }
                }
            };
            let thread = thread::Builder::new().name("residual-data".into()).spawn(work);
            this.workers.push(Worker { ready, thread: thread.map_err(DataError::Thread)? });
        }
        Ok(this)
    }
}

impl<S: Samples> Iterator for Epoch<S> {
    type Item = Result<Batch<S::Target>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let worker = &self.workers[(self.next - self.first) % self.workers.len()];
        let received = worker.ready.recv().unwrap_or_else(|_| {
            Err(DataError::WorkerStopped { batch: self.next, name: self.source.samples.name().into() })
        });
        self.next = if received.is_ok() { self.next + 1 } else { self.end };
        Some(received)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl<S: Samples> ExactSizeIterator for Epoch<S> {}

impl<S: Samples> Drop for Epoch<S> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for Worker { ready, thread } in self.workers.drain(..) {
            // Without its receiver a worker that waits to hand over a batch goes on, and ends.
            drop(ready);
            // A panic of a sample has been reported as an error already.
            let _ = thread.join();
        }
    }
}
