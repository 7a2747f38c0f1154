//! Mean and deviation of a data set's pictures. Counted in whole numbers, so that threads
//! cannot change a bit of the result.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{DataError, Dataset, Preprocess, Result};

/// What the pictures of a data set are like on average; a byte of 255 counts as 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// The number of pictures that were looked at.
    pub samples: usize,
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel.
    pub std: Vec<f32>,
    /// The mean of each value, channels innermost.
    pub pixel_mean: Vec<f32>,
}

/// Below this a channel counts as constant.
const SMALLEST_DEVIATION: f64 = 1e-4;

impl Statistics {
    /// Measures at most `limit` of the pictures, evenly spread, each brought to the input of
    /// `preprocess`.
    ///
    /// A channel without variation is given the deviation 1, since pictures are divided by it.
    ///
    /// # Errors
    /// Whatever reading the pictures returns; [`DataError::Empty`] if there are none.
    pub fn measure(dataset: &dyn Dataset, preprocess: &Preprocess, limit: usize) -> Result<Self> {
        let samples = dataset.len().min(limit);
        if samples == 0 {
            return Err(DataError::Empty { name: dataset.name().into() });
        }
        let input = preprocess.input;
        let sums = (0..samples)
            .into_par_iter()
            .map(|i| (i as u128 * dataset.len() as u128 / samples as u128) as usize)
            .try_fold(Sums::default, |sums, index| {
                let image = preprocess.resize(dataset.get(index)?.image)?;
                Ok::<_, DataError>(
                    sums.with(image.centre_crop(input.height, input.width)?.pixels(), input.channels),
                )
            })
            .try_reduce(Sums::default, |a, b| Ok(a.merged(b)))?;
        let values = (samples * input.height * input.width) as f64;
        let mean: Vec<f64> =
            channel_sums(&sums.pixels, input.channels).map(|sum| sum as f64 / values).collect();
        let std = mean.iter().zip(&sums.squares).map(|(mean, &square)| {
            let deviation = (square as f64 / values - mean * mean).max(0.0).sqrt() / 255.0;
            if deviation < SMALLEST_DEVIATION { 1.0 } else { deviation as f32 }
        });
        Ok(Self {
            samples,
            std: std.collect(),
            mean: mean.iter().map(|mean| (mean / 255.0) as f32).collect(),
            pixel_mean: sums.pixels.iter().map(|&sum| (sum as f64 / samples as f64 / 255.0) as f32).collect(),
        })
    }
}

/// Sums over pictures.
#[derive(Default)]
struct Sums {
    /// Of each value. Empty as long as there was no picture.
    pixels: Vec<u64>,
    /// Of each channel's squares.
    squares: Vec<u64>,
}

impl Sums {
    fn with(mut self, pixels: &[u8], channels: usize) -> Self {
        self.pixels.resize(pixels.len(), 0);
        self.squares.resize(channels, 0);
        for (sum, &pixel) in self.pixels.iter_mut().zip(pixels) {
            *sum += u64::from(pixel);
        }
        for pixel in pixels.chunks_exact(channels) {
            for (square, &value) in self.squares.iter_mut().zip(pixel) {
                *square += u64::from(value).pow(2);
            }
        }
        self
    }

    fn merged(self, other: Self) -> Self {
        Self { pixels: added(self.pixels, other.pixels), squares: added(self.squares, other.squares) }
    }
}

/// The sum of two vectors, one of which may be empty.
fn added(mut a: Vec<u64>, b: Vec<u64>) -> Vec<u64> {
    if a.is_empty() {
        return b;
    }
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

fn channel_sums(pixels: &[u64], channels: usize) -> impl Iterator<Item = u64> {
    (0..channels).map(move |channel| pixels.iter().skip(channel).step_by(channels).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageShape, InMemory};

    #[test]
    fn channels_and_pixels_have_their_means() {
        let shape = ImageShape::new(3, 1, 2);
        let pixels = vec![0, 51, 7, 102, 51, 7, 0, 51, 7, 204, 51, 7];
        let data = InMemory::new("two", &["a"], shape, pixels, vec![0, 0]).unwrap();
        let measured = Statistics::measure(&data, &Preprocess::new(shape), 10).unwrap();
        assert_eq!(measured.samples, 2);
        // red: 0, 102, 0, 204 → mean 76.5, variance (10404 + 41616) / 4 − 76.5² = 7152.75
        let expected = [76.5 / 255.0, 0.2, 7.0 / 255.0];
        for (mean, expected) in measured.mean.iter().zip(expected) {
            assert!((mean - expected).abs() < 1e-6);
        }
        assert!((measured.std[0] - 7152.75f32.sqrt() / 255.0).abs() < 1e-6);
        assert_eq!(measured.std[1..], [1.0, 1.0]);
        assert!((measured.pixel_mean[3] - 0.6).abs() < 1e-6);
        assert!(matches!(
            Statistics::measure(&data, &Preprocess::new(shape), 0),
            Err(DataError::Empty { .. })
        ));
    }
}
