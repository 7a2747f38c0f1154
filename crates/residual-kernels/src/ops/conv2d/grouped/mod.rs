//! Convolution of groups of few channels: a register holds the output channels of several groups.
//!
//! ```text
//! for each unit of output pixels                                       (parallel)
//!     for each block of groups that fill a register
//!         copy its inputs, padding as zeros, into scratch: [image][row][column][channel]
//!         for each tile of neighbouring pixels
//!             sum over taps and the inputs of a group in registers, finish, store
//! ```
//! Lane l of a register belongs to group l / outputs of the block, and sums over the inputs of that
//! group alone: [`Pick`]s say where these are. (`blocked` leaves lanes without work where a group has
//! fewer outputs than a register has lanes.)
//!
//! **Decision.** Lanes are rearranged in the kernels, once for three taps where these are neighbours.
//! **Rejected.** Once for all taps, in the scratch: it would grow by as many times as a group has
//! inputs, and no longer fit the first cache. Neighbouring groups as one, with weights of zero between
//! them: of the products, 3 in 4 were with zeros for groups of four, 15 in 16 for groups of one.
//!
//! Handles every geometry, as [`Correlation`]s. Where a group fills a register by itself, `blocked`
//! is faster: it reads an input once for several registers of outputs. Each output is summed in
//! the same order whatever the units and threads are.

mod backward_weights;
mod forward;
mod pack;

use std::ops::Range;

use residual_tensor::Float;

use super::{
    correlation::{Axis, Correlation, Tap},
    units::{Reading, Units},
};
use crate::engine::{
    caches::Caches,
    isa::{Isa, Pick, TAPS},
};

/// How a correlation in groups is divided. Depends on the geometry and on the caches that it is made
/// for.
#[derive(Debug, Clone)]
pub(in crate::ops::conv2d) struct Grouped<T: Float> {
    isa: &'static Isa<T>,
    correlation: Correlation,
    blocks: Blocks,
    units: Units<T>,
    /// What the lanes of a block take: for [`TAPS`] taps at once, then for one tap each.
    picks: Vec<Pick>,
    /// How many picks there are of either kind.
    pick_counts: [usize; 2],
    /// For each tap of each pick, the weight of a group's first output.
    weights: Vec<usize>,
}

impl<T: Float> Grouped<T> {
    fn new(correlation: &Correlation, pixels: usize, caches: &Caches, isa: &'static Isa<T>) -> Self {
        let blocks = Blocks::new(correlation, isa);
        let block = blocks.groups * correlation.inputs;
        let reading = Reading::Copied { channels: block, block };
        let units = Units::new(correlation, pixels, reading, caches, isa);
        let mut grouped = Self {
            isa,
            correlation: correlation.clone(),
            blocks,
            units,
            picks: Vec::new(),
            pick_counts: [0; 2],
            weights: Vec::new(),
        };
        grouped.pick_counts[0] = grouped.add_picks(TAPS);
        grouped.pick_counts[1] = grouped.add_picks(1);
        grouped
    }

    /// Adds the picks for runs of so many taps, and says how many they are.
    fn add_picks(&mut self, taps: usize) -> usize {
        let Correlation { inputs, outputs, weights: at, axes: [vertical, horizontal], .. } =
            &self.correlation;
        let before = self.picks.len();
        for row in &vertical.taps {
            for run in runs(horizontal).filter(|run| run.len() == taps) {
                let address = self.units.offset(0, row, &run[0]);
                for input in 0..*inputs {
                    // A single group may have more inputs than a register.
                    let [offset, first] = if self.blocks.groups == 1 { [input, 0] } else { [0, input] };
                    let lane = |lane: usize| match lane / outputs.max(&1) {
                        group if group < self.blocks.groups => group * inputs + first,
                        _ => first,
                    };
                    self.picks.push(Pick {
                        offset: address + offset,
                        lanes: std::array::from_fn(|l| if l < self.isa.lanes { lane(l) as u8 } else { 0 }),
                    });
                    let weight = |tap| self.correlation.tap_weights(row, tap) + input * at.input;
                    self.weights.extend(run.iter().map(weight));
                }
            }
        }
        self.picks.len() - before
    }

    /// The groups of a block.
    fn groups(&self, block: usize) -> Range<usize> {
        let first = block / self.blocks.per_group * self.blocks.groups;
        first..self.correlation.groups.min(first + self.blocks.groups)
    }

    /// The output channels of a block.
    fn outputs(&self, block: usize) -> Range<usize> {
        let (groups, outputs) = (self.groups(block), self.correlation.outputs);
        let first = groups.start * outputs + block % self.blocks.per_group * self.isa.lanes;
        first..(groups.end * outputs).min(first + self.isa.lanes)
    }

    /// Elements of the packed weights of a block.
    fn block_len(&self) -> usize {
        self.weights.len() * self.isa.lanes
    }

    /// Elements of the packed weights.
    pub(in crate::ops::conv2d) fn packed_len(&self) -> usize {
        self.blocks.count * self.block_len()
    }

    /// The input channels of a block.
    fn inputs(&self, block: usize) -> Range<usize> {
        let groups = self.groups(block);
        groups.start * self.correlation.inputs..groups.end * self.correlation.inputs
    }

    /// Elements of a unit's and block's scratch: kernels read whole registers, whatever the block has.
    fn scratch_len(&self) -> usize {
        self.units.scratch_len() + self.isa.lanes
    }

    /// How many elements kernels may read from the address of a pixel.
    fn reach(&self) -> usize {
        let furthest = |picks: &[Pick]| picks.iter().map(|pick| pick.offset).max().unwrap_or(0);
        let (several, single) = self.picks.split_at(self.pick_counts[0]);
        let last_tap = if several.is_empty() { 0 } else { (TAPS - 1) * self.units.strides().pixel };
        (furthest(several) + last_tap).max(furthest(single)) + self.isa.lanes
    }
}

/// How output channels are divided into blocks of a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    /// Groups of a block: as many as a register has room for on both sides. The last block may have
    /// fewer.
    groups: usize,
    /// Blocks of a group that does not fit one.
    per_group: usize,
    /// How many blocks there are.
    pub(super) count: usize,
}

impl Blocks {
    pub(super) fn new<T: Float>(correlation: &Correlation, isa: &Isa<T>) -> Self {
        let channels = correlation.inputs.max(correlation.outputs).max(1);
        let groups = (isa.lanes / channels).clamp(1, correlation.groups.max(1));
        let per_group = correlation.outputs.div_ceil(isa.lanes).max(1);
        Self { groups, per_group, count: correlation.groups.div_ceil(groups) * per_group }
    }
}

/// The taps of an axis in runs of [`TAPS`] that see neighbouring inputs, as neighbouring outputs do
/// under the same tap, and of one.
fn runs(axis: &Axis) -> impl Iterator<Item = &[Tap]> {
    let mut taps = &axis.taps[..];
    std::iter::from_fn(move || {
        let is_run = |run: &[Tap]| run.windows(2).all(|pair| pair[1].offset - pair[0].offset == 1);
        let length = match taps.get(..TAPS) {
            Some(run) if axis.stride == 1 && is_run(run) => TAPS,
            _ => taps.len().min(1),
        };
        let (run, rest) = taps.split_at(length);
        taps = rest;
        (!run.is_empty()).then_some(run)
    })
}
