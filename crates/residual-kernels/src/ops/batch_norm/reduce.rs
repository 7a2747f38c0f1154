//! Sums over the pixels of each channel: chunk by chunk in the element's precision, then over
//! the chunks, in their order, in double precision.

use residual_macros::compiled_here;
use residual_tensor::Float;

use super::pass::{Gate, OPEN, OUTPUT, RECOMPUTED, gated};
use crate::{
    Result,
    engine::{
        isa::{InstructionSet, Loop, vectorized},
        parallel::{add_assign, collect},
    },
};

/// Elements in a chunk, ...
const CHUNK: usize = 64 << 10;
/// ... unless that would be more pixels than can be added up without losing digits, ...
const MOST_PIXELS: usize = 1024;
/// ... or so few that adding up the chunks would be most of the work.
const FEWEST_PIXELS: usize = 32;

/// Mean and biased variance of each channel of `x [pixels, channels]`.
///
/// `E[x²] − E[x]²` loses everything where the mean is large. Here each chunk is summed around
/// the mean of a few of its pixels, and the chunks are put together around their common mean.
///
/// # Errors
/// As [`InstructionSet::active`].
#[compiled_here]
pub(super) fn moments<T: Float>(x: &[T], channels: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let set = InstructionSet::active()?;
    let total = (x.len() / channels.max(1)) as f64;
    // Of each chunk: how many pixels, their mean, and the squared distances from it.
    let size = chunk_size(channels);
    let chunks = collect(x.len().div_ceil(size), |chunk| {
        let x = &x[chunk * size..x.len().min((chunk + 1) * size)];
        let (origin, count) = (origin(x, channels), (x.len() / channels) as f64);
        let term = |[origin, ..]: [T; 3], [x, ..]: [T; 3]| {
            let distance = x - origin;
            [distance, distance * distance]
        };
        let sums = JointSums { arrays: [x; 3], coefficients: [&origin; 3], term };
        let [mut mean, mut squares] = vectorized(set, sums);
        for channel in 0..channels {
            squares[channel] -= mean[channel] * mean[channel] / count;
            mean[channel] = origin[channel].to_f64() + mean[channel] / count;
        }
        (count, mean, squares)
    });
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    for (count, of_chunk, _) in &chunks {
        for channel in 0..channels {
            mean[channel] += of_chunk[channel] * (count / total);
        }
    }
    for (count, of_chunk, squares) in &chunks {
        for channel in 0..channels {
            let distance = of_chunk[channel] - mean[channel];
            variance[channel] += (squares[channel] + count * distance * distance) / total;
        }
    }
    Ok((mean, variance))
}

/// The mean of four pixels of a chunk, or its first if it has fewer: one alone may be so far from the others
/// that sums around it lose a digit.
fn origin<T: Float>(x: &[T], channels: usize) -> Vec<T> {
    let apart = x.len() / channels / 4 * channels;
    let pixel = |number: usize| &x[number * apart..][..channels];
    let quarter = T::of(0.25);
    let [a, b, c, d] = [0, 1, 2, 3].map(pixel);
    let mean = |channel: usize| {
        (a[channel] * quarter + b[channel] * quarter) + (c[channel] * quarter + d[channel] * quarter)
    };
    (0..channels).map(mean).collect()
}

