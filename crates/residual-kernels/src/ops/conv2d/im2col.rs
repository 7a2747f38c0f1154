//! Convolution as a product of matrices: the window of each output pixel becomes a row.
//!
//! ```text
//! windows [pixels, K] · weight [o, K]ᵀ  = y  [pixels, o]        K = kh·kw·c, in memory's order
//! dyᵀ     [o, pixels] · windows         = dw [o, K]
//! dy      [pixels, o] · weight [o, K]   = d(windows), added back to where they came from
//! ```
//!
//! The matrix of all windows is never made: pixels go through in blocks whose windows stay in
//! the second cache. In channels-last memory a row of a window is one run of `kw·c` elements,
//! so that copying is cheap. Groups take turns, each with its own columns.

use std::ops::Range;

use residual_tensor::{Float, Layout, Tensor};

use super::{Conv2dGeometry, Conv2dShape};
use crate::{
    Result,
    engine::parallel::{CHUNK, add_assign, for_each_run, try_for_each_chunk},
    ops::gemm::{Matrix, MatrixMut, gemm_on_this_thread},
};

/// Elements that the windows of one block may have: half a megabyte in f32.
const BLOCK: usize = 128 << 10;
/// Each block packs the weight anew, which fewer pixels than this do not pay for.
const FEWEST_PIXELS: usize = 128;
/// More pixels than this gain nothing.
const MOST_PIXELS: usize = 1024;
/// A weight gradient is summed in at most so many parts, ...
const MOST_PARTS: usize = 32;
/// ... which have at most so many elements together, ...
const PART_ELEMENTS: usize = 8 << 20;
/// ... unless that would leave fewer parts than this for threads to share.
const FEWEST_PARTS: usize = 4;

/// `windows [pixels, K] · weight [o, K]ᵀ = y [pixels, o]`, in parallel over blocks of pixels.
pub(super) fn forward<T: Float>(x: &[T], weight: &[T], y: &mut [T], shape: &Conv2dShape) -> Result<()> {
    if y.is_empty() {
        return Ok(());
    }
    let windows = Windows::new(shape);
    let block = windows.pixels_per_block() * shape.out_channels;
    try_for_each_chunk(y, block, |index, y| {
        let first = index * windows.pixels_per_block();
        let pixels = first..first + y.len() / shape.out_channels;
        let mut scratch = windows.scratch(pixels.len());
        for group in 0..shape.geometry.groups {
            let rows = windows.gather(x, pixels.clone(), group, &mut scratch)?;
            let y = &mut y[group * shape.group_outputs()..];
            let y = MatrixMut::new(y, pixels.len(), shape.group_outputs(), shape.out_channels)?;
            gemm_on_this_thread(T::one(), rows, windows.weight(weight, group)?.transposed(), T::zero(), y)?;
        }
        Ok(())
    })
}

/// `dx`, by whichever of two ways suits the stride.
///
/// At stride 1 it is a convolution itself: of `dy` with the kernel turned by half a turn, input
/// and output channels exchanged. At larger strides most products of that convolution would be
/// with zero, so the gradients of the windows are computed and added up.
pub(super) fn backward_data<T: Float>(
    dy: &[T],
    weight: &[T],
    dx: &mut [T],
    shape: &Conv2dShape,
) -> Result<()> {
    match mirrored(shape) {
        Some(mirrored) => forward(dy, turned(weight, shape).as_slice(), dx, &mirrored),
        None => scatter_windows(dy, weight, dx, shape),
    }
}

/// The convolution that leads from `dy` to `dx`, if the stride is 1 and the padding is not wider
/// than the kernel reaches.
fn mirrored(shape: &Conv2dShape) -> Option<Conv2dShape> {
    let geometry = shape.geometry;
    let mut padding = [0; 2];
    for axis in 0..2 {
        let reach = geometry.dilation[axis] * (geometry.kernel[axis] - 1);
        padding[axis] = reach.checked_sub(geometry.padding[axis])?;
    }
    (geometry.stride == [1, 1]).then_some(Conv2dShape {
        batch: shape.batch,
        in_channels: shape.out_channels,
        out_channels: shape.in_channels,
        input: shape.output,
        output: shape.input,
        geometry: Conv2dGeometry { padding, ..geometry },
    })
}

/// The weight of the [`mirrored`] convolution: `[o, kh, kw, c]` becomes `[c, −kh, −kw, o]` in
/// each group.
fn turned<T: Float>(weight: &[T], shape: &Conv2dShape) -> Tensor<T> {
    /// Channels that are exchanged at a time, so that both sides stay in the first cache.
    const TILE: usize = 16;
    let (inputs, outputs) = (shape.group_inputs(), shape.group_outputs());
    let taps = shape.geometry.kernel.iter().product::<usize>();
    let mut turned = Tensor::unfilled([weight.len()], Layout::Contiguous);
    let to = turned.as_mut_slice();
    for (group, tap) in (0..shape.geometry.groups).flat_map(|group| (0..taps).map(move |tap| (group, tap))) {
        let (first_input, first_output) = (group * inputs, group * outputs);
        for output in (0..outputs).step_by(TILE) {
            for input in (0..inputs).step_by(TILE) {
                for c in input..inputs.min(input + TILE) {
                    let row = ((first_input + c) * taps + (taps - 1 - tap)) * outputs;
                    for o in output..outputs.min(output + TILE) {
                        to[row + o] = weight[((first_output + o) * taps + tap) * inputs + c];
                    }
                }
            }
        }
    }
    turned
}

