//! Where the inputs of a unit are: in place, or copied into scratch.

use std::ops::Range;

use super::{Axis, Blocking, Correlation};
use crate::isa::{Copy, Isa, Segment};

/// Where the inputs of a unit are: the address of a pixel, and of what it sees.
#[derive(Default)]
pub(super) struct Field {
    /// The first pixel.
    pub(super) start: usize,
    /// From one image to the next.
    pub(super) image: usize,
    /// From one output row's inputs to the next's.
    pub(super) row: usize,
    /// From one output pixel's inputs to the next's.
    pub(super) pixel: usize,
    /// What a pixel sees.
    pub(super) segments: Vec<Segment>,
}

impl Blocking {
    /// Per axis, the scratch positions that `outputs` outputs need.
    fn scratch_positions(&self, axis: usize, outputs: usize) -> usize {
        outputs.saturating_sub(1) * self.scratch_step[axis] + self.correlation.axes[axis].span()
    }

    pub(super) fn scratch_len(&self, [images, rows, columns]: &[Range<usize>; 3]) -> usize {
        if self.in_place {
            return 0;
        }
        let positions = self.scratch_positions(0, rows.len()) * self.scratch_positions(1, columns.len());
        images.len() * positions * self.channel_block * self.channel_blocks().count()
    }

    /// Where the inputs of a unit and group are.
    pub(super) fn field(&self, unit: &[Range<usize>; 3], group: usize) -> Field {
        if self.in_place { self.field_in_place(unit, group) } else { self.field_of_scratch(unit) }
    }

    /// The input itself, seen from the unit's first pixel.
    fn field_in_place(&self, [images, rows, columns]: &[Range<usize>; 3], group: usize) -> Field {
        let Correlation { inputs, input, axes: [vertical, horizontal], .. } = &self.correlation;
        let channels = self.correlation.in_channels();
        let [row, column] = [vertical, horizontal].map(|axis| axis.taps[0].offset as usize);
        let first_row = rows.start * vertical.stride + row;
        let first_column = columns.start * horizontal.stride + column;
        let pixel = (images.start * input[0] + first_row) * input[1] + first_column;
        Field {
            start: pixel * channels + group * inputs,
            image: input[0] * input[1] * channels,
            row: vertical.stride * input[1] * channels,
            pixel: horizontal.stride * channels,
            segments: vec![Segment { offset: 0, length: *inputs }],
        }
    }

    /// The scratch of a unit.
    fn field_of_scratch(&self, [images, rows, columns]: &[Range<usize>; 3]) -> Field {
        if self.correlation.terms() == 0 {
            return Field::default();
        }
        let [vertical, horizontal] = &self.correlation.axes;
        let pixel = self.channel_block;
        let row = self.scratch_positions(1, columns.len()) * pixel;
        let image = self.scratch_positions(0, rows.len()) * row;
        let mut segments: Vec<Segment> = Vec::new();
        for (block, channels) in self.channel_blocks().enumerate() {
            for a in &vertical.taps {
                for b in &horizontal.taps {
                    let position = [a.offset - vertical.reach_before(), b.offset - horizontal.reach_before()];
                    let offset = block * images.len() * image
                        + position[0] as usize * row
                        + position[1] as usize * pixel;
                    match segments.last_mut() {
                        Some(last) if last.offset + last.length == offset => last.length += channels.len(),
                        _ => segments.push(Segment { offset, length: channels.len() }),
                    }
                }
            }
        }
        Field {
            start: 0,
            image,
            row: self.scratch_step[0] * row,
            pixel: self.scratch_step[1] * pixel,
            segments,
        }
    }

    /// Copies the inputs of a unit and group into scratch.
    pub(super) fn copy(
        &self,
        isa: &'static Isa,
        unit: &[Range<usize>; 3],
        group: usize,
        x: &[f32],
        scratch: &mut [f32],
        field: &Field,
    ) {
        let [images, rows, columns] = unit;
        let correlation = &self.correlation;
        let Correlation { inputs, input, axes: [vertical, horizontal], .. } = correlation;
        let channels = correlation.in_channels();
        let positions = [self.scratch_positions(0, rows.len()), self.scratch_positions(1, columns.len())];
        let runs = self.runs(1, columns);
        let row_len = positions[1] * self.channel_block;
        if field.segments.is_empty() {
            return;
        }
        debug_assert!(field.start == 0 && scratch.len() == self.scratch_len(unit));
        let mut to_row = scratch.chunks_exact_mut(row_len.max(1));
        for block in self.channel_blocks() {
            for image in images.clone() {
                for position in 0..positions[0] {
                    let to = to_row.next().expect("a row of scratch per position");
                    let source = source(vertical, self.scratch_step[0], rows.start, position);
                    let Some(row) = source else {
                        to.fill(0.0);
                        continue;
                    };
                    let mut filled = 0;
                    for run in &runs {
                        to[filled * self.channel_block..run.to.start * self.channel_block].fill(0.0);
                        filled = run.to.end;
                        let pixel = (image * input[0] + row) * input[1] + run.from;
                        let mut copy = Copy {
                            from: x[pixel * channels + group * inputs + block.start..].as_ptr(),
                            from_pixel: channels,
                            to: to[run.to.start * self.channel_block..].as_mut_ptr(),
                            to_pixel: self.channel_block,
                            pixels: run.to.len(),
                            channels: block.len(),
                        };
                        if channels == block.len() {
                            // All channels are in the block: the pixels are one run.
                            (copy.channels, copy.pixels) = (copy.channels * copy.pixels, 1);
                        }
                        debug_assert!(run.from + run.to.len() <= horizontal.length);
                        // SAFETY: the run's pixels exist in the row of the input and of scratch.
                        unsafe { (isa.copy)(&copy) };
                    }
                    to[filled * self.channel_block..].fill(0.0);
                }
            }
        }
    }

    /// The runs of scratch positions of `outputs` along `axis` that see neighbouring inputs.
    fn runs(&self, axis: usize, outputs: &Range<usize>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for position in 0..self.scratch_positions(axis, outputs.len()) {
            let from = source(&self.correlation.axes[axis], self.scratch_step[axis], outputs.start, position);
            match (from, runs.last_mut()) {
                (Some(from), Some(run)) if run.to.end == position && run.from + run.to.len() == from => {
                    run.to.end += 1;
                }
                (Some(from), _) => runs.push(Run { to: position..position + 1, from }),
                (None, _) => {}
            }
        }
        runs
    }
}

/// Scratch positions that are filled from neighbouring inputs.
struct Run {
    to: Range<usize>,
    from: usize,
}

/// The input at a scratch position, unless it lies in the padding. `first` is the first output.
fn source(axis: &Axis, step: usize, first: usize, position: usize) -> Option<usize> {
    // Where taps leave inputs between neighbouring outputs untouched, scratch leaves them out.
    let (outputs, within) =
        if step < axis.stride { (position / step.max(1), position % step.max(1)) } else { (0, position) };
    let at = ((first + outputs) * axis.stride + within) as isize + axis.reach_before();
    usize::try_from(at).ok().filter(|&at| at < axis.length)
}
