//! The gradient with respect to the weights: for each tap the outer product of what it saw with
//! the outputs' gradients, summed over pixels.
//!
//! ```text
//! for each part of the units                                           (parallel)
//!     for each unit
//!         copy its inputs into scratch, as in the forward pass
//!         for each panel of output channels
//!             copy the gradients of its channels into scratch
//!             for each tap and tile of input channels: add the sums over the unit's pixels
//! add up the parts, in order
//! ```
//! The sums lie in the order of packed weights. How many parts there are depends on the geometry
//! alone, and so do the bits of the result.

use std::ops::Range;

use residual_tensor::{Float, Layout, Tensor};

use super::{Blocking, Correlation, Panel, scratch::Field, stretch};
use crate::{
    engine::{
        isa::{Ahead, Copy, Isa, Outer},
        parallel::for_each_task,
        workspace::Workspace,
    },
    ops::conv2d::{
        correlation::{even, near_equal},
        shared::Shared,
        source::Source,
    },
};

/// Output pixels of a unit at most: what a tile sums over stays in L1.
const UNIT_PIXELS: usize = 224;
/// The same where each sees one input pixel only, so that less would be gained by more.
const UNIT_PIXELS_POINTWISE: usize = 112;
/// Pixels for which a part pays: adding it up costs as much as a few of them.
const PART_PIXELS: usize = 512;
/// Parts at most.
const MOST_PARTS: usize = 16;
/// Bytes of all parts' sums at most.
const PARTS_BYTES: usize = 16 << 20;

impl<T: Float> Blocking<T> {
    /// For [`backward_weights`](Self::backward_weights). Inputs are copied even where they could be
    /// read in place: each is read once per tile of channels, and from L1 that way.
    pub(in crate::ops::conv2d) fn backward(correlation: &Correlation, isa: &'static Isa<T>) -> Self {
        Self::new(correlation, [UNIT_PIXELS, UNIT_PIXELS_POINTWISE], true, isa)
    }

    /// In how many parts sums are made.
    fn parts(&self, units: usize) -> usize {
        let affordable = self.isa.numbers_in(PARTS_BYTES) / self.packed_len().max(1);
        even(self.correlation.pixels() / PART_PIXELS).min(affordable).min(units).clamp(1, MOST_PARTS)
    }

    /// Computes the gradient of the weights of a forward pass.
    pub(in crate::ops::conv2d) fn backward_weights(&self, x: Source<'_, T>, dy: &[T], dw: &mut [T]) {
        let correlation = &self.correlation;
        assert_eq!(x.numbers.len(), correlation.input_len());
        assert_eq!(dy.len(), correlation.output_len());
        if self.packed_len() == 0 {
            return;
        }
        let units = self.unit_count();
        let parts = self.parts(units);
        let mut sums = Tensor::unfilled([parts, self.packed_len()], Layout::Contiguous);
        let shared = Shared::new(sums.as_mut_slice());
        // Where parts are few, panels are shared out as well: it costs copying the inputs again.
        let panels = correlation.groups * self.panels.len();
        let shares = rayon::current_num_threads().div_ceil(parts).clamp(1, panels);
        for_each_task(parts * shares, |task| {
            let (part, share) = (task / shares, task % shares);
            let panels = share * panels / shares..(share + 1) * panels / shares;
            let units = part * units / parts..(part + 1) * units / parts;
            self.part(units, panels, x, dy, &shared, part * self.packed_len());
        });
        self.unpack(sums.as_slice(), dw);
    }

    /// The sums over some units, for panels numbered through all groups. The part's sums begin at
    /// `first`.
    fn part(
        &self,
        units: Range<usize>,
        panels: Range<usize>,
        x: Source<'_, T>,
        dy: &[T],
        sums: &Shared<'_, T>,
        first: usize,
    ) {
        let panel = |index: usize| (index / self.panels.len(), &self.panels[index % self.panels.len()]);
        for (index, unit) in units.clone().map(|unit| self.ranges(unit)).enumerate() {
            let pixels = unit.iter().map(|range| range.len()).product::<usize>();
            let mut scratch = Workspace::take(self.scratch_len());
            let mut gradients = Workspace::take(pixels * self.widest());
            let field = self.field(&unit, 0);
            let next = units.clone().nth(index + 1).map(|next| self.ranges(next));
            let ahead = next.map_or([&[][..]; 2], |next| {
                let Correlation { output, .. } = self.correlation;
                let gradients = stretch(dy, self.correlation.out_channels(), output, &next);
                [self.seen(&next, x.numbers), gradients]
            });
            let mut ahead = ahead.map(Ahead::new);
            let mut copied = None;
            for (group, panel) in panels.clone().map(panel) {
                if copied != Some(group) {
                    self.copy(&unit, group, x, &mut scratch);
                    copied = Some(group);
                }
                self.copy_gradients(&unit, group, panel, dy, &mut gradients);
                let sums = sums.at(first + self.packed_at(group, panel));
                self.products(&unit, panel, &scratch, &field, &gradients, &mut ahead, sums, index > 0);
            }
        }
    }

