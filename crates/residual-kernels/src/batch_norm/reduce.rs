//! Sums over the pixels of each channel: chunk by chunk in the element's precision, then over
//! the chunks, in their order, in double precision.

use rayon::prelude::*;
use residual_tensor::Float;

/// Elements in a chunk, ...
const CHUNK: usize = 64 << 10;
/// ... unless that would be more pixels than can be added up without losing digits, ...
const MOST_PIXELS: usize = 1024;
/// ... or so few that adding up the chunks would be most of the work.
const FEWEST_PIXELS: usize = 32;
/// Channels that are summed at the same time, in registers.
const LANES: usize = 16;

/// Mean and biased variance of each channel of `x [pixels, channels]`.
///
/// `E[x²] − E[x]²` loses everything where the mean is large. Here each chunk is summed around
/// its own first pixel, and the chunks are put together around their common mean.
pub(super) fn moments<T: Float>(x: &[T], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let total = (x.len() / channels.max(1)) as f64;
    // Of each chunk: how many pixels, their mean, and the squared distances from it.
    let chunks: Vec<_> = x
        .par_chunks(chunk_size(channels))
        .map(|x| {
            let (origin, count) = (&x[..channels], (x.len() / channels) as f64);
            let [mut mean, mut squares] = joint_sums(x, origin, x, origin);
            for channel in 0..channels {
                squares[channel] -= mean[channel] * mean[channel] / count;
                mean[channel] = origin[channel].to_f64() + mean[channel] / count;
            }
            (count, mean, squares)
        })
        .collect();
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
    (mean, variance)
}

/// `Σ dy` and `Σ dy · (x − centre)` of each channel; `x` and `dy` are `[pixels, channels]`.
pub(super) fn gradient_sums<T: Float>(dy: &[T], x: &[T], centre: &[T]) -> [Vec<f64>; 2] {
    let channels = centre.len();
    let (size, zero) = (chunk_size(channels), vec![T::zero(); channels]);
    let chunks: Vec<_> =
        dy.par_chunks(size).zip(x.par_chunks(size)).map(|(dy, x)| joint_sums(dy, &zero, x, centre)).collect();
    let mut sums = [vec![0.0; channels], vec![0.0; channels]];
    for chunk in &chunks {
        for (sum, of_chunk) in sums.iter_mut().zip(chunk) {
            crate::parallel::add_assign(sum, of_chunk);
        }
    }
    sums
}

fn chunk_size(channels: usize) -> usize {
    let channels = channels.max(1);
    (CHUNK / channels).clamp(FEWEST_PIXELS, MOST_PIXELS) * channels
}

/// `Σ (u − u₀)` and `Σ (u − u₀)(v − v₀)` of each channel, over all pixels.
fn joint_sums<T: Float>(u: &[T], u_origin: &[T], v: &[T], v_origin: &[T]) -> [Vec<f64>; 2] {
    let channels = u_origin.len();
    let mut sums = [vec![0.0; channels], vec![0.0; channels]];
    for first in (0..channels).step_by(LANES) {
        let lanes = first..channels.min(first + LANES);
        // A number of lanes that the compiler knows keeps the sums in registers.
        let [single, joint] = if lanes.len() == LANES {
            lane_sums(u, u_origin, v, v_origin, first, LANES)
        } else {
            lane_sums(u, u_origin, v, v_origin, first, lanes.len())
        };
        for (lane, channel) in lanes.enumerate() {
            sums[0][channel] = single[lane].to_f64();
            sums[1][channel] = joint[lane].to_f64();
        }
    }
    sums
}

#[inline(always)]
fn lane_sums<T: Float>(
    u: &[T],
    u_origin: &[T],
    v: &[T],
    v_origin: &[T],
    first: usize,
    lanes: usize,
) -> [[T; LANES]; 2] {
    let channels = u_origin.len();
    let (mut single, mut joint) = ([T::zero(); LANES], [T::zero(); LANES]);
    let (mut u0, mut v0) = ([T::zero(); LANES], [T::zero(); LANES]);
    u0[..lanes].copy_from_slice(&u_origin[first..first + lanes]);
    v0[..lanes].copy_from_slice(&v_origin[first..first + lanes]);
    for (u, v) in u.chunks_exact(channels).zip(v.chunks_exact(channels)) {
        let (u, v) = (&u[first..first + lanes], &v[first..first + lanes]);
        for lane in 0..lanes {
            let distance = u[lane] - u0[lane];
            single[lane] += distance;
            joint[lane] += distance * (v[lane] - v0[lane]);
        }
    }
    [single, joint]
}