/// `dy [pixels, o] · weight [o, K] = d(windows) [pixels, K]`, added to `dx`, in parallel over
/// images.
fn scatter_windows<T: Float>(dy: &[T], weight: &[T], dx: &mut [T], shape: &Conv2dShape) -> Result<()> {
    if dx.is_empty() {
        return Ok(());
    }
    let windows = Windows::new(shape);
    let pixels_per_image = shape.output.iter().product::<usize>();
    let (dy_image, dx_image) = (pixels_per_image * shape.out_channels, dx.len() / shape.batch);
    try_for_each_chunk(dx, dx_image, |image, dx| {
        let dy = &dy[image * dy_image..][..dy_image];
        dx.fill(T::zero());
        let mut scratch = windows.scratch(windows.pixels_per_block().min(pixels_per_image));
        for first in (0..pixels_per_image).step_by(windows.pixels_per_block()) {
            let pixels = first..pixels_per_image.min(first + windows.pixels_per_block());
            for group in 0..shape.geometry.groups {
                let dy = windows.outputs(dy, pixels.clone(), group)?;
                let rows =
                    MatrixMut::new(scratch.as_mut_slice(), pixels.len(), windows.width, windows.width)?;
                gemm_on_this_thread(T::one(), dy, windows.weight(weight, group)?, T::zero(), rows)?;
                let scratch = scratch.as_slice();
                windows.visit(pixels.clone(), group, |window, source| {
                    if let Some(start) = source {
                        add_assign(&mut dx[start..start + window.len()], &scratch[window]);
                    }
                });
            }
        }
        Ok(())
    })
}

/// `dyᵀ [o, pixels] · windows [pixels, K] = dw [o, K]`, in parallel over parts of all pixels,
/// whose sums are then added up in order.
pub(super) fn backward_weights<T: Float>(x: &[T], dy: &[T], dw: &mut [T], shape: &Conv2dShape) -> Result<()> {
    let windows = Windows::new(shape);
    if dw.is_empty() || windows.pixels() == 0 {
        dw.fill(T::zero());
        return Ok(());
    }
    let blocks = windows.pixels().div_ceil(windows.pixels_per_block());
    let parts = (PART_ELEMENTS / dw.len()).clamp(FEWEST_PARTS, MOST_PARTS);
    let pixels_per_part = blocks.div_ceil(parts) * windows.pixels_per_block();
    let parts = windows.pixels().div_ceil(pixels_per_part);

    let mut sums = Tensor::unfilled([parts, dw.len()], Layout::Contiguous);
    try_for_each_chunk(sums.as_mut_slice(), dw.len(), |part, dw| {
        let start = part * pixels_per_part;
        let end = windows.pixels().min(start + pixels_per_part);
        let mut scratch = windows.scratch(windows.pixels_per_block().min(end - start));
        for first in (start..end).step_by(windows.pixels_per_block()) {
            let pixels = first..end.min(first + windows.pixels_per_block());
            let beta = if first == start { T::zero() } else { T::one() };
            for group in 0..shape.geometry.groups {
                let rows = windows.gather(x, pixels.clone(), group, &mut scratch)?;
                let dy = windows.outputs(dy, pixels.clone(), group)?;
                let dw = &mut dw[group * shape.group_outputs() * windows.width..];
                let dw = MatrixMut::new(dw, shape.group_outputs(), windows.width, windows.width)?;
                gemm_on_this_thread(T::one(), dy.transposed(), rows, beta, dw)?;
            }
        }
        Ok(())
    })?;

    let (size, sums) = (dw.len(), sums.as_slice());
    for_each_run(dw, CHUNK, |range, dw| {
        dw.copy_from_slice(&sums[range.clone()]);
        for part in sums.chunks_exact(size).skip(1) {
            add_assign(dw, &part[range.clone()]);
        }
    });
    Ok(())
}

/// The windows of a convolution's output pixels, numbered through the batch in row-major order.
struct Windows<'a> {
    shape: &'a Conv2dShape,
    /// Elements of one group's window, K.
    width: usize,
    /// For each column of the output, which taps of a row meet the input.
    columns: Vec<Taps>,
}

/// The taps of one row of the kernel that lie within a row of the input.
struct Taps {
    range: Range<usize>,
    /// The input's column under the first of them.
    column: usize,
}

