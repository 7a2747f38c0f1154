//! Winograd's gradient of the weights: sums over tiles are made in the transform domain and
//! transformed back once.
//!
//! dU[ξ] = V[ξ]ᵀ Z[ξ] is N² matrices in each group. While those of a block of groups all fit the second
//! cache, parts of the tiles are summed by one thread each, chunk by chunk, and the parts added up in the
//! end ([`in_parts`](WinogradGradient::in_parts)). Otherwise V and Z of many tiles are made first, and
//! then threads share out the points, each of which fits the second cache by itself, one group after the
//! other ([`in_points`](WinogradGradient::in_points)).

use std::ops::Range;

use residual_tensor::{Float, Layout, Tensor};

use super::tiling::{PLANE_PADDING, Pitch, Side, TileSize, Tiling};
use crate::{
    engine::{
        caches::Caches,
        isa::{FilterGradients, Isa, Outer, Sums},
        parallel::for_each_task,
        shared::Shared,
    },
    ops::conv2d::{
        correlation::{Correlation, Panel, even, near_equal},
        source::Source,
    },
};

/// Bytes of dU that stay in a second cache of 2 MiB well enough. Where sums are divided must not depend
/// on the machine.
const RESIDENT_SUMS: usize = 2560 << 10;
/// Tiles for which a part pays: adding it up costs as much as a few of them.
const PART_TILES: usize = 256;
/// Parts at most.
const MOST_PARTS: usize = 8;
/// Tiles of a chunk at most.
const CHUNK_TILES: usize = 112;

/// How the gradient is divided. Depends on the geometry alone, but for chunks and rounds of tiles: they
/// are summed one after the other, in the order of tiles, whatever their size is.
#[derive(Debug, Clone)]
pub(in crate::ops::conv2d) struct WinogradGradient<T: Float> {
    tiling: Tiling<T>,
    inputs: usize,
    outputs: usize,
    panels: Vec<Panel>,
    /// Input channels that a kernel sums at once.
    step: usize,
    /// Elements of V and of Z of a chunk at most: a quarter of the second cache each.
    most_chunk: usize,
    /// Elements of V and Z together, per point, of the tiles of a round: with the point's sums they fit
    /// the second cache.
    most_round: usize,
}

impl<T: Float> WinogradGradient<T> {
    /// For the gradient of the weights of a forward pass.
    pub(in crate::ops::conv2d) fn new(
        forward: &Correlation,
        size: TileSize,
        caches: &Caches,
        isa: &'static Isa<T>,
    ) -> Self {
        let Correlation { inputs, outputs, .. } = *forward;
        let panels = Panel::divide(outputs, isa);
        let most = panels.iter().map(|panel| panel.family(isa).outer.len().min(isa.lanes)).min().unwrap_or(1);
        let step = inputs.div_ceil(inputs.div_ceil(most).max(1));
        let [most_chunk, most_round] = [caches.l2 / 4, caches.l2 / 8 * 3].map(|bytes| isa.numbers_in(bytes));
        let tiling = Tiling::new(forward, size, isa);
        Self { tiling, inputs, outputs, panels, step, most_chunk, most_round }
    }

    /// From one point of a panel's sums to the next.
    fn sums_plane(&self, panel: &Panel) -> usize {
        self.inputs * panel.width + self.tiling.isa.numbers_in(PLANE_PADDING)
    }

    /// Elements of dU of a group.
    fn group_len(&self) -> usize {
        self.panels.iter().map(|panel| self.tiling.size.planes() * self.sums_plane(panel)).sum()
    }

    /// Elements of dU, `[group][panel][ξ][input channel][output channel]`.
    fn sums_len(&self) -> usize {
        self.tiling.groups * self.group_len()
    }

    /// Where a panel's sums begin in a group's.
    fn sums_at(&self, panel: &Panel) -> usize {
        let before = self.panels.iter().take_while(|before| before.first < panel.first);
        before.map(|before| self.tiling.size.planes() * self.sums_plane(before)).sum()
    }

    /// Computes the gradient of the weights, `[o][3][3][i]`.
    pub(in crate::ops::conv2d) fn run(&self, x: Source<'_, T>, dy: &[T], dw: &mut [T]) {
        assert_eq!(dw.len(), self.tiling.groups * 9 * self.inputs * self.outputs);
        if self.tiling.count() == 0 || dw.is_empty() {
            dw.fill(T::zero());
            return;
        }
        let parts = even(self.tiling.count() / PART_TILES).clamp(1, MOST_PARTS);
        let block_len = self.tiling.block_groups() * self.group_len();
        if parts * self.tiling.blocks() >= 2 && block_len <= self.tiling.isa.numbers_in(RESIDENT_SUMS) {
            self.in_parts(parts, x, dy, dw);
        } else {
            self.in_points(x, dy, dw);
        }
    }

