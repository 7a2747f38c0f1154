//! The correlation itself: forward, and backward with respect to the data.

use std::ops::Range;

use residual_tensor::{Buffer, Float};

use super::{Blocking, Correlation, Panel};
use crate::{
    BatchStatistics,
    engine::{
        caches::Caches,
        isa::{Ahead, Finish, Isa, Tile},
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

/// Output pixels of a unit at most.
const UNIT_PIXELS: usize = 800;
/// The same where each sees one input pixel only: inputs and outputs stay in the second cache
/// while the panels go by, and nothing is gained from neighbours.
const UNIT_PIXELS_POINTWISE: usize = 112;

impl<T: Float> Blocking<T> {
    /// For the correlation itself, of an input that is `normalized` on the way or not.
    pub(in crate::ops::conv2d) fn forward(
        correlation: &Correlation,
        normalized: bool,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        Self::new(correlation, [UNIT_PIXELS, UNIT_PIXELS_POINTWISE], normalized, caches, isa)
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
        let units = self.units.count();
        let moments_width = correlation.groups * self.panels_width();
        let mut partial =
            with_statistics.then(|| PartialMoments::new(self.units.pixels().collect(), moments_width));
        let moments = partial.as_mut().map(|partial| {
            let (sums, unit) = partial.as_mut_slice();
            (Shared::new(sums), unit)
        });

        // Where units are few, panels are shared out as well, which may cost copying scratch again.
        let panels = correlation.groups * self.panels.len();
        let tasks = if self.units.are_in_place() { 2 } else { 1 } * threads::count();
        let shares = tasks.div_ceil(units.max(1)).clamp(1, panels.max(1));
        let y = Shared::new(y);
        for_each_task(units * shares, |task| {
            let (unit, share) = (task / shares, task % shares);
            let mut finish = epilogue.finish(correlation.out_channels(), y);
            if let Some((sums, size)) = &moments {
                finish.moments = sums.at(unit * size);
                finish.moments_stride = moments_width;
            }
            let panels = share * panels / shares..(share + 1) * panels / shares;
            // The same thread will probably have the next task.
            let next = (shares == 1 && unit + 1 < units)
                .then(|| self.units.seen(&self.units.ranges(unit + 1), x.numbers));
            let ahead = Ahead::new(next.unwrap_or_default());
            self.unit_panels(self.units.ranges(unit), panels, x, ahead, packed, y, finish);
        });
        partial.map(|partial| {
            partial.merge(self.isa.set(), correlation.out_channels(), |channel| {
                let (group, channel) = (channel / correlation.outputs, channel % correlation.outputs);
                group * self.panels_width() + channel
            })
        })
    }

    /// One unit of pixels, for panels numbered through all groups. Fetches `ahead` what will be read
    /// after it.
    fn unit_panels(
        &self,
        unit: [Range<usize>; 3],
        panels: Range<usize>,
        x: Source<'_, T>,
        mut ahead: Ahead<T>,
        packed: &[T],
        y: Shared<'_, T>,
        finish: Finish<T>,
    ) {
        let mut scratch = Buffer::recycled(self.units.scratch_len());
        let mut current = None;
        for index in panels {
            let (group, panel) = (index / self.panels.len(), &self.panels[index % self.panels.len()]);
            if current != Some(group) {
                current = Some(group);
                self.units.copy(&unit, self.inputs(group), x, &mut scratch);
            }
            let source = if self.units.are_in_place() { x.numbers } else { &scratch };
            self.tiles(&unit, group, panel, source, &mut ahead, packed, y, finish);
        }
    }

    /// All tiles of a unit and a panel.
    fn tiles(
        &self,
        unit: &[Range<usize>; 3],
        group: usize,
        panel: &Panel,
        source: &[T],
        ahead: &mut Ahead<T>,
        packed: &[T],
        y: Shared<'_, T>,
        finish: Finish<T>,
    ) {
        let [images, rows, columns] = unit;
        let Correlation { output, axes: [vertical, horizontal], .. } = &self.correlation;
        let channels = self.correlation.out_channels();
        let channel = self.outputs(group, panel).start;
        let strides = self.units.strides();
        let family = panel.family(self.isa);
        let pair = columns.len() <= family.two_rows.len();
        let lines = images.len() * rows.len();

        let start = self.units.start(unit, self.inputs(group).start);
        let from = |line: usize| start + line / rows.len() * strides.image + line % rows.len() * strides.row;
        let to = |line: usize| {
            let image = images.start + line / rows.len();
            let row = vertical.first + (rows.start + line % rows.len()) * vertical.step;
            let column = horizontal.first + columns.start * horizontal.step;
            ((image * output[0] + row) * output[1] + column) * channels + channel
        };
        let reach = self.segments.iter().map(|segment| segment.offset + segment.length).max().unwrap_or(0);
        let last = |count: usize, step: usize| count.saturating_sub(1) * step;
        assert!(lines == 0 || from(lines - 1) + last(columns.len(), strides.pixel) + reach <= source.len());

        let terms = self.correlation.terms();
        let (weights, next) = packed[self.packed_at(group, panel)..].split_at(panel.width * terms);
        let mut next = Ahead::new(&next[..next.len().min(weights.len())]);
        let moments_channel = group * self.panels_width() + panel.first;
        let mut line = 0;
        while line < lines {
            let rows = if pair && line + 1 < lines { 2 } else { 1 };
            let kernels = if rows == 2 { family.two_rows } else { family.one_row };
            let (a, out) = (from(line), to(line));
            let [a_row, out_row] = if rows == 2 { [from(line + 1) - a, to(line + 1) - out] } else { [0; 2] };
            for pixels in near_equal(columns.len(), kernels.len()) {
                let out = out + pixels.start * horizontal.step * channels;
                let mut finish = finish.at(channel, moments_channel, out);
                finish.first = line == 0 && pixels.start == 0;
                let tile = Tile {
                    a: source.as_ptr().wrapping_add(a + pixels.start * strides.pixel),
                    a_pixel: strides.pixel,
                    a_row,
                    segments: self.segments.as_ptr(),
                    segment_count: self.segments.len(),
                    weights: weights.as_ptr(),
                    ahead: next.take(terms / 2).or_else(|| ahead.take(terms / 2)).unwrap_or(weights.as_ptr()),
                    out: y.at(out),
                    out_pixel: horizontal.step * channels,
                    out_row,
                    out_is_far: true,
                    columns: panel.columns,
                    finish,
                };
                // SAFETY: the last pixel's last segment is within the source, as asserted above;
                // the panel has `terms` rows of weights; outputs of the unit's pixels and the
                // panel's channels exist and are this task's own, and so are the moments of the
                // unit and panel; bias and addend have been held against the output.
                unsafe { kernels[pixels.len() - 1](&tile) };
            }
            line += rows;
        }
    }
}
