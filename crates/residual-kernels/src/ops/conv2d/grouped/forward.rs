//! The correlation itself: forward, and backward with respect to the data.

use std::ops::Range;

use residual_tensor::{Buffer, Float};

use super::{Correlation, Grouped};
use crate::{
    BatchStatistics,
    engine::{
        caches::Caches,
        isa::{Ahead, Finish, Isa, LaneTile},
        parallel::for_each_task,
        shared::Shared,
        threads,
    },
    ops::conv2d::{
        correlation::near_equal,
        epilogue::{Epilogue, PartialMoments},
        source::Source,
    },
};

/// Output pixels of a unit at most: the scratch of a block stays in the caches.
const UNIT_PIXELS: usize = 448;

impl<T: Float> Grouped<T> {
    /// For the correlation itself.
    pub(in crate::ops::conv2d) fn forward(
        correlation: &Correlation,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        Self::new(correlation, UNIT_PIXELS, caches, isa)
    }

    /// Computes the correlation of `x` with packed weights into the outputs that it covers, and
    /// takes their statistics if asked to.
    pub(in crate::ops::conv2d) fn run(
        &self,
        x: Source<'_, T>,
        packed: &[T],
        y: &mut [T],
        epilogue: &Epilogue<'_, T>,
        with_statistics: bool,
    ) -> Option<BatchStatistics> {
        let correlation = &self.correlation;
        assert_eq!(x.numbers.len(), correlation.input_len());
        assert_eq!(packed.len(), self.packed_len());
        assert_eq!(y.len(), correlation.output_len());
        let (units, blocks) = (self.units.count(), self.blocks.count);
        let moments_width = blocks * self.isa.lanes;
        let mut partial =
            with_statistics.then(|| PartialMoments::new(self.units.pixels().collect(), moments_width));
        let moments = partial.as_mut().map(|partial| {
            let (sums, unit) = partial.as_mut_slice();
            (Shared::new(sums), unit)
        });
        // Where units are few, blocks are shared out as well.
        let shares = threads::count().div_ceil(units.max(1)).clamp(1, blocks.max(1));
        let y = Shared::new(y);
        for_each_task(units * shares, |task| {
            let (unit, share) = (task / shares, task % shares);
            let mut finish = epilogue.finish(correlation.out_channels(), y);
            if let Some((sums, size)) = &moments {
                finish.moments = sums.at(unit * size);
                finish.moments_stride = moments_width;
            }
            // The same thread will probably have the next task.
            let next = (shares == 1 && unit + 1 < units)
                .then(|| self.units.seen(&self.units.ranges(unit + 1), x.numbers));
            let mut ahead = Ahead::new(next.unwrap_or_default());
            let unit = self.units.ranges(unit);
            let mut scratch = Buffer::recycled(self.scratch_len());
            for block in share * blocks / shares..(share + 1) * blocks / shares {
                self.units.copy(&unit, self.inputs(block), x, &mut scratch);
                self.tiles(&unit, block, &scratch, &mut ahead, packed, y, finish);
            }
        });
        partial.map(|partial| {
            let width = self.blocks.groups * correlation.outputs;
            let lanes = self.blocks.per_group * self.isa.lanes;
            let at = |channel| channel / width * lanes + channel % width;
            partial.merge(self.isa.set(), correlation.out_channels(), at)
        })
    }

    /// All tiles of a unit and block.
    fn tiles(
        &self,
        unit: &[Range<usize>; 3],
        block: usize,
        scratch: &[T],
        ahead: &mut Ahead<T>,
        packed: &[T],
        y: Shared<'_, T>,
        finish: Finish<T>,
    ) {
        let [images, rows, columns] = unit;
        let Correlation { output, axes: [vertical, horizontal], .. } = &self.correlation;
        let (channels, outputs) = (self.correlation.out_channels(), self.outputs(block));
        let strides = self.units.strides();
        let kernels = self.isa.of_lanes.tile;
        let weights = &packed[block * self.block_len()..][..self.block_len()];
        let lines = self.units.lines(unit);
        let last = lines.clone().last().unwrap_or(0) + columns.len().saturating_sub(1) * strides.pixel;
        assert!(self.picks.is_empty() || last + self.reach() <= scratch.len());
        let mut first = true;
        let at = images.clone().flat_map(|image| rows.clone().map(move |row| (image, row)));
        for (from, (image, row)) in lines.zip(at) {
            let to_row = image * output[0] + vertical.first + row * vertical.step;
            for pixels in near_equal(columns.len(), kernels.len()) {
                let column = horizontal.first + (columns.start + pixels.start) * horizontal.step;
                let to = (to_row * output[1] + column) * channels + outputs.start;
                let mut finish = finish.at(outputs.start, block * self.isa.lanes, to);
                finish.first = first;
                first = false;
                let tile = LaneTile {
                    a: scratch.as_ptr().wrapping_add(from + pixels.start * strides.pixel),
                    a_pixel: strides.pixel,
                    picks: self.picks.as_ptr(),
                    pick_counts: self.pick_counts,
                    weights: weights.as_ptr(),
                    ahead: ahead.take(pixels.len()).unwrap_or(weights.as_ptr()),
                    out: y.at(to),
                    out_pixel: horizontal.step * channels,
                    columns: outputs.len(),
                    finish,
                };
                // SAFETY: the last pixel's last pick is within scratch, as asserted above; the block has a
                // register of weights for each tap of each pick; outputs of the unit's pixels and the
                // block's channels exist and are this task's own, and so are the moments of the
                // unit and block; bias and addend have been held against the output.
                unsafe { kernels[pixels.len() - 1](&tile) };
            }
        }
    }
}
