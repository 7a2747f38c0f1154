//! Where the inputs of a unit are: in place, or copied into scratch. The copies themselves.

use std::ops::Range;

use residual_tensor::Float;

use super::{Reading, Units};
use crate::{
    engine::isa::Copy,
    ops::conv2d::{
        correlation::{Axis, Correlation, Tap},
        source::Source,
    },
};

/// The distances between the inputs of a unit's outputs; the same for all units, as if each were
/// as large as the largest.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::ops::conv2d) struct Strides {
    /// From one block of channels to the next; only in scratch.
    block: usize,
    /// From one image to the next.
    pub(in crate::ops::conv2d) image: usize,
    /// From one scratch position to the next below, and to the next on the right; only in scratch.
    position: [usize; 2],
    /// From one output row's inputs to the next's.
    pub(in crate::ops::conv2d) row: usize,
    /// From one output pixel's inputs to the next's.
    pub(in crate::ops::conv2d) pixel: usize,
}

impl<T: Float> Units<T> {
    /// Per axis, the scratch positions that `outputs` outputs need.
    pub(super) fn scratch_positions(&self, axis: usize, outputs: usize) -> usize {
        outputs.saturating_sub(1) * self.scratch_step[axis] + self.correlation.axes[axis].span()
    }

    /// Elements of a unit's scratch.
    pub(in crate::ops::conv2d) fn scratch_len(&self) -> usize {
        self.strides.block * self.channel_blocks().count()
    }

    /// The distances between inputs, once the units are known.
    pub(super) fn find_strides(&self) -> Strides {
        let Correlation { input, axes: [vertical, horizontal], .. } = &self.correlation;
        let channels = self.correlation.in_channels();
        match self.reading {
            Reading::InPlace => Strides {
                image: input[0] * input[1] * channels,
                row: vertical.stride * input[1] * channels,
                pixel: horizontal.stride * channels,
                ..Strides::default()
            },
            Reading::Copied { .. } if self.correlation.terms() == 0 => Strides::default(),
            Reading::Copied { block, .. } => {
                let [images, rows, columns] = self.largest();
                let line = self.scratch_positions(1, columns) * block;
                let image = self.scratch_positions(0, rows) * line;
                Strides {
                    block: images * image,
                    image,
                    position: [line, block],
                    row: self.scratch_step[0] * line,
                    pixel: self.scratch_step[1] * block,
                }
            }
        }
    }

    /// The distances between the inputs of outputs.
    pub(in crate::ops::conv2d) fn strides(&self) -> Strides {
        self.strides
    }

    /// Where the inputs of a unit's first output begin, for channels from `channel` on.
    pub(in crate::ops::conv2d) fn start(
        &self,
        [images, rows, columns]: &[Range<usize>; 3],
        channel: usize,
    ) -> usize {
        if !self.are_in_place() {
            return 0;
        }
        let Correlation { input, axes: [vertical, horizontal], .. } = &self.correlation;
        let [row, column] = [vertical, horizontal].map(|axis| axis.taps[0].offset as usize);
        let first_row = rows.start * vertical.stride + row;
        let first_column = columns.start * horizontal.stride + column;
        let pixel = (images.start * input[0] + first_row) * input[1] + first_column;
        pixel * self.correlation.in_channels() + channel
    }

    /// Where each row of a unit's outputs has its first inputs, from [`start`](Self::start) on.
    pub(in crate::ops::conv2d) fn lines(
        &self,
        [images, rows, _]: &[Range<usize>; 3],
    ) -> impl Iterator<Item = usize> + Clone + use<T> {
        let Strides { image, row, .. } = self.strides;
        let rows = rows.len();
        (0..images.len()).flat_map(move |at| (0..rows).map(move |line| at * image + line * row))
    }

    /// How far the input under a tap, in a block of channels, is from the address of its output.
    pub(in crate::ops::conv2d) fn offset(&self, block: usize, row: &Tap, column: &Tap) -> usize {
        let [vertical, horizontal] = &self.correlation.axes;
        let down = (row.offset - vertical.reach_before()) as usize;
        let right = (column.offset - horizontal.reach_before()) as usize;
        let Strides { position, .. } = self.strides;
        block * self.strides.block + down * position[0] + right * position[1]
    }

