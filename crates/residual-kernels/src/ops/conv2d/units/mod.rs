//! How the outputs of a correlation are divided into units: what a task computes at a time, from
//! inputs that it has copied into a scratch of its own, or reads where they are.
//!
//! In the scratch every tap is a constant offset from its pixel, so that kernels need a table of
//! offsets and no edge cases. No kernel is called here but those that copy.

mod scratch;

use std::ops::Range;

use residual_tensor::Float;

use super::correlation::{Correlation, even};
use crate::engine::{caches::Caches, isa::Isa};
pub(super) use scratch::Strides;

/// Pixels for which a part pays: adding it up costs as much as a few of them.
const PART_PIXELS: usize = 512;
/// Pixels in a row that is divided although its parts see some inputs twice.
const LONG_ROW: usize = 4096;
/// Parts at most.
const MOST_PARTS: usize = 16;
/// Bytes of all parts' sums at most.
const PARTS_BYTES: usize = 16 << 20;

/// Where kernels find the inputs of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Where they are. The correlation is pointwise.
    InPlace,
    /// In scratch, `[channel block][image][row][column][channel]`.
    Copied {
        /// Channels that are copied at a time, at most.
        channels: usize,
        /// Channels of a block, the last of which may be smaller.
        block: usize,
    },
}

/// The units of a correlation. Depend on the geometry and on the caches that they are made for.
#[derive(Debug, Clone)]
pub(super) struct Units<T: Float> {
    isa: &'static Isa<T>,
    correlation: Correlation,
    reading: Reading,
    /// Elements of a unit's scratch at most: a quarter of the second cache.
    most: usize,
    /// Per axis, how many scratch positions lie between neighbouring outputs.
    scratch_step: [usize; 2],
    /// How many units there are, along images, rows and columns.
    counts: [usize; 3],
    /// The distances in the inputs of a unit.
    strides: Strides,
}

impl<T: Float> Units<T> {
    /// Units of at most so many output `pixels`.
    pub(super) fn new(
        correlation: &Correlation,
        pixels: usize,
        reading: Reading,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        let units = Self {
            isa,
            reading,
            most: isa.numbers_in(caches.l2 / 4),
            scratch_step: correlation.axes.each_ref().map(|axis| axis.stride.min(axis.span())),
            counts: [0; 3],
            strides: Strides::default(),
            correlation: correlation.clone(),
        };
        let units = Self { counts: units.divide(pixels), ..units };
        Self { strides: units.find_strides(), ..units }
    }

    /// Whether inputs are read where they are.
    pub(super) fn are_in_place(&self) -> bool {
        self.reading == Reading::InPlace
    }

    /// Channels that kernels see at a time.
    fn channels(&self) -> usize {
        match self.reading {
            Reading::InPlace => self.correlation.inputs,
            Reading::Copied { channels, .. } => channels,
        }
    }

    /// The blocks of the channels that kernels see at a time.
    pub(super) fn channel_blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let channels = self.channels();
        let block = match self.reading {
            Reading::InPlace => channels,
            Reading::Copied { block, .. } => block,
        };
        (0..channels).step_by(block.max(1)).map(move |start| start..channels.min(start + block))
    }

    /// How many units there are to be, for the largest within the limits: of columns first, then
    /// rows, then images.
    fn divide(&self, pixels: usize) -> [usize; 3] {
        let Correlation { batch, axes: [vertical, horizontal], .. } = &self.correlation;
        let parts = |count: usize, most: usize| even(count.div_ceil(most.max(1))).min(count);
        let per_pixel = (self.channels() * self.scratch_step[0].max(1) * self.scratch_step[1].max(1)).max(1);
        let pixels = (self.most / per_pixel).clamp(1, pixels);
        // Only rows that are long for lack of others are divided: a margin goes with each part.
        let most = if horizontal.is_pointwise() { pixels.next_multiple_of(14) } else { LONG_ROW };
        let column_parts = parts(horizontal.count, most);
        let columns = horizontal.count.div_ceil(column_parts.max(1)).max(1);
        let row_parts = parts(vertical.count, pixels / columns);
        let rows = vertical.count.max(1);
        // Margins count, too, where they are most of an image.
        let image = self.scratch_positions(0, rows) * self.scratch_positions(1, columns) * self.channels();
        let affordable = (8 * self.most / image.max(1)).max(1);
        let together = (pixels / (columns * rows)).min(affordable);
        let images = if row_parts > 1 { *batch } else { parts(*batch, together) };
        [images, row_parts, column_parts]
    }

    /// How many units there are.
    pub(super) fn count(&self) -> usize {
        self.counts.iter().product()
    }

    /// How many output pixels each unit has.
    pub(super) fn pixels(&self) -> impl Iterator<Item = usize> {
        (0..self.count()).map(|unit| self.ranges(unit).iter().map(|range| range.len()).product())
    }

    /// In how many parts to sum over all units, if there are so many sums.
    pub(super) fn parts(&self, sums: usize) -> usize {
        let affordable = self.isa.numbers_in(PARTS_BYTES) / sums.max(1);
        even(self.correlation.pixels() / PART_PIXELS).min(affordable).min(self.count()).clamp(1, MOST_PARTS)
    }

    /// Images, rows and columns of output pixels of unit `index`.
    pub(super) fn ranges(&self, index: usize) -> [Range<usize>; 3] {
        let Correlation { batch, axes: [vertical, horizontal], .. } = &self.correlation;
        let [_, rows, columns] = self.counts;
        let at = [index / (rows * columns), index / columns % rows, index % columns];
        let counts = [*batch, vertical.count, horizontal.count];
        std::array::from_fn(|i| at[i] * counts[i] / self.counts[i]..(at[i] + 1) * counts[i] / self.counts[i])
    }

    /// Images, rows and columns of the largest unit.
    fn largest(&self) -> [usize; 3] {
        let Correlation { batch, axes: [vertical, horizontal], .. } = &self.correlation;
        let counts = [*batch, vertical.count, horizontal.count];
        std::array::from_fn(|i| counts[i].div_ceil(self.counts[i].max(1)))
    }

    /// The input that a unit sees, and whatever lies between.
    pub(super) fn seen<'a>(&self, [images, rows, columns]: &[Range<usize>; 3], x: &'a [T]) -> &'a [T] {
        let Correlation { input, axes: [vertical, horizontal], .. } = &self.correlation;
        let pixels = [images.clone(), vertical.seen(rows), horizontal.seen(columns)];
        stretch(x, self.correlation.in_channels(), *input, &pixels)
    }
}

/// The numbers of images of `size` from the first of some pixels to the last.
pub(super) fn stretch<'a, T>(
    numbers: &'a [T],
    channels: usize,
    size: [usize; 2],
    [images, rows, columns]: &[Range<usize>; 3],
) -> &'a [T] {
    let pixel = |image, row, column| (image * size[0] + row) * size[1] + column;
    let [last_image, last_row] = [images, rows].map(|range| range.end.saturating_sub(1));
    let (first, end) =
        (pixel(images.start, rows.start, columns.start), pixel(last_image, last_row, columns.end));
    numbers.get(first * channels..end * channels).unwrap_or_default()
}
