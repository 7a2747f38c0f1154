//! Batches for training and evaluation, prepared ahead by threads of their own. Not by the
//! threads that compute: decoding is to overlap with computing, not to queue behind it.
//!
//! What is in batch 17 of epoch 3 follows from the seed, the epoch and the samples' indices
//! alone. Each worker prepares every `workers`-th batch and hands it over in a channel of its
//! own; the reader takes from the channels in turn, so that batches, and errors, arrive in
//! order without being sorted.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use residual_tensor::{Generator, Layout, Tensor};

use crate::{Augment, DataError, Dataset, Image, ImageShape, Placement, Preprocess, Result};

/// How batches are made of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Images in a batch.
    pub batch_size: usize,
    /// Whether each epoch has an order of its own. Otherwise it is that of the data set.
    pub shuffle: bool,
    /// Whether an incomplete batch at the end is left out, unless it is the only one.
    pub drop_last: bool,
    /// How pictures are varied.
    pub augment: Augment,
    /// What order and variation follow from.
    pub seed: u64,
    /// Threads that prepare batches. Does not change what is in them.
    pub workers: usize,
    /// Batches that each worker keeps ready.
    pub prefetch: usize,
    /// Decoded and resized pictures are kept for the next epoch until they take this many
    /// bytes. Data sets that are in memory anyway are not kept twice.
    pub cache_bytes: usize,
}

impl LoaderConfig {
    /// Every sample once, in order, as it is.
    pub fn eval(batch_size: usize) -> Self {
        Self {
            batch_size,
            shuffle: false,
            drop_last: false,
            augment: Augment::default(),
            seed: 0,
            workers: thread::available_parallelism().map_or(1, |cores| cores.get().min(4)),
            prefetch: 1,
            cache_bytes: 1 << 30,
        }
    }

    /// Full batches in an order that changes with each epoch, varied by `augment`.
    pub fn train(batch_size: usize, augment: Augment, seed: u64) -> Self {
        Self { shuffle: true, drop_last: true, augment, seed, ..Self::eval(batch_size) }
    }
}

/// Images, standardised, and what they show.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[n, channels, height, width]`, channels-last.
    pub images: Tensor<f32>,
    /// The class of each image.
    pub labels: Vec<usize>,
    /// The place of each image in the data set.
    pub indices: Vec<usize>,
}

/// Makes batches of a data set, an [`Epoch`] at a time.
///
/// ```
/// use std::sync::Arc;
/// use residual_data::{Augment, Dataset, Faces, Loader, LoaderConfig, Preprocess, Split};
///
/// let faces = Arc::new(Faces::new(0, Split::Train, 70));
/// let preprocess = Preprocess::new(Faces::SHAPE);
/// let loader = Loader::new(faces, preprocess, LoaderConfig::train(32, Augment::CIFAR, 1))?;
/// for batch in loader.epoch(0)? {
///     assert_eq!(batch?.images.shape()[..], [32, 1, 48, 48]);
/// }
/// # Ok::<(), residual_data::DataError>(())
/// ```
pub struct Loader {
    source: Arc<Source>,
}

/// What the workers share.
struct Source {
    dataset: Arc<dyn Dataset>,
    preprocess: Preprocess,
    config: LoaderConfig,
    generator: Generator,
    cache: Cache,
}

impl Loader {
    /// A loader of all samples of `dataset`.
    ///
    /// # Errors
    /// [`DataError::Empty`] without samples, [`DataError::BatchSize`] for batches of none, and
    /// those of [`Preprocess::check`].
    pub fn new(dataset: Arc<dyn Dataset>, preprocess: Preprocess, config: LoaderConfig) -> Result<Self> {
        preprocess.check()?;
        if config.batch_size == 0 {
            return Err(DataError::BatchSize);
        }
        if dataset.is_empty() {
            return Err(DataError::Empty { name: dataset.name().into() });
        }
        let kept = if dataset.is_in_memory() { 0 } else { dataset.len() };
        let cache = Cache::new(kept, config.cache_bytes);
        let generator = Generator::new(config.seed);
        Ok(Self { source: Arc::new(Source { dataset, preprocess, config, generator, cache }) })
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.source.dataset
    }

    /// What is done to each picture.
    pub fn preprocess(&self) -> &Preprocess {
        &self.source.preprocess
    }

    /// How batches are made.
    pub fn config(&self) -> &LoaderConfig {
        &self.source.config
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        let LoaderConfig { batch_size, drop_last, .. } = *self.config();
        let samples = self.source.dataset.len();
        if drop_last { (samples / batch_size).max(1) } else { samples.div_ceil(batch_size) }
    }