    fn in_parts(&self, parts: usize, x: Source<'_, T>, dy: &[T], dw: &mut [T]) {
        let tiles = self.tiling.count();
        let mut sums = Tensor::unfilled([parts, self.sums_len()], Layout::Contiguous);
        let shared = Shared::new(sums.as_mut_slice());
        for_each_task(parts * self.tiling.blocks(), |task| {
            let (groups, part) = (&self.tiling.block(task / parts), task % parts);
            // SAFETY: the part's sums for these groups are this task's own.
            let sums = unsafe {
                let start = shared.at(part * self.sums_len() + groups.start * self.group_len());
                std::slice::from_raw_parts_mut(start, groups.len() * self.group_len())
            };
            self.part(part * tiles / parts..(part + 1) * tiles / parts, groups, x, dy, sums);
        });
        self.transform_back(sums.as_slice(), parts, dw);
    }

    /// The products of some tiles, in sums like dU of some groups.
    fn part(&self, tiles: Range<usize>, groups: &Range<usize>, x: Source<'_, T>, dy: &[T], sums: &mut [T]) {
        let per_tile = self.tiling.size.planes() * groups.len() * self.inputs.max(self.outputs);
        let most = (self.most_chunk / per_tile.max(1)).clamp(1, CHUNK_TILES);
        for (index, chunk) in near_equal(tiles.len(), most).enumerate() {
            let chunk = tiles.start + chunk.start..tiles.start + chunk.end;
            let spread = Spread::new(self, chunk.len(), groups.clone(), true);
            let [mut v, mut z] = [spread.v.planes(self.tiling.size), spread.z.planes(self.tiling.size)];
            let planes = [v.as_mut_ptr(), z.as_mut_ptr()];
            // SAFETY: the planes were made for these tiles, here.
            unsafe { spread.tiles(self, chunk, x, dy, planes) };
            let [v, z] = [&*v, &*z];
            for point in 0..self.tiling.size.planes() {
                for within in 0..groups.len() {
                    for panel in &self.panels {
                        let at = self.sums_at(panel) + point * self.sums_plane(panel);
                        let sums = &mut sums[within * self.group_len() + at..][..self.inputs * panel.width];
                        spread.multiply(self, within, panel, point, v, z, sums, index > 0);
                    }
                }
            }
        }
    }

    fn in_points(&self, x: Source<'_, T>, dy: &[T], dw: &mut [T]) {
        let mut sums = Tensor::unfilled([self.sums_len()], Layout::Contiguous);
        let of_groups = sums.as_mut_slice().chunks_exact_mut(self.group_len());
        for (group, sums) in of_groups.enumerate() {
            self.group_in_points(group, x, dy, sums);
        }
        self.transform_back(sums.as_slice(), 1, dw);
    }

    fn group_in_points(&self, group: usize, x: Source<'_, T>, dy: &[T], sums: &mut [T]) {
        /// Tiles of a task that transforms.
        const TILES: usize = 2;
        let size = self.tiling.size;
        let most = (self.most_round / (self.inputs + self.outputs).max(1)).max(1);
        let sums_shared = Shared::new(sums);
        for (round, tiles) in near_equal(self.tiling.count(), most).enumerate() {
            let spread = Spread::new(self, tiles.len(), group..group + 1, false);
            let [mut v, mut z] = [spread.v.planes(size), spread.z.planes(size)];
            let [v_shared, z_shared] = [&mut v, &mut z].map(|planes| Shared::new(planes));
            for_each_task(tiles.len().div_ceil(TILES), |task| {
                let first = task * TILES;
                let some = tiles.start + first..tiles.end.min(tiles.start + first + TILES);
                let planes = [v_shared.at(first * spread.v.tile), z_shared.at(first * spread.z.tile)];
                // SAFETY: these tiles' rows of the planes exist and are this task's own.
                unsafe { spread.tiles(self, some, x, dy, planes) };
            });
            for_each_task(size.planes() * self.panels.len(), |task| {
                let (point, panel) = (task / self.panels.len(), &self.panels[task % self.panels.len()]);
                let at = self.sums_at(panel) + point * self.sums_plane(panel);
                // SAFETY: the sums of this point and panel are this task's own.
                let sums =
                    unsafe { std::slice::from_raw_parts_mut(sums_shared.at(at), self.inputs * panel.width) };
                spread.multiply(self, 0, panel, point, &v, &z, sums, round > 0);
            });
        }
    }

