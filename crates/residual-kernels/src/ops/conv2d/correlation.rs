//! The one problem that forward convolution and its gradient with respect to the input both are:
//! a correlation on channels-last memory, axis by axis a set of output positions and a list of
//! taps.
//!
//! Backward-data at stride s falls apart into s² correlations: input positions that agree modulo
//! s are reached by the same taps, and by these without any stride. No arithmetic on elements
//! here.

use std::ops::Range;

use residual_tensor::Float;

use super::Conv2dShape;
use crate::engine::isa::{Family, Isa};

/// One axis of a correlation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axis {
    /// The first output position.
    pub(super) first: usize,
    /// From one output position to the next.
    pub(super) step: usize,
    /// How many there are.
    pub(super) count: usize,
    /// How far the input position moves from one output position to the next.
    pub(super) stride: usize,
    /// What is summed over, in the order of offsets.
    pub(super) taps: Vec<Tap>,
    /// Input positions that exist.
    pub(super) length: usize,
}

/// A position of the kernel along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    /// The input position that it sees for the first output position; may lie in the padding.
    pub(super) offset: isize,
    /// Its index in the kernel.
    pub(super) index: usize,
}

impl Axis {
    /// Axis `axis` of the forward pass.
    fn forward(shape: &Conv2dShape, axis: usize) -> Self {
        let geometry = &shape.geometry;
        let offset = |index| (index * geometry.dilation[axis]) as isize - geometry.padding[axis] as isize;
        Self {
            first: 0,
            step: 1,
            count: shape.output[axis],
            stride: geometry.stride[axis],
            // A window of no channels sees nothing, however large it is.
            taps: (0..if shape.group_inputs() == 0 { 0 } else { geometry.kernel[axis] })
                .map(|index| Tap { offset: offset(index), index })
                .collect(),
            length: shape.input[axis],
        }
    }

    /// Axis `axis` of the gradient for input positions `phase`, `phase + stride`, …
    ///
    /// Output position o saw input position i under tap k if i + padding = o · stride + k ·
    /// dilation.
    fn backward(shape: &Conv2dShape, axis: usize, phase: usize) -> Self {
        let geometry = &shape.geometry;
        let stride = geometry.stride[axis];
        let tap = |index: usize| {
            let start =
                (phase + geometry.padding[axis]) as isize - (index * geometry.dilation[axis]) as isize;
            (start % stride as isize == 0).then(|| Tap { offset: start / stride as isize, index })
        };
        Self {
            first: phase,
            step: stride,
            count: shape.input[axis].saturating_sub(phase).div_ceil(stride),
            stride: 1,
            taps: (0..geometry.kernel[axis]).rev().filter_map(tap).collect(),
            length: shape.output[axis],
        }
    }

    /// The smallest offset of a tap.
    pub(super) fn reach_before(&self) -> isize {
        self.taps.first().map_or(0, |tap| tap.offset)
    }

    /// How many input positions one output position spans, gaps between taps included.
    pub(super) fn span(&self) -> usize {
        self.taps.last().map_or(0, |tap| (tap.offset - self.reach_before()) as usize + 1)
    }

    /// The input positions from the first to the last that some outputs see.
    pub(super) fn seen(&self, outputs: &Range<usize>) -> Range<usize> {
        let at = |output: usize, tap: isize| {
            ((output * self.stride) as isize + tap).clamp(0, self.length as isize) as usize
        };
        let (first, last) = (self.reach_before(), self.reach_before() + self.span() as isize - 1);
        at(outputs.start, first)..at(outputs.end.saturating_sub(1), last + 1)
    }

    /// Whether this is a single tap that sees an existing input for every output.
    pub(super) fn is_pointwise(&self) -> bool {
        let [tap] = self.taps[..] else { return false };
        let last = tap.offset + (self.count.saturating_sub(1) * self.stride) as isize;
        tap.offset >= 0 && last < self.length as isize
    }

    /// Whether output and input positions are the same and each sees itself only.
    fn is_identity(&self) -> bool {
        self.is_pointwise() && self.stride == 1 && self.step == 1 && self.count == self.length
    }
}

/// A correlation of all images and channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Correlation {
    pub(super) batch: usize,
    /// Groups of channels that do not see each other.
    pub(super) groups: usize,
    /// Input channels of one group.
    pub(super) inputs: usize,
    /// Output channels of one group.
    pub(super) outputs: usize,
    /// Height and width of the input.
    pub(super) input: [usize; 2],
    /// Height and width of the output, of which the axes may cover a part.
    pub(super) output: [usize; 2],
    /// Vertical and horizontal.
    pub(super) axes: [Axis; 2],
    /// Where weights are.
    pub(super) weights: Weights,
}

