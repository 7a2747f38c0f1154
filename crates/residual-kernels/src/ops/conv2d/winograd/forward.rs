//! Winograd forward, and backward with respect to the data, which is the same with rotated
//! filters.

use std::ops::Range;

use residual_tensor::{Buffer, Float};

use super::tiling::{PLANE_PADDING, Pitch, Side, TileSize, Tiling};
use crate::{
    BatchStatistics,
    engine::{
        caches::Caches,
        isa::{Ahead, Emit, Filters, Finish, Isa, Segment, Tile, fetch_to_write},
        parallel::for_each_task,
        shared::Shared,
        threads,
    },
    ops::conv2d::{
        correlation::{Correlation, Panel, even, near_equal, near_equal_part},
        epilogue::{Epilogue, PartialMoments},
        source::Source,
    },
};

/// Bytes of the V that threads share at most, unless half of the last cache is less.
const MOST_SHARED: usize = 16 << 20;

/// How a correlation is divided. Depends on the geometry and on the caches that it is made for.
#[derive(Debug, Clone)]
pub(in crate::ops::conv2d) struct Winograd<T: Float> {
    correlation: Correlation,
    tiling: Tiling<T>,
    panels: Vec<Panel>,
    /// Tiles of a chunk.
    chunk: usize,
    /// Elements of the V that threads share at most.
    most_shared: usize,
}

impl<T: Float> Winograd<T> {
    pub(in crate::ops::conv2d) fn new(
        correlation: &Correlation,
        size: TileSize,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        let tiling = Tiling::new(correlation, size, isa);
        // Tiles of a chunk, in rows of about 14 that suit the kernels: two rows where U stays in
        // L2, one where only V does, four where neither does and both stream.
        let pixels = isa.wide.one_row.len();
        let row = (14 / pixels).max(1) * pixels;
        let block = tiling.block_groups();
        let tile = size.planes() * correlation.inputs * block;
        let rows = match () {
            _ if tile * correlation.outputs <= isa.numbers_in(caches.l2 / 2) => 2,
            _ if tile * 14 <= isa.numbers_in(caches.l2 / 3) => 1,
            _ => 4,
        };
        let chunk = match tiling.count() {
            // A few tiles more are better than to go through the filters twice.
            count if count <= rows * row * 8 / 7 => count.max(1),
            count => count.div_ceil(even(count.div_ceil(rows * row))),
        };
        let panels = Panel::divide(correlation.outputs, isa);
        let most_shared = isa.numbers_in(MOST_SHARED.min(caches.last / 2));
        Self { correlation: correlation.clone(), panels, tiling, chunk, most_shared }
    }

    /// The widths of all panels of a group.
    fn panels_width(&self) -> usize {
        self.panels.iter().map(|panel| panel.width).sum()
    }

    /// Elements of the packed filters.
    pub(in crate::ops::conv2d) fn packed_len(&self) -> usize {
        self.correlation.groups * self.group_len()
    }

    /// Elements of the packed filters of a group.
    fn group_len(&self) -> usize {
        self.panels.iter().map(|panel| self.panel_len(panel)).sum()
    }

    /// From one point of a panel's packed filters to the next.
    fn filter_plane(&self, panel: &Panel) -> usize {
        self.correlation.inputs * panel.width + self.tiling.isa.numbers_in(PLANE_PADDING)
    }

    /// Elements of a panel's packed filters.
    fn panel_len(&self, panel: &Panel) -> usize {
        self.tiling.size.planes() * self.filter_plane(panel)
    }

    /// Where the packed filters of a group's panel begin.
    fn packed_at(&self, group: usize, panel: &Panel) -> usize {
        let before = self.panels.iter().take_while(|before| before.first < panel.first);
        group * self.group_len() + before.map(|before| self.panel_len(before)).sum::<usize>()
    }

    /// Transforms weights into U, `[group][panel][ξ][input channel][output channel]`.
    pub(in crate::ops::conv2d) fn pack(&self, weights: &[T], packed: &mut [T]) {
        /// Input channels of a task.
        const INPUTS: usize = 64;
        let Correlation { groups, inputs, weights: at, axes, .. } = &self.correlation;
        assert_eq!(packed.len(), self.packed_len());
        assert_eq!(weights.len(), groups * at.group);
        let packed = Shared::new(packed);
        let tap = |axis: usize| {
            let [first, second] = [0, 1].map(|tap| (axes[axis].taps[tap].index * at.tap[axis]) as isize);
            (first as usize, second - first)
        };
        let ((first_row, tap_row), (first_column, tap_column)) = (tap(0), tap(1));
        let blocks = inputs.div_ceil(INPUTS);
        let per_group = self.panels.len() * blocks;
        for_each_task(groups * per_group, |task| {
            let (group, task) = (task / per_group, task % per_group);
            let (panel, first) = (&self.panels[task / blocks], task % blocks * INPUTS);
            let start =
                group * at.group + (first_row + first_column + panel.first * at.output + first * at.input);
            let filters = Filters {
                weights: weights[start..].as_ptr(),
                tap_row,
                tap_column,
                input: at.input,
                output: at.output,
                inputs: INPUTS.min(inputs - first),
                outputs: panel.columns,
                planes: packed.at(self.packed_at(group, panel) + first * panel.width),
                plane: self.filter_plane(panel),
                block: panel.width,
            };
            // SAFETY: the strides stay within the weights, whose length was asserted; the rows of
            // the panel in all planes are this task's own.
            unsafe { (self.tiling.size.transforms(self.tiling.isa).filter)(&filters) };
        });
    }

