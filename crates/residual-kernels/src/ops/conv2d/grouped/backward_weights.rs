//! The gradient with respect to the weights: each lane sums, over pixels, what its weights saw
//! times the gradient of its output.
//!
//! ```text
//! for each part of the units                                           (parallel)
//!     for each unit and block of groups
//!         copy the inputs and the outputs' gradients into scratch
//!         for each few picks: add the sums over the unit's pixels
//! add up the parts, in order
//! ```
//! The sums lie in the order of packed weights. How many parts there are depends on the geometry
//! alone, and so do the bits of the result.

use std::ops::Range;

use residual_tensor::{Buffer, Float, Layout, Tensor};

use super::{Correlation, Grouped};
use crate::{
    engine::{
        caches::Caches,
        isa::{Ahead, Isa, LaneOuter, TAPS},
        parallel::for_each_task,
        shared::Shared,
        threads,
    },
    ops::conv2d::{correlation::near_equal, source::Source, units::stretch},
};

/// Output pixels of a unit at most: what its kernels read stays in the first cache.
const UNIT_PIXELS: usize = 224;

impl<T: Float> Grouped<T> {
    /// For [`backward_weights`](Self::backward_weights).
    pub(in crate::ops::conv2d) fn backward(correlation: &Correlation, isa: &'static Isa<T>) -> Self {
        Self::new(correlation, UNIT_PIXELS, &Caches::FITTED, isa)
    }

    /// Computes the gradient of the weights of a forward pass.
    pub(in crate::ops::conv2d) fn backward_weights(&self, x: Source<'_, T>, dy: &[T], dw: &mut [T]) {
        let correlation = &self.correlation;
        assert_eq!(x.numbers.len(), correlation.input_len());
        assert_eq!(dy.len(), correlation.output_len());
        let (units, blocks) = (self.units.count(), self.blocks.count);
        if self.packed_len() == 0 || units == 0 {
            return dw.fill(T::zero());
        }
        let parts = self.units.parts(self.packed_len());
        let mut sums = Tensor::unfilled([parts, self.packed_len()], Layout::Contiguous);
        let shared = Shared::new(sums.as_mut_slice());
        // Where parts are few, blocks are shared out as well.
        let shares = threads::count().div_ceil(parts).clamp(1, blocks);
        for_each_task(parts * shares, |task| {
            let (part, share) = (task / shares, task % shares);
            let blocks = share * blocks / shares..(share + 1) * blocks / shares;
            let units = part * units / parts..(part + 1) * units / parts;
            self.part(units, blocks, x, dy, &shared, part * self.packed_len());
        });
        self.unpack(sums.as_slice(), dw);
    }

    /// The sums over some units, for some blocks. The part's sums begin at `first`.
    fn part(
        &self,
        units: Range<usize>,
        blocks: Range<usize>,
        x: Source<'_, T>,
        dy: &[T],
        sums: &Shared<'_, T>,
        first: usize,
    ) {
        let mut scratch = Buffer::recycled(self.scratch_len());
        for index in units.clone() {
            let unit = self.units.ranges(index);
            let pixels = unit.iter().map(|range| range.len()).product::<usize>();
            let mut gradients = Buffer::recycled(pixels * self.isa.lanes);
            let mut ahead = [&[][..]; 2];
            if index + 1 < units.end {
                let next = self.units.ranges(index + 1);
                let Correlation { output, .. } = self.correlation;
                let gradients = stretch(dy, self.correlation.out_channels(), output, &next);
                ahead = [self.units.seen(&next, x.numbers), gradients];
            }
            let mut ahead = ahead.map(Ahead::new);
            for block in blocks.clone() {
                self.units.copy(&unit, self.inputs(block), x, &mut scratch);
                self.units.copy_outputs(&unit, self.outputs(block), dy, &mut gradients, self.isa.lanes);
                let sums = sums.at(first + block * self.block_len());
                self.products(&unit, &scratch, &gradients, &mut ahead, sums, index > units.start);
            }
        }
    }

    /// Writes the products of one unit to the sums of a block, or adds them.
    fn products(
        &self,
        unit: &[Range<usize>; 3],
        scratch: &[T],
        gradients: &[T],
        [inputs_ahead, gradients_ahead]: &mut [Ahead<T>; 2],
        sums: *mut T,
        add: bool,
    ) {
        let lines: Vec<usize> = self.units.lines(unit).collect();
        let (columns, strides) = (unit[2].len(), self.units.strides());
        let Some(last) = lines.last() else { return };
        let (last, pixels) = (last + columns.saturating_sub(1) * strides.pixel, lines.len() * columns);
        assert!(last + self.reach() <= scratch.len());
        assert!(gradients.len() >= pixels * self.isa.lanes);
        let [several, single] = self.pick_counts;
        let kernels = &self.isa.of_lanes;
        let mut sums = sums;
        for (picks, taps, kernels) in
            [(0..several, TAPS, kernels.outer_taps), (several..several + single, 1, kernels.outer)]
        {
            for some in near_equal(picks.len(), kernels.len()) {
                let outer = LaneOuter {
                    a: scratch.as_ptr(),
                    a_lines: lines.as_ptr(),
                    a_pixel: strides.pixel,
                    picks: self.picks[picks.start + some.start..].as_ptr(),
                    b: gradients.as_ptr(),
                    lines: lines.len(),
                    pixels: columns,
                    ahead: inputs_ahead
                        .take(pixels)
                        .or_else(|| gradients_ahead.take(pixels))
                        .unwrap_or(gradients.as_ptr()),
                    sums,
                    add,
                };
                // SAFETY: the last pixel's last pick is within scratch and all gradients are there,
                // as asserted above; the block has a register of sums for each tap of each pick.
                unsafe { kernels[some.len() - 1](&outer) };
                sums = sums.wrapping_add(some.len() * taps * self.isa.lanes);
            }
        }
    }
}