/// The distances between weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weights {
    /// From one input channel to the next.
    pub(super) input: usize,
    /// From one output channel to the next.
    pub(super) output: usize,
    /// From one tap of the kernel to the next below, and on the right.
    pub(super) tap: [usize; 2],
    /// From one group to the next.
    pub(super) group: usize,
}

impl Correlation {
    /// The forward pass.
    pub(super) fn forward(shape: &Conv2dShape) -> Self {
        let [height, width] = shape.geometry.kernel;
        let (inputs, outputs) = (shape.group_inputs(), shape.group_outputs());
        let window = height * width * inputs;
        Self {
            batch: shape.batch,
            groups: shape.geometry.groups,
            inputs,
            outputs,
            input: shape.input,
            output: shape.output,
            axes: [Axis::forward(shape, 0), Axis::forward(shape, 1)],
            weights: Weights {
                input: 1,
                output: window,
                tap: [width * inputs, inputs],
                group: outputs * window,
            },
        }
        .flattened()
    }

    /// The parts of the gradient with respect to the input; together they cover it.
    pub(super) fn backward_data(shape: &Conv2dShape) -> Vec<Self> {
        let [rows, columns] = shape.geometry.stride;
        let forward = Self::forward(shape).weights;
        let phases = (0..rows.min(shape.input[0]))
            .flat_map(|row| (0..columns.min(shape.input[1])).map(move |column| [row, column]));
        phases
            .map(|[row, column]| {
                Self {
                    batch: shape.batch,
                    groups: shape.geometry.groups,
                    inputs: shape.group_outputs(),
                    outputs: shape.group_inputs(),
                    input: shape.output,
                    output: shape.input,
                    axes: [Axis::backward(shape, 0, row), Axis::backward(shape, 1, column)],
                    weights: Weights { input: forward.output, output: forward.input, ..forward },
                }
                .flattened()
            })
            .collect()
    }

    /// Where pixels correspond one to one, rows and images are one long row.
    fn flattened(mut self) -> Self {
        if self.axes.iter().all(Axis::is_identity) {
            let pixels = self.batch * self.input[0] * self.input[1];
            let index = self.axes.each_ref().map(|axis| axis.taps[0].index);
            self.batch = 1;
            (self.input, self.output) = ([1, pixels], [1, pixels]);
            for (axis, (length, index)) in self.axes.iter_mut().zip([(1, index[0]), (pixels, index[1])]) {
                *axis = Axis {
                    first: 0,
                    step: 1,
                    count: length,
                    stride: 1,
                    taps: vec![Tap { offset: 0, index }],
                    length,
                };
            }
        }
        self
    }

    /// Each combination of a vertical and a horizontal tap.
    pub(super) fn taps(&self) -> impl Iterator<Item = (&Tap, &Tap)> {
        let [vertical, horizontal] = &self.axes;
        vertical.taps.iter().flat_map(|row| horizontal.taps.iter().map(move |column| (row, column)))
    }

    /// Channels of an input pixel, over all groups.
    pub(super) fn in_channels(&self) -> usize {
        self.groups * self.inputs
    }

    /// Channels of an output pixel, over all groups.
    pub(super) fn out_channels(&self) -> usize {
        self.groups * self.outputs
    }

    /// Elements of the input.
    pub(super) fn input_len(&self) -> usize {
        self.batch * self.input[0] * self.input[1] * self.in_channels()
    }

    /// Elements of the output.
    pub(super) fn output_len(&self) -> usize {
        self.batch * self.output[0] * self.output[1] * self.out_channels()
    }

    /// How far the weights of a tap are from those of the first.
    pub(super) fn tap_weights(&self, row: &Tap, column: &Tap) -> usize {
        row.index * self.weights.tap[0] + column.index * self.weights.tap[1]
    }

    /// How many products are summed for an output.
    pub(super) fn terms(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps.len()).product::<usize>() * self.inputs
    }

    /// How many output pixels are computed.
    pub(super) fn pixels(&self) -> usize {
        self.batch * self.axes[0].count * self.axes[1].count
    }
}

/// A block of output channels that a kernel computes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panel {
    /// The first channel of the block, within the group; all panels before are full.
    pub(super) first: usize,
    /// How many channels exist.
    pub(super) columns: usize,
    /// How many the kernel computes: whole registers.
    pub(super) width: usize,
}

