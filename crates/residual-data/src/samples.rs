//! What a [`Loader`](crate::Loader) makes batches of: numbered samples, whatever they are.

use residual_tensor::{Generator, Tensor};

use crate::{DataError, Result};

/// Numbered samples, each of which is an input of one shape and a target. They are asked for from
/// many threads at once.
///
/// [`Pictures`](crate::Pictures) are samples, and so are [`Arrays`]. Samples of one's own say how many they are,
/// and write one:
///
/// ```
/// use residual_data::{Loader, LoaderConfig, Result, Samples};
/// use residual_tensor::Generator;
///
/// /// Noisy sine waves; what is to be found out is their number of periods.
/// struct Waves;
///
/// impl Samples for Waves {
///     type Target = usize;
///     fn name(&self) -> &str {
///         "waves"
///     }
///     fn len(&self) -> usize {
///         1000
///     }
///     fn shape(&self) -> [usize; 3] {
///         [1, 1, 64]
///     }
///     fn write(&self, index: usize, draws: &mut Generator, input: &mut [f32]) -> Result<usize> {
///         let periods = 1 + index % 4;
///         for (at, value) in input.iter_mut().enumerate() {
///             let angle = std::f32::consts::TAU * (periods * at) as f32 / 64.0;
///             *value = angle.sin() + 0.1 * draws.normal() as f32;
///         }
///         Ok(periods - 1)
///     }
/// }
///
/// let loader = Loader::new(Waves, LoaderConfig::train(50, 7))?;
/// let first = loader.epoch(0)?.next().unwrap()?;
/// assert_eq!(first.inputs.shape()[..], [50, 1, 1, 64]);
/// # Ok::<(), residual_data::DataError>(())
/// ```
pub trait Samples: Send + Sync + 'static {
    /// What is to be found out about a sample: the number of its class, or numbers.
    type Target: Send + 'static;

    /// What they are, for people: `cifar10 train`.
    fn name(&self) -> &str;

    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels, height and width of the inputs.
    fn shape(&self) -> [usize; 3];

    /// Channels, height and width of the inputs of an epoch, where those of some epochs are smaller.
    fn shape_in(&self, epoch: u64) -> [usize; 3] {
        let _ = epoch;
        self.shape()
    }

    /// Writes the input of a sample, rows from the top, channels innermost, and returns its target.
    /// `draws` are the sample's own of this epoch: whatever is random follows from them.
    ///
    /// # Errors
    /// If the sample cannot be read; [`DataError::Sample`] wraps an error of any kind.
    fn write(&self, index: usize, draws: &mut Generator, input: &mut [f32]) -> Result<Self::Target>;

    /// [`write`](Self::write) for samples whose variation also depends on the number of the epoch, or on
    /// something that is drawn once for all epochs. What a loader calls.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn vary(&self, index: usize, variation: &mut Variation, input: &mut [f32]) -> Result<Self::Target> {
        self.write(index, &mut variation.draws, input)
    }
}

/// What the variation of a sample follows from.
#[derive(Debug, Clone)]
pub struct Variation {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The sample's own draws of this epoch.
    pub draws: Generator,
    /// The sample's own draws that are the same in every epoch.
    pub lasting: Generator,
}

/// Samples that a program has in arrays.
///
/// ```
/// use residual_data::{Arrays, Loader, LoaderConfig};
/// use residual_tensor::Tensor;
///
/// let inputs = Tensor::<f32>::zeros([6, 2, 4, 4]);
/// let samples = Arrays::new("six", inputs, vec![0, 1, 0, 1, 0, 1])?;
/// let batch = Loader::new(samples, LoaderConfig::eval(4))?.epoch(0)?.next().unwrap()?;
/// assert_eq!((batch.inputs.shape()[..].to_vec(), batch.targets), (vec![4, 2, 4, 4], vec![0, 1, 0, 1]));
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Arrays<Y> {
    name: String,
    inputs: Tensor<f32>,
    shape: [usize; 3],
    targets: Vec<Y>,
}

impl<Y> Arrays<Y> {
    /// Samples whose inputs, a tensor or an `ndarray` array, are `[n, channels, height, width]`, with a
    /// target each.
    ///
    /// # Errors
    /// [`DataError::Arrays`] if the inputs have other than four axes, or there are not as many
    /// targets.
    pub fn new(name: impl Into<String>, inputs: impl Into<Tensor<f32>>, targets: Vec<Y>) -> Result<Self> {
        let inputs = inputs.into();
        let shape = match inputs.shape()[..] {
            [n, channels, height, width] if n == targets.len() => [channels, height, width],
            _ => return Err(DataError::Arrays { inputs: inputs.shape().to_vec(), targets: targets.len() }),
        };
        let inputs = inputs.to_layout(residual_tensor::Layout::ChannelsLast);
        Ok(Self { name: name.into(), inputs, shape, targets })
    }
}

impl<Y: Clone + Send + Sync + 'static> Samples for Arrays<Y> {
    type Target = Y;

    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.targets.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn write(&self, index: usize, _draws: &mut Generator, input: &mut [f32]) -> Result<Y> {
        let no_sample = || DataError::Index { index, name: self.name.clone(), len: self.len() };
        let target = self.targets.get(index).ok_or_else(no_sample)?;
        let length = input.len();
        input.copy_from_slice(&self.inputs.as_slice()[index * length..(index + 1) * length]);
        Ok(target.clone())
    }
}