    /// dg = Gᵀ (Σ over parts of dU) G
    fn transform_back(&self, sums: &[T], parts: usize, dw: &mut [T]) {
        /// Input channels of a task.
        const INPUTS: usize = 16;
        assert_eq!(sums.len(), parts * self.sums_len());
        assert_eq!(dw.len(), self.tiling.groups * 9 * self.inputs * self.outputs);
        let dw = Shared::new(dw);
        let blocks = self.inputs.div_ceil(INPUTS);
        let per_group = self.panels.len() * blocks;
        for_each_task(self.tiling.groups * per_group, |task| {
            let (group, task) = (task / per_group, task % per_group);
            let (panel, first) = (&self.panels[task / blocks], task % blocks * INPUTS);
            let of_panel = Sums {
                first: sums[group * self.group_len() + self.sums_at(panel) + first * panel.width..].as_ptr(),
                part: self.sums_len(),
                parts,
                block: panel.width,
                inputs: INPUTS.min(self.inputs - first),
                outputs: panel.columns,
            };
            let gradients = FilterGradients {
                sums: of_panel,
                plane: self.sums_plane(panel),
                weights: dw.at((group * self.outputs + panel.first) * 9 * self.inputs + first),
                tap: self.inputs,
                output: 9 * self.inputs,
            };
            // SAFETY: each part has all planes of the panel; the gradients of these channels are
            // in dw and this task's own.
            unsafe { (self.tiling.size.transforms(self.tiling.isa).filter_gradient)(&gradients) };
        });
    }
}

/// V and Z of some tiles in some groups.
struct Spread {
    tiles: usize,
    groups: Range<usize>,
    v: Pitch,
    z: Pitch,
}

impl Spread {
    fn new<T: Float>(
        gradient: &WinogradGradient<T>,
        tiles: usize,
        groups: Range<usize>,
        tiles_first: bool,
    ) -> Self {
        let WinogradGradient { inputs, outputs, step, .. } = *gradient;
        let isa = gradient.tiling.isa;
        let [inputs, outputs] = [inputs, outputs].map(|channels| groups.len() * channels);
        let [v, z] = if tiles_first {
            [inputs, outputs].map(|channels| Pitch::tiles_first(tiles, channels, isa))
        } else {
            [(inputs, step), (outputs, isa.lanes)]
                .map(|(channels, step)| Pitch::groups_first(tiles, channels, step, isa))
        };
        Self { tiles, groups, v, z }
    }

    /// Transforms inputs and gradients of tiles.
    ///
    /// # Safety
    /// As [`Tiling::spread`].
    unsafe fn tiles<T: Float>(
        &self,
        gradient: &WinogradGradient<T>,
        tiles: Range<usize>,
        x: Source<'_, T>,
        dy: &[T],
        [v, z]: [*mut T; 2],
    ) {
        let tiling = &gradient.tiling;
        // SAFETY: passed on to the caller.
        unsafe {
            tiling.spread(Side::Inputs, tiles.clone(), &self.groups, x, v, self.v);
            tiling.spread(Side::Gradients, tiles, &self.groups, dy.into(), z, self.z);
        }
    }

    /// Writes the products of one point to its sums in a panel of one of the groups, or adds them.
    fn multiply<T: Float>(
        &self,
        gradient: &WinogradGradient<T>,
        within: usize,
        panel: &Panel,
        point: usize,
        v: &[T],
        z: &[T],
        sums: &mut [T],
        add: bool,
    ) {
        let WinogradGradient { inputs, outputs, step, .. } = *gradient;
        let kernels = panel.family(gradient.tiling.isa).outer;
        let v = &v[point * self.v.plane..][..self.v.plane];
        let z = &z[point * self.z.plane..][..self.z.plane];
        assert!(sums.len() >= inputs * panel.width);
        for first in (0..inputs).step_by(step) {
            let last = inputs.min(first + step) - 1;
            let last_tile = self.tiles.saturating_sub(1);
            // Several groups lie tile by tile, with all their channels as neighbours.
            let [a, b] = [self.v.at(within * inputs + first), self.z.at(within * outputs + panel.first)];
            assert!(self.v.at(within * inputs + last) + last_tile * self.v.tile < v.len());
            assert!(
                self.z.at(within * outputs + panel.first + panel.width - 1) + last_tile * self.z.tile
                    < z.len()
            );
            let outer = Outer {
                a: v[a..].as_ptr(),
                a_lines: &0,
                a_pixel: self.v.tile,
                b: z[b..].as_ptr(),
                b_pixel: self.z.tile,
                b_vector: self.z.group,
                b_line: 0,
                ahead: z.as_ptr(),
                lines: 1,
                pixels: self.tiles,
                sums: sums[first * panel.width..].as_mut_ptr(),
                sums_row: panel.width,
                add,
            };
            // SAFETY: V and Z have the channels of the group and the panel for the last tile, as
            // asserted above; the sums have a row for each of the group's channels.
            unsafe { kernels[last - first](&outer) };
        }
    }
}