impl Panel {
    /// The panels of `channels` channels: wide ones, and a narrow one if the rest fits it.
    pub(super) fn divide<T: Float>(channels: usize, isa: &Isa<T>) -> Vec<Self> {
        let [wide, narrow] = [&isa.wide, &isa.narrow].map(|family| family.vectors * isa.lanes);
        let (mut panels, mut first) = (Vec::new(), 0);
        while first < channels {
            let left = channels - first;
            let width = if left <= narrow { narrow } else { wide };
            panels.push(Self { first, columns: left.min(width), width });
            first += width;
        }
        panels
    }

    /// The kernels for this width.
    pub(super) fn family<T: Float>(&self, isa: &'static Isa<T>) -> &'static Family<T> {
        if self.width == isa.wide.vectors * isa.lanes { &isa.wide } else { &isa.narrow }
    }
}

/// How many pieces to divide work into that makes at least `least` pieces: a small odd number is rounded
/// up to an even one, so that two threads get equally many. A single piece stays single; where there is
/// one, threads share it out along another axis.
pub(super) fn even(least: usize) -> usize {
    if (2..16).contains(&least) { least.next_multiple_of(2) } else { least }
}

/// Divides `0..count` into as few nearly equal ranges of at most `most` as possible.
pub(super) fn near_equal(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = count.div_ceil(most);
    (0..parts).map(move |part| near_equal_part(count, parts, part))
}

/// One of `parts` nearly equal ranges of `0..count`.
pub(super) fn near_equal_part(count: usize, parts: usize, part: usize) -> Range<usize> {
    let (size, longer) = (count / parts.max(1), count % parts.max(1));
    let start = part * size + part.min(longer);
    start..start + size + usize::from(part < longer)
}

#[cfg(test)]
mod tests {
    use residual_tensor::Shape;

    use super::*;
    use crate::ops::conv2d::Conv2dGeometry;

    fn shape(geometry: Conv2dGeometry, x: [usize; 4], outputs: usize) -> Conv2dShape {
        let [height, width] = geometry.kernel;
        let weight = Shape::new([outputs, x[1] / geometry.groups, height, width]).unwrap();
        geometry.resolve(&Shape::new(x).unwrap(), &weight).unwrap()
    }

    /// Every pair of positions that the forward pass connects under a tap, the parts of the
    /// gradient connect under the same tap, and no others.
    #[test]
    fn phases_connect_what_forward_connects() {
        for (kernel, stride, padding, dilation, length) in [
            (3, 1, 1, 1, 7),
            (3, 2, 1, 1, 8),
            (7, 2, 3, 1, 9),
            (1, 2, 0, 1, 5),
            (3, 3, 2, 2, 11),
            (2, 4, 0, 1, 6),
        ] {
            let geometry =
                Conv2dGeometry::new(kernel, kernel).stride(stride).padding(padding).dilation(dilation);
            let shape = shape(geometry, [1, 1, length, length], 1);
            let pairs = |axis: &Axis, swap: bool| {
                let mut pairs = Vec::new();
                for i in 0..axis.count {
                    for tap in &axis.taps {
                        let input = tap.offset + (i * axis.stride) as isize;
                        if (0..axis.length as isize).contains(&input) {
                            let (output, input) = (axis.first + i * axis.step, input as usize);
                            pairs.push((if swap { [input, output] } else { [output, input] }, tap.index));
                        }
                    }
                }
                pairs
            };
            let mut forward = pairs(&Axis::forward(&shape, 0), false);
            let mut backward: Vec<_> =
                (0..stride).flat_map(|phase| pairs(&Axis::backward(&shape, 0, phase), true)).collect();
            forward.sort_unstable();
            backward.sort_unstable();
            assert_eq!(forward, backward, "{geometry:?}");
        }
    }

    #[test]
    fn pointwise_convolutions_are_one_long_row() {
        let flat = Correlation::forward(&shape(Conv2dGeometry::new(1, 1), [2, 8, 5, 6], 4));
        assert_eq!((flat.batch, flat.input, flat.pixels()), (1, [1, 60], 60));
        let strided = Correlation::forward(&shape(Conv2dGeometry::new(1, 1).stride(2), [2, 8, 5, 6], 4));
        assert_eq!((strided.batch, strided.input, strided.pixels()), (2, [5, 6], 18));
    }

    #[test]
    fn ranges_are_near_equal() {
        let ranges: Vec<_> = near_equal(30, 14).collect();
        assert_eq!(ranges, [0..10, 10..20, 20..30]);
        assert_eq!(near_equal(0, 14).count(), 0);
        assert_eq!(near_equal(15, 14).map(|range| range.len()).collect::<Vec<_>>(), [8, 7]);
    }
}