    /// The batches of an epoch.
    ///
    /// # Errors
    /// [`DataError::Thread`] if a worker cannot be started.
    pub fn epoch(&self, epoch: u64) -> Result<Epoch> {
        self.epoch_from(epoch, 0)
    }

    /// The batches of an epoch from `first_batch` on, as [`epoch`](Self::epoch) would have given
    /// them: for going on where a run was interrupted.
    ///
    /// # Errors
    /// [`DataError::Thread`] if a worker cannot be started.
    pub fn epoch_from(&self, epoch: u64, first_batch: usize) -> Result<Epoch> {
        Epoch::start(self.source.clone(), epoch, first_batch, self.batches())
    }
}

impl Source {
    fn order(&self, epoch: u64) -> Vec<usize> {
        let samples = self.dataset.len();
        if self.config.shuffle {
            self.generator.split("order").split(epoch).permutation(samples)
        } else {
            (0..samples).collect()
        }
    }

    /// The batch of these samples, or nothing if `stop` came in between.
    fn batch(&self, epoch: u64, indices: &[usize], stop: &AtomicBool) -> Result<Option<Batch>> {
        let ImageShape { channels, height, width } = self.preprocess.input;
        let shape = [indices.len(), channels, height, width];
        let mut images = Tensor::try_unfilled(shape, Layout::ChannelsLast)?;
        let mut labels = Vec::with_capacity(indices.len());
        let variation = self.generator.split("augment").split(epoch);
        let slots = images.as_mut_slice().chunks_exact_mut(self.preprocess.input.elements());
        for (&index, slot) in indices.iter().zip(slots) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let placement = self.config.augment.draw(&mut variation.split(index));
            labels.push(self.write(index, placement, slot)?);
        }
        Ok(Some(Batch { images, labels, indices: indices.to_vec() }))
    }

    /// Writes a sample's image and returns its label.
    fn write(&self, index: usize, placement: Placement, slot: &mut [f32]) -> Result<usize> {
        if let Some(image) = self.cache.get(index) {
            self.preprocess.write(image, placement, slot)?;
            return self.dataset.label(index);
        }
        let sample = self.dataset.get(index)?;
        let image = self.preprocess.resize(sample.image)?;
        self.preprocess.write(&image, placement, slot)?;
        self.cache.keep(index, image);
        Ok(sample.label)
    }
}

/// Resized pictures that were decoded before, up to a number of bytes.
struct Cache {
    slots: Vec<OnceLock<Box<Image>>>,
    bytes_left: AtomicUsize,
}

impl Cache {
    fn new(samples: usize, bytes: usize) -> Self {
        Self { slots: (0..samples).map(|_| OnceLock::new()).collect(), bytes_left: AtomicUsize::new(bytes) }
    }

    fn get(&self, index: usize) -> Option<&Image> {
        self.slots.get(index)?.get().map(Box::as_ref)
    }

    fn keep(&self, index: usize, image: Image) {
        let Some(slot) = self.slots.get(index) else { return };
        let bytes = image.pixels().len();
        let pay = |left: usize| left.checked_sub(bytes);
        if self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok() {
            // Two epochs at once may both have decoded it; the picture is the same.
            let _ = slot.set(Box::new(image));
        }
    }
}

/// The batches of one epoch, in order. Ends after the first error. Dropping it stops its
/// workers at the next picture.
pub struct Epoch {
    workers: Vec<Worker>,
    stop: Arc<AtomicBool>,
    source: Arc<Source>,
    first: usize,
    next: usize,
    end: usize,
}

struct Worker {
    ready: Receiver<Result<Batch>>,
    thread: JoinHandle<()>,
}

impl Epoch {
    fn start(source: Arc<Source>, epoch: u64, first: usize, end: usize) -> Result<Self> {
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

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let worker = &self.workers[(self.next - self.first) % self.workers.len()];
        let received = worker.ready.recv().unwrap_or_else(|_| {
            Err(DataError::WorkerStopped { batch: self.next, name: self.source.dataset.name().into() })
        });
        self.next = if received.is_ok() { self.next + 1 } else { self.end };
        Some(received)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch {}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for Worker { ready, thread } in self.workers.drain(..) {
            // Without its receiver a worker that waits to hand over a batch goes on, and ends.
            drop(ready);
            // A panic of the data set has been reported as an error already.
            let _ = thread.join();
        }
    }
}
