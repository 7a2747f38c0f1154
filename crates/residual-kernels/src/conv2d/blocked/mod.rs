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

use super::correlation::{Axis, Correlation, Panel};
use crate::isa::Isa;

/// Channels of a scratch block: 16 pixels of three rows of them fit L1 beside the weights.
const CHANNEL_BLOCK: usize = 64;
/// Up to so many channels a pointwise convolution reads its input in place; more would make the
/// pixels of a tile compete for the same sets of L1.
const MOST_IN_PLACE: usize = 512;
/// Elements of a unit's scratch at most: a quarter of L2 where that has 2 MiB.
const UNIT_ELEMENTS: usize = 128 << 10;

/// How a correlation is divided. Depends on the geometry alone.
#[derive(Debug, Clone)]
pub(in crate::conv2d) struct Blocking {
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
    /// Images, rows and columns of a unit.
    unit: [usize; 3],
}

impl Blocking {
    /// For units of at most `pixels` output pixels.
    pub(in crate::conv2d) fn new(correlation: &Correlation, pixels: usize, isa: &Isa) -> Self {
        let width = isa.narrow.vectors * isa.lanes;
        let (correlation, merged) = correlation.with_groups_merged(width);
        let pointwise = correlation.axes.iter().all(Axis::is_pointwise);
        let scratch_step = correlation.axes.each_ref().map(|axis| axis.stride.min(axis.span()));
        let blocking = Self {
            merged,
            panels: Panel::divide(correlation.outputs, isa),
            channel_block: correlation.inputs.min(CHANNEL_BLOCK),
            in_place: pointwise && correlation.inputs <= MOST_IN_PLACE,
            scratch_step,
            unit: [1; 3],
            correlation,
        };
        Self { unit: blocking.unit(pixels), ..blocking }
    }

    /// The largest unit within the limits: columns first, then rows, then images.
    fn unit(&self, pixels: usize) -> [usize; 3] {
        let Correlation { batch, inputs, axes: [vertical, horizontal], .. } = &self.correlation;
        let even = |count: usize, most: usize| count.div_ceil(count.div_ceil(most.max(1)).max(1)).max(1);
        let per_pixel = (inputs * self.scratch_step[0].max(1) * self.scratch_step[1].max(1)).max(1);
        let pixels = (UNIT_ELEMENTS / per_pixel).clamp(1, pixels);
        // Only rows that are long for lack of others are divided: a margin goes with each part.
        let columns = if horizontal.is_pointwise() {
            even(horizontal.count, pixels.next_multiple_of(14))
        } else {
            horizontal.count.max(1)
        };
        let rows = even(vertical.count, pixels / columns);
        let images = if rows < vertical.count { 1 } else { even(*batch, pixels / (columns * rows)) };
        [images, rows, columns]
    }

    /// How many units there are, along images, rows and columns.
    fn units(&self) -> [usize; 3] {
        let Correlation { batch, axes: [vertical, horizontal], .. } = &self.correlation;
        [
            batch.div_ceil(self.unit[0]),
            vertical.count.div_ceil(self.unit[1]),
            horizontal.count.div_ceil(self.unit[2]),
        ]
    }

    /// Images, rows and columns of output pixels of unit `index`.
    fn ranges(&self, index: usize) -> [Range<usize>; 3] {
        let Correlation { batch, axes: [vertical, horizontal], .. } = &self.correlation;
        let [_, vertical_units, horizontal_units] = self.units();
        let at = [
            index / (vertical_units * horizontal_units),
            index / horizontal_units % vertical_units,
            index % horizontal_units,
        ];
        let counts = [*batch, vertical.count, horizontal.count];
        std::array::from_fn(|i| at[i] * self.unit[i]..counts[i].min((at[i] + 1) * self.unit[i]))
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
    pub(in crate::conv2d) fn packed_len(&self) -> usize {
        self.correlation.groups * self.panels_width() * self.correlation.terms()
    }

    /// Where the packed weights of a panel begin.
    fn packed_at(&self, group: usize, panel: &Panel) -> usize {
        (group * self.panels_width() + panel.first) * self.correlation.terms()
    }
}
