//! Convolution in blocks that fit the caches, without a matrix of windows (implicit GEMM).
//!
//! ```text
//! for each unit of output pixels                                       (parallel)
//!     copy its inputs, padding as zeros, into scratch: [channel block][image][row][column][channel]
//!     for each panel of output channels                                (its weights stay in L2)
//!         for each tile of pixels
//!             sum over channel blocks and taps in registers, finish, store
//! ```
//! In the scratch every tap is a constant offset from its pixel, so that the kernel needs a table
//! of offsets and no edge cases; blocks of channels keep what a tile touches in L1. Pointwise
//! convolutions of few channels read the input where it is.
//!
//! Handles every geometry, as [`Correlation`]s. Each output is summed in the same order whatever
//! the units and threads are.

mod backward_weights;
mod forward;
mod pack;
mod scratch;

use std::ops::Range;

use residual_tensor::Float;

use super::correlation::{Axis, Correlation, Panel, even};
use crate::engine::isa::{Isa, Segment};
use scratch::Strides;

/// Bytes of a pixel's channels in a scratch block: 16 pixels of three rows fit L1 beside the weights.
const CHANNEL_BLOCK: usize = 256;
/// Up to so many bytes of channels a pointwise convolution reads its input in place; more would make
/// the pixels of a tile compete for the same sets of L1.
const MOST_IN_PLACE: usize = 2 << 10;
/// Bytes of a unit's scratch at most: a quarter of L2 where that has 2 MiB.
const UNIT_BYTES: usize = 512 << 10;

/// How a correlation is divided. Depends on the geometry alone.
#[derive(Debug, Clone)]
pub(in crate::ops::conv2d) struct Blocking<T: Float> {
    isa: &'static Isa<T>,
    /// The problem, small groups merged.
    correlation: Correlation,
    /// How many groups were merged into one.
    merged: usize,
    panels: Vec<Panel>,
    /// Channels of a block, the last of which may be smaller.
    channel_block: usize,
    /// Whether the input is read where it is.
    in_place: bool,
    /// Per axis, how many scratch positions lie between neighbouring outputs.
    scratch_step: [usize; 2],
    /// How many units there are, along images, rows and columns.
    units: [usize; 3],
    /// The distances in the inputs of a unit.
    strides: Strides,
    /// What a pixel sees, from its own address.
    segments: Vec<Segment>,
}

impl<T: Float> Blocking<T> {
    /// For units of at most so many output `pixels`: where each sees several inputs, and where it sees
    /// one. An input that is to be `copied` is so even where it could be read in place.
    fn new(correlation: &Correlation, pixels: [usize; 2], copied: bool, isa: &'static Isa<T>) -> Self {
        let width = isa.narrow.vectors * isa.lanes;
        let (correlation, merged) = correlation.with_groups_merged(width);
        let pointwise = correlation.axes.iter().all(Axis::is_pointwise);
        let scratch_step = correlation.axes.each_ref().map(|axis| axis.stride.min(axis.span()));
        let blocking = Self {
            isa,
            merged,
            panels: Panel::divide(correlation.outputs, isa),
            channel_block: correlation.inputs.min(isa.numbers_in(CHANNEL_BLOCK)),
            in_place: pointwise && !copied && correlation.inputs <= isa.numbers_in(MOST_IN_PLACE),
            scratch_step,
            units: [0; 3],
            strides: Strides::default(),
            segments: Vec::new(),
            correlation,
        };
        Self { units: blocking.divide(pixels[usize::from(pointwise)]), ..blocking }.with_field()
    }

    /// How many units there are to be, for the largest within the limits: of columns first, then
    /// rows, then images.
    fn divide(&self, pixels: usize) -> [usize; 3] {
        let Correlation { batch, inputs, axes: [vertical, horizontal], .. } = &self.correlation;
        let parts = |count: usize, most: usize| even(count.div_ceil(most.max(1))).min(count);
        let per_pixel = (inputs * self.scratch_step[0].max(1) * self.scratch_step[1].max(1)).max(1);
        let pixels = (self.isa.numbers_in(UNIT_BYTES) / per_pixel).clamp(1, pixels);
        // Only rows that are long for lack of others are divided: a margin goes with each part.
        let most = if horizontal.is_pointwise() { pixels.next_multiple_of(14) } else { usize::MAX };
        let column_parts = parts(horizontal.count, most);
        let columns = horizontal.count.div_ceil(column_parts.max(1)).max(1);
        let row_parts = parts(vertical.count, pixels / columns);
        let rows = vertical.count.max(1);
        let images = if row_parts > 1 { *batch } else { parts(*batch, pixels / (columns * rows)) };
        [images, row_parts, column_parts]
    }

    /// How many units there are.
    fn unit_count(&self) -> usize {
        self.units.iter().product()
    }

    /// Images, rows and columns of output pixels of unit `index`.
    fn ranges(&self, index: usize) -> [Range<usize>; 3] {
        let Correlation { batch, axes: [vertical, horizontal], .. } = &self.correlation;
        let [_, rows, columns] = self.units;
        let at = [index / (rows * columns), index / columns % rows, index % columns];
        let counts = [*batch, vertical.count, horizontal.count];
        std::array::from_fn(|i| at[i] * counts[i] / self.units[i]..(at[i] + 1) * counts[i] / self.units[i])
    }

    /// Images, rows and columns of the largest unit.
    fn largest_unit(&self) -> [usize; 3] {
        let Correlation { batch, axes: [vertical, horizontal], .. } = &self.correlation;
        let counts = [*batch, vertical.count, horizontal.count];
        std::array::from_fn(|i| counts[i].div_ceil(self.units[i].max(1)))
    }

    /// The input that a unit sees, and whatever lies between.
    fn seen<'a>(&self, [images, rows, columns]: &[Range<usize>; 3], x: &'a [T]) -> &'a [T] {
        let Correlation { input, axes: [vertical, horizontal], .. } = &self.correlation;
        let pixels = [images.clone(), vertical.seen(rows), horizontal.seen(columns)];
        stretch(x, self.correlation.in_channels(), *input, &pixels)
    }

    /// The blocks of input channels.
    fn channel_blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (inputs, block) = (self.correlation.inputs, self.channel_block.max(1));
        (0..inputs).step_by(block).map(move |start| start..inputs.min(start + block))
    }

    /// The widths of all panels of a group.
    fn panels_width(&self) -> usize {
        self.panels.iter().map(|panel| panel.width).sum()
    }

    /// Elements of the packed weights.
    pub(in crate::ops::conv2d) fn packed_len(&self) -> usize {
        self.correlation.groups * self.panels_width() * self.correlation.terms()
    }

    /// Where the packed weights of a panel begin.
    fn packed_at(&self, group: usize, panel: &Panel) -> usize {
        (group * self.panels_width() + panel.first) * self.correlation.terms()
    }
}

/// The numbers of images of `size` from the first of some pixels to the last.
fn stretch<'a, T>(
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
