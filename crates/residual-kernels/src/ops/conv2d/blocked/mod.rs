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

use std::ops::Range;

use residual_tensor::Float;

use super::{
    correlation::{Axis, Correlation, Panel},
    units::{Reading, Units},
};
use crate::engine::{
    caches::Caches,
    isa::{Isa, Segment},
};

/// Bytes of a pixel's channels in a scratch block: 16 pixels of three rows fit L1 beside the weights.
const CHANNEL_BLOCK: usize = 256;

/// How a correlation is divided. Depends on the geometry and on the caches that it is made for.
#[derive(Debug, Clone)]
pub(in crate::ops::conv2d) struct Blocking<T: Float> {
    isa: &'static Isa<T>,
    correlation: Correlation,
    panels: Vec<Panel>,
    units: Units<T>,
    /// What a pixel sees, from its own address.
    segments: Vec<Segment>,
}

impl<T: Float> Blocking<T> {
    /// For units of at most so many output `pixels`: where each sees several inputs, and where it sees
    /// one. An input that is to be `copied` is so even where it could be read in place.
    fn new(
        correlation: &Correlation,
        pixels: [usize; 2],
        copied: bool,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        let inputs = correlation.inputs;
        // Pixels that are further apart would compete for the same lines of L1.
        let most_in_place = isa.numbers_in(caches.l1_way / 2);
        let apart = correlation.axes[1].stride.saturating_mul(correlation.in_channels());
        let pointwise = correlation.axes.iter().all(Axis::is_pointwise);
        let in_place = pointwise && !copied && apart <= most_in_place;
        let reading = if in_place {
            Reading::InPlace
        } else {
            Reading::Copied { channels: inputs, block: inputs.min(isa.numbers_in(CHANNEL_BLOCK)) }
        };
        let units = Units::new(correlation, pixels[usize::from(pointwise)], reading, caches, isa);
        Self {
            isa,
            correlation: correlation.clone(),
            panels: Panel::divide(correlation.outputs, isa),
            segments: segments(correlation, &units),
            units,
        }
    }

    /// The input channels of a group.
    fn inputs(&self, group: usize) -> Range<usize> {
        group * self.correlation.inputs..(group + 1) * self.correlation.inputs
    }

    /// The output channels of a group that a panel computes.
    fn outputs(&self, group: usize, panel: &Panel) -> Range<usize> {
        let first = group * self.correlation.outputs + panel.first;
        first..first + panel.columns
    }

    /// The widths of all panels of a group.
    fn panels_width(&self) -> usize {
        self.panels.iter().map(|panel| panel.width).sum()
    }

    /// The channels of a group in the blocks that packed weights have them in.
    pub(in crate::ops::conv2d) fn channel_blocks(&self) -> impl Iterator<Item = Range<usize>> {
        self.units.channel_blocks()
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

/// What a pixel sees: for each block of channels and each tap the block's channels. Neighbours in
/// memory are taken together.
fn segments<T: Float>(correlation: &Correlation, units: &Units<T>) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for (block, channels) in units.channel_blocks().enumerate() {
        for (row, column) in correlation.taps() {
            let offset = units.offset(block, row, column);
            match segments.last_mut() {
                Some(last) if last.offset + last.length == offset => last.length += channels.len(),
                _ => segments.push(Segment { offset, length: channels.len() }),
            }
        }
    }
    segments
}
