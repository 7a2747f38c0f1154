//! Convolution as its definition says: the oracle that faster algorithms are held against,
//! and the place to read what a convolution and its gradients are.
//!
//! Every product `x · weight → y` of the forward pass appears in each gradient as well:
//! `dy · weight → dx` and `x · dy → dw`. So the three functions visit the same triples of
//! elements, and differ in which one they sum into. Sums are in double precision. Nothing
//! here is fast.

use residual_tensor::Float;

use super::Conv2dShape;
use crate::{Result, engine::parallel::for_each_chunk};

/// `y[n, o] = Σ x[n, c] · weight[o, c]` over the input channels of the group and the taps.
pub(super) fn forward<T: Float>(x: &[T], weight: &[T], y: &mut [T], shape: &Conv2dShape) -> Result<()> {
    let index = Index::new(shape);
    index.fill(y, [shape.output[0], shape.output[1], shape.out_channels], |n, [i, j, o]| {
        let mut sum = 0.0;
        for [a, b] in index.taps() {
            let Some(pixel) = index.input_pixel([i, j], [a, b]) else { continue };
            for c in 0..shape.group_inputs() {
                sum += index.term(x[index.x(n, pixel, o, c)], weight[index.weight(o, [a, b], c)]);
            }
        }
        sum
    });
    Ok(())
}

/// `dx[n, c] = Σ dy[n, o] · weight[o, c]` over the output channels of the group and the taps
/// that carried pixel and channel there.
pub(super) fn backward_data<T: Float>(
    dy: &[T],
    weight: &[T],
    dx: &mut [T],
    shape: &Conv2dShape,
) -> Result<()> {
    let index = Index::new(shape);
    index.fill(dx, [shape.input[0], shape.input[1], shape.in_channels], |n, [h, w, channel]| {
        let (group, c) = (channel / shape.group_inputs(), channel % shape.group_inputs());
        let mut sum = 0.0;
        for [a, b] in index.taps() {
            let Some(pixel) = index.output_pixel([h, w], [a, b]) else { continue };
            for o in group * shape.group_outputs()..(group + 1) * shape.group_outputs() {
                sum += index.term(dy[index.y(n, pixel, o)], weight[index.weight(o, [a, b], c)]);
            }
        }
        sum
    });
    Ok(())
}

/// `dw[o, c] = Σ x[n, c] · dy[n, o]` over images and output pixels.
pub(super) fn backward_weights<T: Float>(x: &[T], dy: &[T], dw: &mut [T], shape: &Conv2dShape) -> Result<()> {
    let index = Index::new(shape);
    let [kernel_height, kernel_width] = shape.geometry.kernel;
    index.fill(dw, [kernel_height, kernel_width, shape.group_inputs()], |o, [a, b, c]| {
        let mut sum = 0.0;
        for n in 0..shape.batch {
            for i in 0..shape.output[0] {
                for j in 0..shape.output[1] {
                    let Some(pixel) = index.input_pixel([i, j], [a, b]) else { continue };
                    sum += index.term(x[index.x(n, pixel, o, c)], dy[index.y(n, [i, j], o)]);
                }
            }
        }
        sum
    });
    Ok(())
}

/// Where elements are, and which pixels a tap connects.
struct Index<'a>(&'a Conv2dShape);

impl<'a> Index<'a> {
    fn new(shape: &'a Conv2dShape) -> Self {
        Self(shape)
    }

    /// Sets each element of channels-last memory to `f(outermost index, [row, column, channel])`,
    /// where `axes` are the lengths of the last three. In parallel over the outermost.
    fn fill<T: Float>(&self, to: &mut [T], axes: [usize; 3], f: impl Fn(usize, [usize; 3]) -> f64 + Sync) {
        let [_, columns, channels] = axes;
        let size = axes.iter().product::<usize>();
        if size == 0 {
            return;
        }
        for_each_chunk(to, size, |outermost, to| {
            for (at, to) in to.iter_mut().enumerate() {
                let pixel = at / channels;
                *to = T::of(f(outermost, [pixel / columns, pixel % columns, at % channels]));
            }
        });
    }

    fn term<T: Float>(&self, a: T, b: T) -> f64 {
        a.to_f64() * b.to_f64()
    }

    fn taps(&self) -> impl Iterator<Item = [usize; 2]> {
        let [height, width] = self.0.geometry.kernel;
        (0..height).flat_map(move |a| (0..width).map(move |b| [a, b]))
    }

    /// The input pixel under a tap for an output pixel, unless it lies in the padding:
    /// `output · stride + tap · dilation − padding`.
    fn input_pixel(&self, output: [usize; 2], tap: [usize; 2]) -> Option<[usize; 2]> {
        let geometry = &self.0.geometry;
        let mut pixel = [0; 2];
        for axis in 0..2 {
            let padded = output[axis] * geometry.stride[axis] + tap[axis] * geometry.dilation[axis];
            pixel[axis] = padded.checked_sub(geometry.padding[axis])?;
            if pixel[axis] >= self.0.input[axis] {
                return None;
            }
        }
        Some(pixel)
    }

    /// The output pixel that sees an input pixel under a tap, if there is one: the inverse of
    /// [`input_pixel`](Self::input_pixel).
    fn output_pixel(&self, input: [usize; 2], tap: [usize; 2]) -> Option<[usize; 2]> {
        let geometry = &self.0.geometry;
        let mut pixel = [0; 2];
        for axis in 0..2 {
            let padded = input[axis] + geometry.padding[axis];
            let start = padded.checked_sub(tap[axis] * geometry.dilation[axis])?;
            pixel[axis] = start / geometry.stride[axis];
            if start % geometry.stride[axis] != 0 || pixel[axis] >= self.0.output[axis] {
                return None;
            }
        }
        Some(pixel)
    }

    /// Channel `c` of the group that output channel `o` belongs to.
    fn x(&self, n: usize, [h, w]: [usize; 2], o: usize, c: usize) -> usize {
        let channel = o / self.0.group_outputs() * self.0.group_inputs() + c;
        ((n * self.0.input[0] + h) * self.0.input[1] + w) * self.0.in_channels + channel
    }

    fn y(&self, n: usize, [i, j]: [usize; 2], o: usize) -> usize {
        ((n * self.0.output[0] + i) * self.0.output[1] + j) * self.0.out_channels + o
    }

    fn weight(&self, o: usize, [a, b]: [usize; 2], c: usize) -> usize {
        let [height, width] = self.0.geometry.kernel;
        ((o * height + a) * width + b) * self.0.group_inputs() + c
    }
}
