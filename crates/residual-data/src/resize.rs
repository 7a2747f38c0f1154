//! Resampling of 8-bit pixels as Pillow does it, to the last bit: weights in fixed point with 22
//! bits, one axis after the other, and whole levels in between (Pillow's `Resample.c`).

use std::{borrow::Cow, ops::Range};

use multiversion::multiversion;
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
    let row = from.width * CHANNELS;
    if rows_first(from, to) {
        let between = across(&rows, pixels, row);
        return columns.along::<CHANNELS>(&between, from.width);
    }
    // Only the rows that the result is made of. Where there are as many as before, those are the same rows, although
    // taps reach their neighbours, with a weight of 0.
    let as_high = from.height == to.size[0];
    let sources = if as_high { to.rows.clone() } else { rows.inputs() };
    let pixels = &pixels[sources.start * row..sources.end * row];
    // What stays as wide as it was is left out, not multiplied by 1.
    let between = match from.width == to.size[1] && to.columns == (0..from.width) {
        true => Cow::Borrowed(pixels),
        false => Cow::Owned(columns.along::<CHANNELS>(pixels, from.width)),
    };
    match as_high {
        true => between.into_owned(),
        false => across(&rows.starting_at(sources.start), &between, to.columns.len() * CHANNELS),
    }
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

/// Sums of neighboring columns that are taken together: as many as a few registers hold.
const SUMS: usize = 32;
/// Levels of neighboring rows that are taken together. Of fewer the compiler would rather take several weights at
/// once, which do not lie side by side.
const LANES: usize = 64;

/// The level of a sum of weighted levels.
#[inline(always)]
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The levels of sums. (`map` of an array is not inlined, and would be compiled for the oldest processor.)
#[inline(always)]
fn levels_of<const N: usize>(sums: &[i32; N]) -> [u8; N] {
    let mut levels = [0; N];
    levels.iter_mut().zip(sums).for_each(|(level, &sum)| *level = self::level(sum));
    levels
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
        // A pixel of a color picture takes the place of four levels, of which one is not used.
        match CHANNELS {
            1 => along::<1, 1, LANES>(self, pixels, width),
            _ => along::<3, 4, { LANES / 4 }>(self, pixels, width),
        }
    }
}

/// [`Taps::along`]. Many rows at a time are woven together, so that what has the same weight lies side by side.
#[multiversion(targets("x86_64+avx2"))]
fn along<const CHANNELS: usize, const PLACES: usize, const ROWS: usize>(
    taps: &Taps,
    pixels: &[u8],
    width: usize,
) -> Vec<u8> {
    let (row, out_row) = (width * CHANNELS, taps.first.len() * CHANNELS);
    let mut out = vec![0; pixels.len() / row * out_row];
    let mut woven = vec![[[0u8; PLACES]; ROWS]; width];
    for (rows, out) in pixels.chunks(row * ROWS).zip(out.chunks_mut(out_row * ROWS)) {
        for (place, row) in rows.chunks_exact(row).enumerate() {
            weave::<CHANNELS, PLACES, ROWS>(&mut woven, row.as_chunks().0, place);
        }
        for (column, (first, weights)) in taps.iter().enumerate() {
            let levels = weighted(woven[first..first + weights.len()].as_flattened().as_flattened(), weights);
            let (pixels, _) = levels.as_chunks::<PLACES>();
            for (out, pixel) in out.chunks_exact_mut(out_row).zip(pixels) {
                let out = &mut out[column * CHANNELS..];
                // Four bytes go in one step, and three do not; the next pixel is written over the fourth.
                match out.first_chunk_mut::<PLACES>() {
                    Some(out) => *out = *pixel,
                    None => out.copy_from_slice(&pixel[..CHANNELS]),
                }
            }
        }
    }
    out
}

/// Puts the pixels of a row into their place in each column.
#[inline(always)]
fn weave<const CHANNELS: usize, const PLACES: usize, const ROWS: usize>(
    woven: &mut [[[u8; PLACES]; ROWS]],
    pixels: &[[u8; CHANNELS]],
    place: usize,
) {
    let (fours, rest) = woven.as_chunks_mut::<4>();
    let (fours_of_pixels, rest_of_pixels) = pixels.as_chunks::<4>();
    for (woven, pixels) in fours.iter_mut().zip(fours_of_pixels) {
        let pixels = pixels.as_flattened();
        for (number, woven) in woven.iter_mut().enumerate() {
            // What lies behind a pixel comes with it, where there is something: the place is not used.
            let pixel = &pixels[number * CHANNELS..];
            match pixel.first_chunk::<PLACES>() {
                Some(pixel) => woven[place] = *pixel,
                None => woven[place][..CHANNELS].copy_from_slice(&pixel[..CHANNELS]),
            }
        }
    }
    for (woven, pixel) in rest.iter_mut().zip(rest_of_pixels) {
        woven[place][..CHANNELS].copy_from_slice(pixel);
    }
}

/// The levels of weighted sums, lane by lane.
#[multiversion(targets("x86_64+avx2"))]
fn weighted(levels: &[u8], weights: &[i32]) -> [u8; LANES] {
    let mut sums = [HALF; LANES];
    let (levels, _) = levels.as_chunks::<LANES>();
    for (levels, &weight) in levels.iter().zip(weights) {
        for (sum, &level) in sums.iter_mut().zip(levels) {
            *sum += i32::from(level) * weight;
        }
    }
    levels_of(&sums)
}

/// Rows of this many values with the outputs of `taps` in their place.
#[multiversion(targets("x86_64+avx2"))]
fn across(taps: &Taps, values: &[u8], width: usize) -> Vec<u8> {
    let mut out = vec![0; taps.first.len() * width];
    for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(width.max(1))) {
        let rows = &values[first * width..(first + weights.len()) * width];
        let (wide, rest) = out.as_chunks_mut::<SUMS>();
        let start_of_rest = width - rest.len();
        for (at, out) in wide.iter_mut().enumerate() {
            let mut sums = [HALF; SUMS];
            for (row, &weight) in rows.chunks_exact(width).zip(weights) {
                let (levels, _) = row[at * SUMS..].as_chunks::<SUMS>();
                for (sum, &level) in sums.iter_mut().zip(&levels[0]) {
                    *sum += i32::from(level) * weight;
                }
            }
            *out = levels_of(&sums);
        }
        for (column, out) in (start_of_rest..).zip(rest) {
            let values = rows[column..].iter().step_by(width);
            let sum: i32 = values.zip(weights).map(|(&value, weight)| i32::from(value) * weight).sum();
            *out = level(HALF + sum);
        }
    }
    out
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
        for (height, width) in [(9, 14), (50, 70), (5, 60), (23, 60), (50, 37)] {
            let whole = picture.resize(height, width, Interpolation::Bicubic).unwrap();
            let part = Target { size: [height, width], rows: 2..5, columns: 3..13 };
            let part = picture.resize_part(part, Interpolation::Bicubic).unwrap();
            assert_eq!(part, whole.part(2..5, 3..13));
        }
    }
}