    /// Copies some channels of a unit's inputs into scratch, at most as many as it is made for.
    pub(in crate::ops::conv2d) fn copy(
        &self,
        unit: &[Range<usize>; 3],
        copied: Range<usize>,
        x: Source<'_, T>,
        scratch: &mut [T],
    ) {
        let [images, rows, columns] = unit;
        let correlation = &self.correlation;
        let Correlation { input, axes: [vertical, horizontal], .. } = correlation;
        let channels = correlation.in_channels();
        let Reading::Copied { block: block_len, .. } = self.reading else { return };
        let positions = [self.scratch_positions(0, rows.len()), self.scratch_positions(1, columns.len())];
        let row_len = positions[1] * block_len;
        if correlation.terms() == 0 {
            return;
        }
        assert!(scratch.len() >= self.scratch_len() && copied.len() <= self.channels());
        for (index, start) in copied.clone().step_by(block_len).enumerate() {
            let block = start..copied.end.min(start + block_len);
            let normalize = x.normalization.map(|normalization| normalization.at(start, block.len()));
            for (line, image) in images.clone().enumerate() {
                for position in 0..positions[0] {
                    let to_row = index * self.strides.block
                        + line * self.strides.image
                        + position * self.strides.position[0];
                    let to = &mut scratch[to_row..][..row_len];
                    let source = source(vertical, self.scratch_step[0], rows.start, position);
                    let Some(row) = source else {
                        to.fill(T::zero());
                        continue;
                    };
                    let mut filled = 0;
                    for run in self.runs(1, columns) {
                        to[filled * block_len..run.to.start * block_len].fill(T::zero());
                        filled = run.to.end;
                        let pixel = (image * input[0] + row) * input[1] + run.from;
                        let mut copy = Copy {
                            from: x.numbers[pixel * channels + start..].as_ptr(),
                            from_pixel: channels,
                            to: to[run.to.start * block_len..].as_mut_ptr(),
                            to_pixel: block_len,
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
                    to[filled * block_len..].fill(T::zero());
                }
            }
        }
    }

    /// Copies some channels of a unit's outputs, or of their gradients, `[image][row][column][width]`,
    /// and zeros to the width.
    pub(in crate::ops::conv2d) fn copy_outputs(
        &self,
        [images, rows, columns]: &[Range<usize>; 3],
        copied: Range<usize>,
        from: &[T],
        to: &mut [T],
        width: usize,
    ) {
        let Correlation { output, .. } = &self.correlation;
        let channels = self.correlation.out_channels();
        if copied.len() < width {
            to.fill(T::zero());
        }
        let mut lines = to.chunks_exact_mut((columns.len() * width).max(1));
        for (image, row) in images.clone().flat_map(|image| rows.clone().map(move |row| (image, row))) {
            let pixel = (image * output[0] + row) * output[1] + columns.start;
            let copy = Copy {
                from: from[pixel * channels + copied.start..].as_ptr(),
                from_pixel: channels,
                to: lines.next().expect("a line per row").as_mut_ptr(),
                to_pixel: width,
                pixels: columns.len(),
                channels: copied.len(),
                normalize: None,
            };
            // SAFETY: these outputs exist, and a line has room for as many.
            unsafe { (self.isa.copy)(&copy) };
        }
    }

    /// The runs of scratch positions of `outputs` along `axis` that see neighbouring inputs.
    fn runs(&self, axis: usize, outputs: &Range<usize>) -> impl Iterator<Item = Run> {
        let (along, step, first) = (&self.correlation.axes[axis], self.scratch_step[axis], outputs.start);
        let source = move |at| source(along, step, first, at);
        let count = self.scratch_positions(axis, outputs.len());
        let mut position = 0;
        std::iter::from_fn(move || {
            if step == along.stride && position < count {
                // All positions see neighbours: one run, between what lies in the padding.
                position = count;
                let before = (first * along.stride) as isize + along.reach_before();
                let start = before.min(0).unsigned_abs();
                let end = (along.length as isize - before).clamp(0, count as isize) as usize;
                return (start < end)
                    .then(|| Run { to: start..end, from: start.wrapping_add_signed(before) });
            }
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
    // With a stride larger than the window, some inputs between two windows are read by no tap. They
    // are not copied.
    let (outputs, within) =
        if step < axis.stride { (position / step.max(1), position % step.max(1)) } else { (0, position) };
    let at = ((first + outputs) * axis.stride + within) as isize + axis.reach_before();
    usize::try_from(at).ok().filter(|&at| at < axis.length)
}
