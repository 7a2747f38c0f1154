//! The pictures of a data set as the samples of a loader: decoded, resized, varied, standardised.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use residual_tensor::Generator;

use crate::{
    DataError, Dataset, ImageShape, Picture, Placement, Preprocess, Result, Samples, Transform, Variation,
};

/// The pictures of a data set, prepared for a network.
///
/// ```
/// use std::sync::Arc;
/// use residual_data::{Augment, Faces, Loader, LoaderConfig, Pictures, Preprocess, Split};
///
/// let faces = Arc::new(Faces::new(0, Split::Train, 70));
/// let preprocess = Preprocess::new(Faces::SHAPE);
/// let vary = Augment::CIFAR.transforms(&preprocess);
/// let pictures = Pictures::new(faces, preprocess)?.varied(vary)?;
/// let loader = Loader::new(pictures, LoaderConfig::train(32, 1))?;
/// for batch in loader.epoch(0)? {
///     assert_eq!(batch?.inputs.shape()[..], [32, 1, 48, 48]);
/// }
/// # Ok::<(), residual_data::DataError>(())
/// ```
pub struct Pictures {
    dataset: Arc<dyn Dataset>,
    preprocess: Preprocess,
    transforms: Vec<Transform>,
    size: Option<Box<EpochSize>>,
    cache: Cache,
}

/// Height and width of the pictures of an epoch.
type EpochSize = dyn Fn(u64) -> [usize; 2] + Send + Sync;

/// The most memory that decoded pictures are kept in, unless it is said.
const CACHE_BYTES: usize = 1 << 30;

impl Pictures {
    /// All pictures of a data set, as they are.
    ///
    /// # Errors
    /// Those of [`Preprocess::check`].
    pub fn new(dataset: Arc<dyn Dataset>, preprocess: Preprocess) -> Result<Self> {
        preprocess.check()?;
        let cache = Cache::new(&*dataset, CACHE_BYTES);
        Ok(Self { dataset, preprocess, transforms: Vec::new(), size: None, cache })
    }

    /// The same, varied by these transforms, one after the other.
    ///
    /// Shifts, mirror images and what is erased are not made of pixels, but only say where the pixels of
    /// the standardised picture come from, so that nothing is copied, and what has no picture is 0, the
    /// mean. A random part is one of the picture as it is in the file; without one, pictures are
    /// resized before they are varied.
    ///
    /// # Errors
    /// [`DataError::TransformOrder`] if a transform that makes new pixels comes after one that does
    /// not.
    pub fn varied(self, transforms: Vec<Transform>) -> Result<Self> {
        let mut rest = transforms.iter().skip_while(|transform| !transform.is_placement());
        match rest.find(|transform| !transform.is_placement()) {
            Some(late) => Err(DataError::TransformOrder { transform: format!("{late:?}") }),
            None => Ok(Self { transforms, ..self }),
        }
    }

    /// The same, with a height and a width of its own in each epoch, at most those of the input: pictures that grow
    /// from epoch to epoch are learned from faster ("progressive resizing").
    pub fn sized(self, size: impl Fn(u64) -> [usize; 2] + Send + Sync + 'static) -> Self {
        Self { size: Some(Box::new(size)), ..self }
    }