    /// Computes the correlation of `x` with packed filters, and the statistics of the outputs
    /// if asked to.
    pub(in crate::ops::conv2d) fn run(
        &self,
        x: Source<'_, T>,
        packed: &[T],
        y: &mut [T],
        epilogue: &Epilogue<'_, T>,
        with_statistics: bool,
    ) -> Option<BatchStatistics> {
        let Correlation { inputs, outputs, groups, .. } = self.correlation;
        assert_eq!(x.numbers.len(), self.correlation.input_len());
        assert_eq!(packed.len(), self.packed_len());
        assert_eq!(y.len(), self.correlation.output_len());
        let chunks = self.tiling.count().div_ceil(self.chunk);
        let blocks = self.tiling.blocks();
        let moments_width = groups * self.panels_width();
        let mut partial = with_statistics.then(|| {
            let pixels = |tile| self.tiling.outputs(self.tiling.place(tile)).1.iter().product::<usize>();
            let counts = (0..chunks).map(|chunk| self.chunk_tiles(chunk).map(pixels).sum());
            PartialMoments::new(counts.collect(), moments_width)
        });
        let moments = partial.as_mut().map(|partial| {
            let (sums, unit) = partial.as_mut_slice();
            (Shared::new(sums), unit)
        });
        let y = Shared::new(y);
        let finish = |chunk: usize| {
            let mut finish = epilogue.finish(self.correlation.out_channels(), y);
            if let Some((sums, size)) = &moments {
                finish.moments = sums.at(chunk * size);
                finish.moments_stride = moments_width;
            }
            finish
        };

        // A unit is a chunk of tiles in a block of groups; those of a block are neighbours.
        let units = blocks * chunks;
        let unit = |unit: usize| (self.tiling.block(unit / chunks), unit % chunks);
        let block_inputs = self.tiling.block_groups() * inputs;
        if units < 2 * threads::count() {
            // So few units that threads share out the panels, once V is there.
            let pitch = Pitch::tiles_first(self.chunk, block_inputs, self.tiling.isa);
            let unit_len = self.tiling.size.planes() * pitch.plane;
            let at_once = (self.most_shared / unit_len).clamp(1, units.max(1));
            let mut v = Buffer::recycled(at_once * unit_len);
            for first in (0..units).step_by(at_once) {
                let count = at_once.min(units - first);
                self.transform_units(count, |index| unit(first + index), x, &mut v, pitch);
                for_each_task(self.panels.len() * self.tiling.block_groups() * count, |task| {
                    let (task, index) = (task / count, task % count);
                    let (within, panel) = (task / self.panels.len(), &self.panels[task % self.panels.len()]);
                    let (groups, chunk) = unit(first + index);
                    if within >= groups.len() {
                        return;
                    }
                    let v = Transformed { planes: &v[index * unit_len..][..unit_len], pitch, within };
                    let (group, tiles) = (groups.start + within, self.chunk_tiles(chunk));
                    self.multiply(tiles, group, panel, v, &mut Ahead::new(&[]), packed, y, finish(chunk));
                });
            }
        } else {
            for_each_task(units, |index| {
                let (groups, chunk) = unit(index);
                let tiles = self.chunk_tiles(chunk);
                let pitch = Pitch::tiles_first(tiles.len(), block_inputs, self.tiling.isa);
                let mut v = pitch.planes(self.tiling.size);
                let planes = v.as_mut_ptr();
                // SAFETY: the planes were made for these tiles, here.
                unsafe { self.tiling.spread(Side::Inputs, tiles.clone(), &groups, x, planes, pitch) };
                // The same thread will probably have the next unit. Of a block, most of what is seen belongs
                // to others.
                let next = (blocks == 1 && index + 1 < units).then(|| self.chunk_tiles(index + 1));
                let seen = next.map(|next| self.tiling.seen(Side::Inputs, &next, x.numbers));
                let mut ahead = Ahead::new(seen.unwrap_or_default());
                for (within, group) in groups.clone().enumerate() {
                    for panel in &self.panels {
                        let v = Transformed { planes: &v, pitch, within };
                        let tiles = tiles.clone();
                        self.multiply(tiles, group, panel, v, &mut ahead, packed, y, finish(chunk));
                    }
                }
            });
        }
        partial.map(|partial| {
            partial.merge(self.tiling.isa.set(), self.correlation.out_channels(), |channel| {
                channel / outputs * self.panels_width() + channel % outputs
            })
        })
    }

    /// The tiles of a chunk.
    fn chunk_tiles(&self, chunk: usize) -> Range<usize> {
        let count = self.tiling.count();
        near_equal_part(count, count.div_ceil(self.chunk), chunk)
    }

