//! Resampling of 8-bit pixels as Pillow does it, to the last bit: weights in fixed point with 22
//! bits, one axis after the other, and whole levels in between (Pillow's `Resample.c`).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ImageShape;

/// How a resized picture's pixels follow from their neighbors. Where a picture shrinks, both
/// widen with the step from pixel to pixel, which is known as antialiasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// Weights that fall in a straight line with the distance: torchvision's default.
    #[default]
    Bilinear,
    /// Cubic pieces with the parameter −½ (Keys 1981), which are sharper: timm's usual choice.
    Bicubic,
}

impl Interpolation {
    /// The distance, in pixels of a picture that does not shrink, from which on weights are 0.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The weight at a distance.
    fn weight(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let x = distance.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// A resized picture, of which a part may be enough.
pub(crate) struct Target {
    /// Rows and columns of the whole.
    pub(crate) size: [usize; 2],
    /// The rows that are wanted.
    pub(crate) rows: Range<usize>,
    /// The columns that are wanted.
    pub(crate) columns: Range<usize>,
}

/// The wanted part of a picture of this shape at another size.
pub(crate) fn resize(pixels: &[u8], from: ImageShape, to: &Target, interpolation: Interpolation) -> Vec<u8> {
    match from.channels {
        1 => resize_channels::<1>(pixels, from, to, interpolation),
        _ => resize_channels::<3>(pixels, from, to, interpolation),
    }
}

fn resize_channels<const CHANNELS: usize>(
    pixels: &[u8],
    from: ImageShape,
    to: &Target,
    interpolation: Interpolation,
) -> Vec<u8> {
    let columns = Taps::new(from.width, to.size[1], &to.columns, interpolation);
    let rows = Taps::new(from.height, to.size[0], &to.rows, interpolation);
    if rows_first(from, to) {
        let between = rows.across(pixels, from.width * CHANNELS);
        return columns.along::<CHANNELS>(&between, from.width);
    }
    // Only the rows that the result is made of.
    let row = from.width * CHANNELS;
    let sources = rows.inputs();
    let between = columns.along::<CHANNELS>(&pixels[sources.start * row..sources.end * row], from.width);
    rows.starting_at(sources.start).across(&between, to.columns.len() * CHANNELS)
}

/// Whether Pillow (13.0) resizes rows before columns: where it takes away more than twice as many
/// rows as columns.
fn rows_first(from: ImageShape, to: &Target) -> bool {
    let [rows, columns] = to.size;
    rows < from.height && from.height - rows + 2 * columns > 2 * from.width
}

/// Bits behind the point of a weight.
const PRECISION: u32 = 22;
/// Half a level.
const HALF: i32 = 1 << (PRECISION - 1);

/// Sums of neighboring columns that are taken together.
const SUMS: usize = 16;

/// The level of a sum of weighted levels.
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// For each output of one axis, the inputs that it is made of and the weight of each.
struct Taps {
    /// For each output, its first input.
    first: Vec<usize>,
    /// For each output, where its weights end. They begin where those before it end.
    end: Vec<usize>,
    weights: Vec<i32>,
}

impl Taps {
    /// Of the outputs in `wanted` when `inputs` are brought to `outputs`.
    fn new(inputs: usize, outputs: usize, wanted: &Range<usize>, interpolation: Interpolation) -> Self {
        let step = inputs as f64 / outputs as f64;
        let widening = step.max(1.0);
        let support = interpolation.support() * widening;
        let narrowing = 1.0 / widening;
        let mut taps = Self { first: Vec::new(), end: Vec::new(), weights: Vec::new() };
        for output in wanted.clone() {
            let center = (output as f64 + 0.5) * step;
            // A cast cuts off, below 0 at 0.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(inputs);
            let weight = |input| interpolation.weight((input as f64 - center + 0.5) * narrowing);
            let sum: f64 = (first..end).map(weight).sum();
            let fixed = |input| ((weight(input) / sum) * f64::from(1 << PRECISION)).round() as i32;
            taps.weights.extend((first..end).map(fixed));
            taps.first.push(first);
            taps.end.push(taps.weights.len());
        }
        taps
    }

    /// Each output's first input and weights.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let begin = std::iter::once(0).chain(self.end.iter().copied());
        let weights = begin.zip(&self.end).map(|(begin, &end)| &self.weights[begin..end]);
        self.first.iter().copied().zip(weights)
    }

    /// The inputs that any output is made of.
    fn inputs(&self) -> Range<usize> {
        let end = self.iter().map(|(first, weights)| first + weights.len()).max();
        self.first[0]..end.unwrap_or_default()
    }

    /// The same for inputs of which the first ones are left out.
    fn starting_at(mut self, start: usize) -> Self {
        self.first.iter_mut().for_each(|first| *first -= start);
        self
    }

    /// Rows of pixels of this width with the outputs in place of their columns.
    fn along<const CHANNELS: usize>(&self, pixels: &[u8], width: usize) -> Vec<u8> {
        let (pixels, _) = pixels.as_chunks::<CHANNELS>();
        let mut out = Vec::with_capacity(pixels.len() / width * self.first.len() * CHANNELS);
        for row in pixels.chunks_exact(width) {
            for (first, weights) in self.iter() {
                let mut sums = [HALF; CHANNELS];
                for (pixel, weight) in row[first..first + weights.len()].iter().zip(weights) {
                    for channel in 0..CHANNELS {
                        sums[channel] += i32::from(pixel[channel]) * weight;
                    }
                }
                out.extend(sums.map(level));
            }
        }
        out
    }

    /// Rows of this many values with the outputs in their place.
    fn across(&self, values: &[u8], width: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.first.len() * width);
        for (first, weights) in self.iter() {
            let rows = &values[first * width..(first + weights.len()) * width];
            // So many sums at a time as registers hold.
            for at in (0..width).step_by(SUMS) {
                let mut sums = [HALF; SUMS];
                for (row, weight) in rows.chunks_exact(width).zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(&row[at..]) {
                        *sum += i32::from(value) * weight;
                    }
                }
                out.extend(sums.iter().take(width - at).map(|&sum| level(sum)));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Picture,
        pillow::{self, Resized},
    };

    #[test]
    fn resized_pictures_have_pillows_pixels() {
        for Resized { from, interpolation, picture } in &pillow::expected().resized {
            let [channels, height, width] = *from;
            let expected = Picture::from(picture);
            let (rows, columns) = (expected.height(), expected.width());
            let resized =
                pillow::noise(channels, height, width).resize(rows, columns, *interpolation).unwrap();
            assert_eq!(
                resized.pixels(),
                expected.pixels(),
                "{interpolation:?}, {from:?} to {rows}×{columns}"
            );
        }
    }

    #[test]
    fn a_part_is_that_of_the_whole() {
        let picture = pillow::noise(3, 23, 37);
        for (height, width) in [(9, 14), (50, 70), (5, 60)] {
            let whole = picture.resize(height, width, Interpolation::Bicubic).unwrap();
            let part = Target { size: [height, width], rows: 2..5, columns: 3..13 };
            let part = picture.resize_part(part, Interpolation::Bicubic).unwrap();
            assert_eq!(part, whole.part(2..5, 3..13));
        }
    }
}
