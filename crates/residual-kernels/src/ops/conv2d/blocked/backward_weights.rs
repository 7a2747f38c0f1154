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

use residual_tensor::{Buffer, Float, Layout, Tensor};

use super::{Blocking, Correlation, Panel};
use crate::{
    engine::{
        caches::Caches,
        isa::{Ahead, Isa, Outer},
        parallel::for_each_task,
        shared::Shared,
        threads,
    },
    ops::conv2d::{correlation::near_equal, source::Source, units::stretch},
};

/// Output pixels of a unit at most: what a tile sums over stays in L1.
const UNIT_PIXELS: usize = 224;
/// The same where each sees one input pixel only, so that less would be gained by more.
const UNIT_PIXELS_POINTWISE: usize = 112;

impl<T: Float> Blocking<T> {
    /// For [`backward_weights`](Self::backward_weights). Inputs are copied even where they could be
    /// read in place: each is read once per tile of channels, and from L1 that way.
    pub(in crate::ops::conv2d) fn backward(correlation: &Correlation, isa: &'static Isa<T>) -> Self {
        Self::new(correlation, [UNIT_PIXELS, UNIT_PIXELS_POINTWISE], true, &Caches::FITTED, isa)
    }

    /// Computes the gradient of the weights of a forward pass.
    pub(in crate::ops::conv2d) fn backward_weights(&self, x: Source<'_, T>, dy: &[T], dw: &mut [T]) {
        let correlation = &self.correlation;
        assert_eq!(x.numbers.len(), correlation.input_len());
        assert_eq!(dy.len(), correlation.output_len());
        let units = self.units.count();
        if self.packed_len() == 0 || units == 0 {
            return dw.fill(T::zero());
        }
        let parts = self.units.parts(self.packed_len());
        let mut sums = Tensor::unfilled([parts, self.packed_len()], Layout::Contiguous);
        let shared = Shared::new(sums.as_mut_slice());
        // Where parts are few, panels are shared out as well: it costs copying the inputs again.
        let panels = correlation.groups * self.panels.len();
        let shares = threads::count().div_ceil(parts).clamp(1, panels);
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
        for (index, unit) in units.clone().map(|unit| self.units.ranges(unit)).enumerate() {
            let pixels = unit.iter().map(|range| range.len()).product::<usize>();
            let mut scratch = Buffer::recycled(self.units.scratch_len());
            let mut gradients = Buffer::recycled(pixels * self.widest());
            let next = units.clone().nth(index + 1).map(|next| self.units.ranges(next));
            let ahead = next.map_or([&[][..]; 2], |next| {
                let Correlation { output, .. } = self.correlation;
                let gradients = stretch(dy, self.correlation.out_channels(), output, &next);
                [self.units.seen(&next, x.numbers), gradients]
            });
            let mut ahead = ahead.map(Ahead::new);
            let mut copied = None;
            for (group, panel) in panels.clone().map(panel) {
                if copied != Some(group) {
                    self.units.copy(&unit, self.inputs(group), x, &mut scratch);
                    copied = Some(group);
                }
                let outputs = self.outputs(group, panel);
                self.units.copy_outputs(&unit, outputs, dy, &mut gradients, panel.width);
                let sums = sums.at(first + self.packed_at(group, panel));
                self.products(&unit, panel, &scratch, &gradients, &mut ahead, sums, index > 0);
            }
        }
    }

    fn widest(&self) -> usize {
        self.panels.iter().map(|panel| panel.width).max().unwrap_or(0)
    }

    /// Writes the products of one unit to the sums of a panel, or adds them.
    fn products(
        &self,
        unit: &[Range<usize>; 3],
        panel: &Panel,
        source: &[T],
        gradients: &[T],
        [inputs_ahead, gradients_ahead]: &mut [Ahead<T>; 2],
        sums: *mut T,
        add: bool,
    ) {
        let kernels = panel.family(self.isa).outer;
        let lines: Vec<usize> = self.units.lines(unit).collect();
        let (columns, strides) = (unit[2].len(), self.units.strides());
        let Some(last) = lines.last() else { return };
        let last = last + columns.saturating_sub(1) * strides.pixel;
        assert!(self.segments.iter().all(|segment| last + segment.offset + segment.length <= source.len()));
        assert!(gradients.len() >= lines.len() * columns * panel.width);
        let pixels = lines.len() * columns;
        let mut sums_ahead = Ahead::at(sums, self.correlation.terms() * panel.width);
        let mut term = 0;
        for segment in &self.segments {
            for inputs in near_equal(segment.length, kernels.len()) {
                let outer = Outer {
                    a: source.as_ptr().wrapping_add(segment.offset + inputs.start),
                    a_lines: lines.as_ptr(),
                    a_pixel: strides.pixel,
                    b: gradients.as_ptr(),
                    b_pixel: panel.width,
                    b_vector: self.isa.lanes,
                    b_line: columns * panel.width,
                    ahead: sums_ahead
                        .take(pixels)
                        .or_else(|| inputs_ahead.take(pixels))
                        .or_else(|| gradients_ahead.take(pixels))
                        .unwrap_or(gradients.as_ptr()),
                    lines: lines.len(),
                    pixels: columns,
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