    /// The same, keeping decoded and resized pictures for the next epoch until they take this many
    /// bytes (if it is not said, a GiB). Data sets that are in memory anyway are not kept twice.
    pub fn cached(self, bytes: usize) -> Self {
        Self { cache: Cache::new(&*self.dataset, bytes), ..self }
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// What is done to each picture.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// What comes before anything random, and is therefore kept.
    fn prepare(&self, image: Picture) -> Result<Picture> {
        match self.transforms.first() {
            Some(Transform::RandomResizedCrop(_)) => image.with_channels(self.preprocess.input.channels),
            _ => self.preprocess.resize(image),
        }
    }

    /// Writes a prepared picture as an epoch sees it.
    fn write_varied(&self, image: &Picture, variation: &mut Variation, input: &mut [f32]) -> Result<()> {
        let whole = self.preprocess.input;
        let [_, height, width] = self.shape_in(variation.epoch);
        if [height, width] == [whole.height, whole.width] {
            return write(image, &self.transforms, &self.preprocess, variation, input);
        }
        let smaller = ImageShape { height, width, ..whole };
        let preprocess = Preprocess { input: smaller, ..self.preprocess.clone() };
        let mut transforms = self.transforms.clone();
        if let Some(Transform::RandomResizedCrop(crop)) = transforms.first_mut() {
            (crop.height, crop.width) = (height, width);
            return write(image, &transforms, &preprocess, variation, input);
        }
        let rows = (image.height() * height).div_ceil(whole.height);
        let columns = (image.width() * width).div_ceil(whole.width);
        let image = image.resize(rows, columns, preprocess.interpolation)?;
        write(&image, &transforms, &preprocess, variation, input)
    }
}

/// Writes a picture, varied and standardised.
fn write(
    image: &Picture,
    transforms: &[Transform],
    preprocess: &Preprocess,
    variation: &mut Variation,
    input: &mut [f32],
) -> Result<()> {
    let Variation { epoch, draws, lasting } = variation;
    let ImageShape { height, width, .. } = preprocess.input;
    let mut placement = Placement::default();
    let mut varied = None;
    for transform in transforms {
        match transform {
            Transform::PadAndCrop(crop) => {
                let [down, right] = crop.draw(draws);
                // What is mirrored later is mirrored with its shift.
                placement.down += down;
                placement.right += if placement.flip { -right } else { right };
                placement.padding = crop.mode;
            }
            Transform::HorizontalFlip(flip) => placement.flip ^= flip.draw(draws),
            Transform::AlternatingFlip(flip) => placement.flip ^= flip.draw(*epoch, lasting),
            Transform::RandomErasing(erasing) => {
                placement.erased = erasing.draw(height, width, draws).or(placement.erased);
            }
            Transform::Cutout(cutout) => placement.erased = Some(cutout.draw(height, width, draws)),
            pixels => varied = Some(pixels.apply(varied.unwrap_or_else(|| image.clone()), draws)?),
        }
    }
    preprocess.write(varied.as_ref().unwrap_or(image), placement, input)
}

impl Samples for Pictures {
    type Target = usize;

    fn name(&self) -> &str {
        self.dataset.name()
    }

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn shape(&self) -> [usize; 3] {
        let ImageShape { channels, height, width } = self.preprocess.input;
        [channels, height, width]
    }

    fn shape_in(&self, epoch: u64) -> [usize; 3] {
        let whole @ [channels, ..] = self.shape();
        self.size.as_ref().map_or(whole, |size| {
            let [height, width] = size(epoch);
            [channels, height, width]
        })
    }

    fn write(&self, index: usize, draws: &mut Generator, input: &mut [f32]) -> Result<usize> {
        let (draws, lasting) = (draws.clone(), draws.split("lasting"));
        self.vary(index, &mut Variation { epoch: 0, draws, lasting }, input)
    }

    fn vary(&self, index: usize, variation: &mut Variation, input: &mut [f32]) -> Result<usize> {
        if let Some(image) = self.cache.get(index) {
            self.write_varied(image, variation, input)?;
            return self.dataset.label(index);
        }
        let sample = self.dataset.get(index)?;
        let image = self.prepare(sample.image)?;
        self.write_varied(&image, variation, input)?;
        self.cache.keep(index, image);
        Ok(sample.label)
    }
}

/// Prepared pictures that were decoded before, up to a number of bytes.
struct Cache {
    slots: Vec<OnceLock<Box<Picture>>>,
    bytes_left: AtomicUsize,
}

impl Cache {
    fn new(dataset: &dyn Dataset, bytes: usize) -> Self {
        let samples = if dataset.is_in_memory() { 0 } else { dataset.len() };
        Self { slots: (0..samples).map(|_| OnceLock::new()).collect(), bytes_left: AtomicUsize::new(bytes) }
    }

    fn get(&self, index: usize) -> Option<&Picture> {
        self.slots.get(index)?.get().map(Box::as_ref)
    }

    fn keep(&self, index: usize, image: Picture) {
        let Some(slot) = self.slots.get(index) else { return };
        let bytes = image.pixels().len();
        let pay = |left: usize| left.checked_sub(bytes);
        if self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok() {
            // Two epochs at once may both have decoded it; the picture is the same.
            let _ = slot.set(Box::new(image));
        }
    }
}
