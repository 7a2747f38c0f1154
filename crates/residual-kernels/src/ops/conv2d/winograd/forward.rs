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
        let tile = size.planes() * correlation.inputs;
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

    fn panels_width(&self) -> usize {
        self.panels.iter().map(|panel| panel.width).sum()
    }

    /// Elements of the packed filters.
    pub(in crate::ops::conv2d) fn packed_len(&self) -> usize {
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

    /// Where the packed filters of a panel begin.
    fn packed_at(&self, panel: &Panel) -> usize {
        let before = self.panels.iter().take_while(|before| before.first < panel.first);
        before.map(|before| self.panel_len(before)).sum()
    }

    /// Transforms weights into U, `[panel][ξ][input channel][output channel]`.
    pub(in crate::ops::conv2d) fn pack(&self, weights: &[T], packed: &mut [T]) {
        /// Input channels of a task.
        const INPUTS: usize = 64;
        let Correlation { inputs, weights: at, axes, .. } = &self.correlation;
        assert_eq!(packed.len(), self.packed_len());
        assert_eq!(weights.len(), at.group);
        let packed = Shared::new(packed);
        let tap = |axis: usize| {
            let [first, second] = [0, 1].map(|tap| (axes[axis].taps[tap].index * at.tap[axis]) as isize);
            (first as usize, second - first)
        };
        let ((first_row, tap_row), (first_column, tap_column)) = (tap(0), tap(1));
        let blocks = inputs.div_ceil(INPUTS);
        for_each_task(self.panels.len() * blocks, |task| {
            let (panel, first) = (&self.panels[task / blocks], task % blocks * INPUTS);
            let start = first_row + first_column + panel.first * at.output + first * at.input;
            let filters = Filters {
                weights: weights[start..].as_ptr(),
                tap_row,
                tap_column,
                input: at.input,
                output: at.output,
                inputs: INPUTS.min(inputs - first),
                outputs: panel.columns,
                planes: packed.at(self.packed_at(panel) + first * panel.width),
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
        let Correlation { inputs, outputs, .. } = self.correlation;
        assert_eq!(x.numbers.len(), self.correlation.input_len());
        assert_eq!(packed.len(), self.packed_len());
        assert_eq!(y.len(), self.correlation.output_len());
        let chunks = self.tiling.count().div_ceil(self.chunk);
        let mut partial = with_statistics.then(|| {
            let pixels = |tile| self.tiling.outputs(self.tiling.place(tile)).1.iter().product::<usize>();
            let counts = (0..chunks).map(|chunk| self.chunk_tiles(chunk).map(pixels).sum());
            PartialMoments::new(counts.collect(), self.panels_width())
        });
        let moments = partial.as_mut().map(|partial| {
            let (sums, unit) = partial.as_mut_slice();
            (Shared::new(sums), unit)
        });
        let y = Shared::new(y);
        let finish = |chunk: usize| {
            let mut finish = epilogue.finish(outputs, y);
            if let Some((sums, size)) = &moments {
                finish.moments = sums.at(chunk * size);
                finish.moments_stride = self.panels_width();
            }
            finish
        };

        if chunks < 2 * threads::count() {
            // So few chunks that threads share out the panels, once V is there.
            let pitch = Pitch::tiles_first(self.chunk, inputs, self.tiling.isa);
            let chunk_len = self.tiling.size.planes() * pitch.plane;
            let at_once = (self.most_shared / chunk_len).clamp(1, chunks.max(1));
            let mut v = Buffer::recycled(at_once * chunk_len);
            for first in (0..chunks).step_by(at_once) {
                let count = at_once.min(chunks - first);
                self.transform_chunks(first..first + count, x, &mut v, pitch);
                for_each_task(self.panels.len() * count, |task| {
                    let (panel, chunk) = (&self.panels[task / count], task % count);
                    let v = &v[chunk * chunk_len..][..chunk_len];
                    let chunk = first + chunk;
                    let (tiles, finish) = (self.chunk_tiles(chunk), finish(chunk));
                    self.multiply(tiles, panel, v, pitch, &mut Ahead::new(&[]), packed, y, finish);
                });
            }
        } else {
            for_each_task(chunks, |chunk| {
                let tiles = self.chunk_tiles(chunk);
                let pitch = Pitch::tiles_first(tiles.len(), inputs, self.tiling.isa);
                let mut v = pitch.planes(self.tiling.size);
                let planes = v.as_mut_ptr();
                // SAFETY: the planes were made for these tiles, here.
                unsafe { self.tiling.spread(Side::Inputs, tiles.clone(), x, inputs, planes, pitch) };
                // The same thread will probably have the next chunk.
                let next = (chunk + 1 < chunks).then(|| self.chunk_tiles(chunk + 1));
                let seen = next.map(|next| self.tiling.seen(Side::Inputs, &next, x.numbers, inputs));
                let mut ahead = Ahead::new(seen.unwrap_or_default());
                for panel in &self.panels {
                    self.multiply(tiles.clone(), panel, &v, pitch, &mut ahead, packed, y, finish(chunk));
                }
            });
        }
        partial.map(|partial| partial.merge(self.tiling.isa.set(), outputs, |channel| channel))
    }

    /// The tiles of a chunk.
    fn chunk_tiles(&self, chunk: usize) -> Range<usize> {
        let count = self.tiling.count();
        near_equal_part(count, count.div_ceil(self.chunk), chunk)
    }

    /// V of several chunks, one after the other, with tiles shared out to all threads.
    fn transform_chunks(&self, chunks: Range<usize>, x: Source<'_, T>, v: &mut [T], pitch: Pitch) {
        /// Tiles of a task.
        const TILES: usize = 4;
        let inputs = self.correlation.inputs;
        let chunk_len = self.tiling.size.planes() * pitch.plane;
        assert!(v.len() >= chunks.len() * chunk_len);
        let v = Shared::new(v);
        let parts = self.chunk.div_ceil(TILES);
        for_each_task(chunks.len() * parts, |task| {
            let (chunk, first) = (task / parts, task % parts * TILES);
            let Range { start, end } = self.chunk_tiles(chunks.start + chunk);
            let tiles = end.min(start + first)..end.min(start + first + TILES);
            let planes = v.at(chunk * chunk_len + first * pitch.tile);
            // SAFETY: these tiles' rows of the chunk's planes exist and are this task's own.
            unsafe { self.tiling.spread(Side::Inputs, tiles, x, inputs, planes, pitch) };
        });
    }

    /// The outputs of a chunk of tiles in a panel: M = V · U, y = Aᵀ M A.
    fn multiply(
        &self,
        tiles: Range<usize>,
        panel: &Panel,
        v: &[T],
        v_pitch: Pitch,
        ahead: &mut Ahead<T>,
        packed: &[T],
        y: Shared<'_, T>,
        finish: Finish<T>,
    ) {
        let Correlation { inputs, outputs, output, .. } = self.correlation;
        let size = self.tiling.size;
        let family = panel.family(self.tiling.isa);
        let pitch = Pitch::tiles_first(tiles.len(), panel.width, self.tiling.isa);
        let mut m = pitch.planes(size);
        let m = Shared::new(&mut m);
        assert!(v.len() >= size.planes() * v_pitch.plane && v_pitch.plane >= tiles.len() * v_pitch.tile);
        let filters = &packed[self.packed_at(panel)..][..self.panel_len(panel)];
        let segment = Segment { offset: 0, length: inputs };
        let plane = self.filter_plane(panel);
        for point in 0..size.planes() {
            let (weights, next) = filters[point * plane..].split_at(plane);
            let mut next = Ahead::new(&next[..next.len().min(plane)]);
            for group in near_equal(tiles.len(), family.one_row.len()) {
                let tile = Tile {
                    a: v[point * v_pitch.plane + group.start * v_pitch.tile..].as_ptr(),
                    a_pixel: v_pitch.tile,
                    a_row: 0,
                    segments: &segment,
                    segment_count: 1,
                    weights: weights.as_ptr(),
                    ahead: next
                        .take(inputs / 2)
                        .or_else(|| ahead.take(inputs / 2))
                        .unwrap_or(weights.as_ptr()),
                    out: m.at(point * pitch.plane + group.start * pitch.tile),
                    out_pixel: pitch.tile,
                    out_row: 0,
                    out_is_far: false,
                    columns: panel.width,
                    finish: Finish::NONE,
                };
                // SAFETY: V has a row of inputs and M one of outputs for each tile of the group;
                // the panel has `inputs` rows of weights per point.
                unsafe { family.one_row[group.len() - 1](&tile) };
            }
        }
        for (index, tile) in tiles.clone().enumerate() {
            if tile + 1 < tiles.end {
                let (pixel, [rows, columns]) = self.tiling.outputs(self.tiling.place(tile + 1));
                for i in 0..rows {
                    for j in 0..columns {
                        let out = (pixel + i * output[1] + j) * outputs + panel.first;
                        fetch_to_write(y.at(out), panel.columns);
                    }
                }
            }
            let (pixel, [rows, columns]) = self.tiling.outputs(self.tiling.place(tile));
            let out = pixel * outputs + panel.first;
            let mut finish = finish.at(panel.first, panel.first, out);
            finish.first = index == 0;
            let emit = Emit {
                planes: m.at(index * pitch.tile),
                plane: pitch.plane,
                channels: panel.columns,
                out: y.at(out),
                out_pixel: outputs,
                out_row: output[1] * outputs,
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