/// `Σ g` and `Σ g · (x − centre)` of each channel, where g is dy as far as the gate lets it
/// through; `x` and `dy` are `[pixels, channels]`.
///
/// # Errors
/// As [`InstructionSet::active`].
#[compiled_here]
pub(super) fn gradient_sums<T: Float>(
    dy: &[T],
    x: &[T],
    centre: &[T],
    gate: Gate<'_, T>,
) -> Result<[Vec<f64>; 2]> {
    let set = InstructionSet::active()?;
    let channels = centre.len();
    let coefficients = match gate {
        Gate::Recomputed(forward) => forward.coefficients().map(|of_channels| &of_channels[..channels]),
        Gate::Open | Gate::Output(_) => [centre; 3],
    };
    let y = if let Gate::Output(y) = gate { y } else { dy };
    let size = chunk_size(channels);
    let chunks = collect(dy.len().div_ceil(size), |chunk| {
        let run = chunk * size..dy.len().min((chunk + 1) * size);
        let arrays = [&dy[run.clone()], &x[run.clone()], &y[run]];
        match gate {
            Gate::Open => vectorized(set, JointSums { arrays, coefficients, term: gradient_term::<T, OPEN> }),
            Gate::Recomputed(_) => {
                vectorized(set, JointSums { arrays, coefficients, term: gradient_term::<T, RECOMPUTED> })
            }
            Gate::Output(_) => {
                vectorized(set, JointSums { arrays, coefficients, term: gradient_term::<T, OUTPUT> })
            }
        }
    });
    let mut sums = [vec![0.0; channels], vec![0.0; channels]];
    for chunk in &chunks {
        for (sum, of_chunk) in sums.iter_mut().zip(chunk) {
            add_assign(sum, of_chunk);
        }
    }
    Ok(sums)
}

#[inline(always)]
fn gradient_term<T: Float, const GATE: u8>([centre, scale, shift]: [T; 3], [dy, x, y]: [T; 3]) -> [T; 2] {
    let distance = x - centre;
    let g = gated::<T, GATE>(dy, y, || distance * scale + shift);
    [g, g * distance]
}

fn chunk_size(channels: usize) -> usize {
    let channels = channels.max(1);
    (CHUNK / channels).clamp(FEWEST_PIXELS, MOST_PIXELS) * channels
}

/// The sums of both results of `term` over the pixels of each channel. It is given the channel's
/// coefficients, and the pixel's value in each of the three arrays `[pixels, channels]`.
struct JointSums<'a, T, F> {
    arrays: [&'a [T]; 3],
    coefficients: [&'a [T]; 3],
    term: F,
}

impl<T: Float, F: Fn([T; 3], [T; 3]) -> [T; 2]> Loop for JointSums<'_, T, F> {
    type Output = [Vec<f64>; 2];

    #[inline(always)]
    fn run(self) -> [Vec<f64>; 2] {
        let channels = self.coefficients[0].len();
        let mut sums = [vec![0.0; channels], vec![0.0; channels]];
        let mut first = 0;
        while first < channels {
            // A number of channels that the compiler knows keeps the sums in registers.
            let sums = &mut sums.each_mut().map(|sums| &mut sums[first..]);
            first += match channels - first {
                64.. => self.lanes::<64>(first, 64, sums),
                16.. => self.lanes::<16>(first, 16, sums),
                few => self.lanes::<16>(first, few, sums),
            };
        }
        sums
    }
}

impl<T: Float, F: Fn([T; 3], [T; 3]) -> [T; 2]> JointSums<'_, T, F> {
    /// The sums of `lanes` channels, at most `LANES`; returns how many these are.
    #[inline(always)]
    fn lanes<const LANES: usize>(&self, first: usize, lanes: usize, totals: &mut [&mut [f64]; 2]) -> usize {
        let channels = self.coefficients[0].len();
        let coefficients = self.coefficients.map(|coefficients| {
            let mut of_lane = [T::zero(); LANES];
            of_lane[..lanes].copy_from_slice(&coefficients[first..first + lanes]);
            of_lane
        });
        let [mut left, mut right] = [[T::zero(); LANES]; 2];
        let [a, b, c] = self.arrays.map(|array| array.chunks_exact(channels));
        for ((a, b), c) in a.zip(b).zip(c) {
            let [a, b, c] = [a, b, c].map(|pixel| &pixel[first..first + lanes]);
            for lane in 0..lanes {
                let of_lane = [coefficients[0][lane], coefficients[1][lane], coefficients[2][lane]];
                let [to_left, to_right] = (self.term)(of_lane, [a[lane], b[lane], c[lane]]);
                left[lane] += to_left;
                right[lane] += to_right;
            }
        }
        for (totals, sums) in totals.iter_mut().zip([left, right]) {
            for (total, sum) in totals.iter_mut().zip(&sums[..lanes]) {
                *total = Float::to_f64(*sum);
            }
        }
        lanes
    }
}
