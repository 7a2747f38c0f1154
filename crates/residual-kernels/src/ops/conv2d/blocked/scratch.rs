//! Where the inputs of a unit are: in place, or copied into scratch.

use std::ops::Range;

use residual_tensor::Float;

use super::{Axis, Blocking, Correlation};
use crate::{
    engine::isa::{Copy, Segment},
    ops::conv2d::source::Source,
};

/// The distances between the inputs of a unit's outputs; the same for all units, as if each were
/// as large as the largest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strides {
    /// From one block of channels to the next; only in scratch.
    block: usize,
    /// From one image to the next.
    pub(super) image: usize,
    /// From one scratch position to the next below; only in scratch.
    position: usize,
    /// From one output row's inputs to the next's.
    pub(super) row: usize,
    /// From one output pixel's inputs to the next's.
    pub(super) pixel: usize,
}

/// Where the inputs of a unit are: the address of a pixel, and of what it sees.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// The first pixel.
    pub(super) start: usize,
    pub(super) strides: Strides,
    /// What a pixel sees.
    pub(super) segments: &'a [Segment],
}

impl<T: Float> Blocking<T> {
    /// Per axis, the scratch positions that `outputs` outputs need.
    fn scratch_positions(&self, axis: usize, outputs: usize) -> usize {
        outputs.saturating_sub(1) * self.scratch_step[axis] + self.correlation.axes[axis].span()
    }

    /// Elements of a unit's scratch.
    pub(super) fn scratch_len(&self) -> usize {
        if self.in_place { 0 } else { self.strides.block * self.channel_blocks().count() }
    }

    /// Works out where inputs are, once the units are known.
    pub(super) fn with_field(mut self) -> Self {
        (self.strides, self.segments) =
            if self.in_place { self.field_in_place() } else { self.field_of_scratch() };
        self
    }

    /// Where the inputs of a unit and group are.
    pub(super) fn field(&self, [images, rows, columns]: &[Range<usize>; 3], group: usize) -> Field<'_> {
        let Correlation { inputs, input, axes: [vertical, horizontal], .. } = &self.correlation;
        let mut start = 0;
        if self.in_place {
            let [row, column] = [vertical, horizontal].map(|axis| axis.taps[0].offset as usize);
            let first_row = rows.start * vertical.stride + row;
            let first_column = columns.start * horizontal.stride + column;
            let pixel = (images.start * input[0] + first_row) * input[1] + first_column;
            start = pixel * self.correlation.in_channels() + group * inputs;
        }
        Field { start, strides: self.strides, segments: &self.segments }
    }

    /// The input itself.
    fn field_in_place(&self) -> (Strides, Vec<Segment>) {
        let Correlation { inputs, input, axes: [vertical, horizontal], .. } = &self.correlation;
        let channels = self.correlation.in_channels();
        let strides = Strides {
            image: input[0] * input[1] * channels,
            row: vertical.stride * input[1] * channels,
            pixel: horizontal.stride * channels,
            ..Strides::default()
        };
        (strides, vec![Segment { offset: 0, length: *inputs }])
    }

    /// The scratch of a unit, `[channel block][image][row][column][channel]`.
    fn field_of_scratch(&self) -> (Strides, Vec<Segment>) {
        if self.correlation.terms() == 0 {
            return Default::default();
        }
        let [vertical, horizontal] = &self.correlation.axes;
        let [images, rows, columns] = self.largest_unit();
        let pixel = self.channel_block;
        let position = self.scratch_positions(1, columns) * pixel;
        let image = self.scratch_positions(0, rows) * position;
        let strides = Strides {
            block: images * image,
            image,
            position,
            row: self.scratch_step[0] * position,
            pixel: self.scratch_step[1] * pixel,
        };
        let mut segments: Vec<Segment> = Vec::new();
        for (block, channels) in self.channel_blocks().enumerate() {
            for a in &vertical.taps {
                for b in &horizontal.taps {
                    let at = [a.offset - vertical.reach_before(), b.offset - horizontal.reach_before()];
                    let offset = block * strides.block + at[0] as usize * position + at[1] as usize * pixel;
                    match segments.last_mut() {
                        Some(last) if last.offset + last.length == offset => last.length += channels.len(),
                        _ => segments.push(Segment { offset, length: channels.len() }),
                    }
                }
            }
        }
        (strides, segments)
    }

    /// Copies the inputs of a unit and group into scratch.
    pub(super) fn copy(&self, unit: &[Range<usize>; 3], group: usize, x: Source<'_, T>, scratch: &mut [T]) {
        let [images, rows, columns] = unit;
        let correlation = &self.correlation;
        let Correlation { inputs, input, axes: [vertical, horizontal], .. } = correlation;
        let channels = correlation.in_channels();
        let positions = [self.scratch_positions(0, rows.len()), self.scratch_positions(1, columns.len())];
        let row_len = positions[1] * self.channel_block;
        if self.segments.is_empty() {
            return;
        }
        assert_eq!(scratch.len(), self.scratch_len());
        for (index, block) in self.channel_blocks().enumerate() {
            let first = group * inputs + block.start;
            let normalize = x.normalization.map(|normalization| normalization.at(first, block.len()));
            for (line, image) in images.clone().enumerate() {
                for position in 0..positions[0] {
                    let start = index * self.strides.block
                        + line * self.strides.image
                        + position * self.strides.position;
                    let to = &mut scratch[start..][..row_len];
                    let source = source(vertical, self.scratch_step[0], rows.start, position);
                    let Some(row) = source else {
                        to.fill(T::zero());
                        continue;
                    };
                    let mut filled = 0;
                    for run in self.runs(1, columns) {
                        to[filled * self.channel_block..run.to.start * self.channel_block].fill(T::zero());
                        filled = run.to.end;
                        let pixel = (image * input[0] + row) * input[1] + run.from;
                        let mut copy = Copy {
                            from: x.numbers[pixel * channels + first..].as_ptr(),
                            from_pixel: channels,
                            to: to[run.to.start * self.channel_block..].as_mut_ptr(),
                            to_pixel: self.channel_block,
                            pixels: run.to.len(),
                            channels: block.len(),
                            normalize,
                        };
                        if channels == block.len() && normalize.is_none() {
                            // All channels are in the block: the pixels are one run.
                            (copy.channels, copy.pixels) = (copy.channels * copy.pixels, 1);
                        }
                        debug_assert!(run.from + run.to.len() <= horizontal.length);
                        // SAFETY: the run's pixels exist in the row of the input and of scratch.
                        unsafe { (self.isa.copy)(&copy) };
                    }
                    to[filled * self.channel_block..].fill(T::zero());
                }
            }
        }
    }

    /// The runs of scratch positions of `outputs` along `axis` that see neighbouring inputs.
    fn runs(&self, axis: usize, outputs: &Range<usize>) -> impl Iterator<Item = Run> {
        let source =
            move |at| source(&self.correlation.axes[axis], self.scratch_step[axis], outputs.start, at);
        let count = self.scratch_positions(axis, outputs.len());
        let mut position = 0;
        std::iter::from_fn(move || {
            let from = loop {
                if position == count {
                    return None;
                }
                match source(position) {
                    Some(from) => break from,
                    None => position += 1,
                }
            };
            let start = position;
            while position < count && source(position) == Some(from + position - start) {
                position += 1;
            }
            Some(Run { to: start..position, from })
        })
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