    fn widest(&self) -> usize {
        self.panels.iter().map(|panel| panel.width).max().unwrap_or(0)
    }

    /// Copies the gradients of a unit's outputs in a panel, `[image][row][column][channel]`.
    fn copy_gradients(
        &self,
        [images, rows, columns]: &[Range<usize>; 3],
        group: usize,
        panel: &Panel,
        dy: &[T],
        gradients: &mut [T],
    ) {
        let Correlation { outputs, output, .. } = &self.correlation;
        let channels = self.correlation.out_channels();
        if panel.columns < panel.width {
            gradients.fill(T::zero());
        }
        let mut lines = gradients.chunks_exact_mut(columns.len() * panel.width);
        for (image, row) in images.clone().flat_map(|image| rows.clone().map(move |row| (image, row))) {
            let pixel = (image * output[0] + row) * output[1] + columns.start;
            let copy = Copy {
                from: dy[pixel * channels + group * outputs + panel.first..].as_ptr(),
                from_pixel: channels,
                to: lines.next().expect("a line per row").as_mut_ptr(),
                to_pixel: panel.width,
                pixels: columns.len(),
                channels: panel.columns,
                normalize: None,
            };
            // SAFETY: these outputs exist, and a line of scratch has room for as many.
            unsafe { (self.isa.copy)(&copy) };
        }
    }

    /// Writes the products of one unit to the sums of a panel, or adds them.
    fn products(
        &self,
        [images, rows, columns]: &[Range<usize>; 3],
        panel: &Panel,
        source: &[T],
        field: &Field<'_>,
        gradients: &[T],
        [inputs_ahead, gradients_ahead]: &mut [Ahead<T>; 2],
        sums: *mut T,
        add: bool,
    ) {
        let kernels = panel.family(self.isa).outer;
        let lines: Vec<usize> = (0..images.len())
            .flat_map(|image| {
                (0..rows.len())
                    .map(move |row| field.start + image * field.strides.image + row * field.strides.row)
            })
            .collect();
        let Some(last) = lines.last() else { return };
        let last = last + columns.len().saturating_sub(1) * field.strides.pixel;
        assert!(field.segments.iter().all(|segment| last + segment.offset + segment.length <= source.len()));
        assert!(gradients.len() >= lines.len() * columns.len() * panel.width);
        let pixels = lines.len() * columns.len();
        let mut sums_ahead = Ahead::at(sums, self.correlation.terms() * panel.width);
        let mut term = 0;
        for segment in field.segments {
            for inputs in near_equal(segment.length, kernels.len()) {
                let outer = Outer {
                    a: source.as_ptr().wrapping_add(segment.offset + inputs.start),
                    a_lines: lines.as_ptr(),
                    a_pixel: field.strides.pixel,
                    b: gradients.as_ptr(),
                    b_pixel: panel.width,
                    b_vector: self.isa.lanes,
                    b_line: columns.len() * panel.width,
                    ahead: sums_ahead
                        .take(pixels)
                        .or_else(|| inputs_ahead.take(pixels))
                        .or_else(|| gradients_ahead.take(pixels))
                        .unwrap_or(gradients.as_ptr()),
                    lines: lines.len(),
                    pixels: columns.len(),
                    sums: sums.wrapping_add((term + inputs.start) * panel.width),
                    sums_row: panel.width,
                    add,
                };
                // SAFETY: the last pixel's last segment is within the source and all gradients are
                // there, as asserted above; the panel has a row of sums for each of its terms.
                unsafe { kernels[inputs.len() - 1](&outer) };
            }
            term += segment.length;
        }
    }
}