    /// V of so many units, each some groups and a chunk, one after the other, with tiles shared out to all threads.
    fn transform_units(
        &self,
        units: usize,
        unit: impl Fn(usize) -> (Range<usize>, usize) + Sync,
        x: Source<'_, T>,
        v: &mut [T],
        pitch: Pitch,
    ) {
        /// Tiles of a task.
        const TILES: usize = 4;
        let unit_len = self.tiling.size.planes() * pitch.plane;
        assert!(v.len() >= units * unit_len);
        let v = Shared::new(v);
        let parts = self.chunk.div_ceil(TILES);
        for_each_task(units * parts, |task| {
            let (index, first) = (task / parts, task % parts * TILES);
            let (groups, chunk) = unit(index);
            let Range { start, end } = self.chunk_tiles(chunk);
            let tiles = end.min(start + first)..end.min(start + first + TILES);
            let planes = v.at(index * unit_len + first * pitch.tile);
            // SAFETY: these tiles' rows of the unit's planes exist and are this task's own.
            unsafe { self.tiling.spread(Side::Inputs, tiles, &groups, x, planes, pitch) };
        });
    }

    /// The outputs of a chunk of tiles in a group's panel: M = V · U, y = Aᵀ M A.
    fn multiply(
        &self,
        tiles: Range<usize>,
        group: usize,
        panel: &Panel,
        Transformed { planes: v, pitch: v_pitch, within }: Transformed<'_, T>,
        ahead: &mut Ahead<T>,
        packed: &[T],
        y: Shared<'_, T>,
        finish: Finish<T>,
    ) {
        let Correlation { inputs, outputs, output, .. } = self.correlation;
        let (channels, first_channel) = (self.correlation.out_channels(), group * outputs + panel.first);
        let size = self.tiling.size;
        let family = panel.family(self.tiling.isa);
        let pitch = Pitch::tiles_first(tiles.len(), panel.width, self.tiling.isa);
        let mut m = pitch.planes(size);
        let m = Shared::new(&mut m);
        assert!(v.len() >= size.planes() * v_pitch.plane && v_pitch.plane >= tiles.len() * v_pitch.tile);
        assert!((within + 1) * inputs <= v_pitch.tile);
        let filters = &packed[self.packed_at(group, panel)..][..self.panel_len(panel)];
        let segment = Segment { offset: 0, length: inputs };
        let plane = self.filter_plane(panel);
        for point in 0..size.planes() {
            let (weights, next) = filters[point * plane..].split_at(plane);
            let mut next = Ahead::new(&next[..next.len().min(plane)]);
            for some in near_equal(tiles.len(), family.one_row.len()) {
                let tile = Tile {
                    a: v[point * v_pitch.plane + some.start * v_pitch.tile + within * inputs..].as_ptr(),
                    a_pixel: v_pitch.tile,
                    a_row: 0,
                    segments: &segment,
                    segment_count: 1,
                    weights: weights.as_ptr(),
                    ahead: next
                        .take(inputs / 2)
                        .or_else(|| ahead.take(inputs / 2))
                        .unwrap_or(weights.as_ptr()),
                    out: m.at(point * pitch.plane + some.start * pitch.tile),
                    out_pixel: pitch.tile,
                    out_row: 0,
                    out_is_far: false,
                    columns: panel.width,
                    finish: Finish::NONE,
                };
                // SAFETY: V has a row of inputs and M one of outputs for each of these tiles; the panel
                // has `inputs` rows of weights per point.
                unsafe { family.one_row[some.len() - 1](&tile) };
            }
        }
        for (index, tile) in tiles.clone().enumerate() {
            if tile + 1 < tiles.end {
                let (pixel, [rows, columns]) = self.tiling.outputs(self.tiling.place(tile + 1));
                for i in 0..rows {
                    for j in 0..columns {
                        let out = (pixel + i * output[1] + j) * channels + first_channel;
                        fetch_to_write(y.at(out), panel.columns);
                    }
                }
            }
            let (pixel, [rows, columns]) = self.tiling.outputs(self.tiling.place(tile));
            let out = pixel * channels + first_channel;
            let mut finish = finish.at(first_channel, group * self.panels_width() + panel.first, out);
            finish.first = index == 0;
            let emit = Emit {
                planes: m.at(index * pitch.tile),
                plane: pitch.plane,
                channels: panel.columns,
                out: y.at(out),
                out_pixel: channels,
                out_row: output[1] * channels,
                rows,
                columns,
                finish,
            };
            // SAFETY: M has a row for each tile, in whole registers; the tile's existing outputs
            // in this panel are in y and this task's own, and so are the moments; bias and addend
            // have been held against the output.
            unsafe { (size.transforms(self.tiling.isa).output)(&emit) };
        }
    }
}

/// V of the tiles of a unit, of which one group of the block is wanted.
#[derive(Clone, Copy)]
struct Transformed<'a, T> {
    planes: &'a [T],
    pitch: Pitch,
    /// The group's number within the block.
    within: usize,
}