impl<'a> Windows<'a> {
    fn new(shape: &'a Conv2dShape) -> Self {
        let [kernel_height, kernel_width] = shape.geometry.kernel;
        let width = kernel_height * kernel_width * shape.group_inputs();
        let (stride, dilation) = (shape.geometry.stride[1], shape.geometry.dilation[1]);
        let padding = shape.geometry.padding[1];
        // Tap b is above padded column `column·stride + b·dilation`; the input's columns begin
        // at `padding`.
        let columns = (0..shape.output[1])
            .map(|column| column * stride)
            .map(|left| {
                let first = padding.saturating_sub(left).div_ceil(dilation).min(kernel_width);
                let end = (padding + shape.input[1]).saturating_sub(left).div_ceil(dilation);
                let range = first..end.clamp(first, kernel_width);
                Taps { column: (left + first * dilation).saturating_sub(padding), range }
            })
            .collect();
        Self { shape, width, columns }
    }

    /// Output pixels of the whole batch.
    fn pixels(&self) -> usize {
        self.shape.batch * self.shape.output[0] * self.shape.output[1]
    }

    fn pixels_per_block(&self) -> usize {
        (BLOCK / self.width.max(1)).clamp(FEWEST_PIXELS, MOST_PIXELS)
    }

    /// Whether a window is a pixel, so that the input is the matrix of windows already.
    fn are_pixels(&self) -> bool {
        let Conv2dGeometry { kernel, stride, padding, .. } = self.shape.geometry;
        kernel == [1, 1] && stride == [1, 1] && padding == [0, 0]
    }

    /// Memory for the windows of so many pixels.
    fn scratch<T: Float>(&self, pixels: usize) -> Tensor<T> {
        let elements = if self.are_pixels() { 0 } else { pixels * self.width };
        Tensor::unfilled([elements], Layout::Contiguous)
    }

    /// The windows of `pixels` in one group, as the rows of a matrix.
    fn gather<'m, T: Float>(
        &self,
        x: &'m [T],
        pixels: Range<usize>,
        group: usize,
        scratch: &'m mut Tensor<T>,
    ) -> Result<Matrix<'m, T>> {
        if self.are_pixels() {
            let start = pixels.start * self.shape.in_channels + group * self.width;
            return Matrix::new(&x[start..], pixels.len(), self.width, self.shape.in_channels);
        }
        let rows = scratch.as_mut_slice();
        self.visit(pixels.clone(), group, |window, source| match source {
            Some(start) => rows[window.clone()].copy_from_slice(&x[start..start + window.len()]),
            None => rows[window].fill(T::zero()),
        });
        Matrix::new(scratch.as_slice(), pixels.len(), self.width, self.width)
    }

    /// The output channels of one group at `pixels`, `[pixels, o]`.
    fn outputs<'m, T: Float>(&self, y: &'m [T], pixels: Range<usize>, group: usize) -> Result<Matrix<'m, T>> {
        let channels = self.shape.group_outputs();
        let start = pixels.start * self.shape.out_channels + group * channels;
        Matrix::new(&y[start..], pixels.len(), channels, self.shape.out_channels)
    }

    /// The weight of one group, `[o, K]`.
    fn weight<'m, T: Float>(&self, weight: &'m [T], group: usize) -> Result<Matrix<'m, T>> {
        let outputs = self.shape.group_outputs();
        Matrix::new(&weight[group * outputs * self.width..], outputs, self.width, self.width)
    }

    /// Goes through the windows of `pixels` in one group, run by run: calls `f` with the place
    /// of a run in the matrix of windows, and where it starts in the input, or `None` where
    /// there is only padding. Runs do not overlap, and cover the matrix.
    fn visit(&self, pixels: Range<usize>, group: usize, mut f: impl FnMut(Range<usize>, Option<usize>)) {
        let Conv2dShape { in_channels, input: [height, width], output, geometry, .. } = *self.shape;
        let channels = self.shape.group_inputs();
        let [kernel_height, kernel_width] = geometry.kernel;
        let (stride, padding, dilation) = (geometry.stride[0], geometry.padding[0], geometry.dilation[0]);
        // Neighbouring taps are neighbours in memory too, or each is a run of its own.
        let taps_per_run = if geometry.dilation[1] == 1 && geometry.groups == 1 { kernel_width } else { 1 };

        let mut end = 0;
        let mut next = |taps: usize| {
            let start = end;
            end += taps * channels;
            start..end
        };
        for pixel in pixels {
            let (line, column) = (pixel / output[1], pixel % output[1]);
            let (image, row) = (line / output[0], line % output[0]);
            let Taps { range: taps, column } = &self.columns[column];
            for tap in 0..kernel_height {
                let row = (row * stride + tap * dilation).checked_sub(padding).filter(|&row| row < height);
                let Some(row) = row.filter(|_| !taps.is_empty()) else {
                    f(next(kernel_width), None);
                    continue;
                };
                if taps.start > 0 {
                    f(next(taps.start), None);
                }
                let mut source = ((image * height + row) * width + column) * in_channels + group * channels;
                for first in taps.clone().step_by(taps_per_run) {
                    f(next(taps_per_run.min(taps.end - first)), Some(source));
                    source += geometry.dilation[1] * in_channels;
                }
                if taps.end < kernel_width {
                    f(next(kernel_width - taps.end), None);
                }
            }
        }
    }
}
