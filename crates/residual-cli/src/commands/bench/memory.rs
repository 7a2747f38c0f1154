//! `residual bench --memory`: how fast this machine moves memory, which is the limit of whatever computes
//! little per number.

use std::{hint::black_box, time::Instant};

use rayon::prelude::*;
use serde::Serialize;

use crate::{
    Context,
    output::{self, line, table},
};

/// Three arrays of this size are much for any cache.
const ARRAY_BYTES: usize = 512 << 20;

/// Measurements, the best of which counts: whatever else runs can only make one slower.
const REPEATS: usize = 24;

/// Bytes per second between processor and memory, on all threads of the pool that this was
/// measured in. Bytes that a program asks for: a processor that first reads the line that it is
/// about to write moves more.
#[derive(Serialize)]
struct Bandwidth {
    /// `s += a[i]`
    read: f64,
    /// `a[i] = s`
    write: f64,
    /// `a[i] = b[i]`, both counted.
    copy: f64,
    /// `a[i] = b[i] + s · c[i]`, all three counted (McCalpin's STREAM).
    triad: f64,
}

/// Measures and prints it.
pub(super) fn run(context: &Context) {
    let bandwidth = Bandwidth::measure(ARRAY_BYTES);
    if context.json {
        return output::json(&bandwidth);
    }
    let Bandwidth { read, write, copy, triad } = bandwidth;
    let rows = [("read", read), ("write", write), ("copy", copy), ("triad", triad)];
    let rows = rows.map(|(name, rate)| vec![name.to_owned(), format!("{:.1}", rate / 1e9)]);
    line(table(&["memory", "GB/s"], 1, rows));
    line(format_args!("\n{} threads", rayon::current_num_threads()));
}

impl Bandwidth {
    /// Measured with three arrays of `bytes` each, which should not fit into any cache.
    fn measure(bytes: usize) -> Self {
        /// Numbers that a thread takes at a time.
        const CHUNK: usize = 1 << 18;
        let length = bytes.div_ceil(size_of::<f32>()).max(1);
        let [mut a, mut b, mut c] = [1.0_f32, 2.0, 3.0].map(|x| vec![x; length]);
        let rate = |arrays: usize, seconds: f64| (arrays * length * size_of::<f32>()) as f64 / seconds;
        // Every thread has touched its part before anything is timed.
        for array in [&mut a, &mut b, &mut c] {
            array.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(1.0));
        }
        let read = best_seconds(|| {
            black_box(b.par_chunks(CHUNK).map(sum).sum::<f32>());
        });
        let write = best_seconds(|| a.par_chunks_mut(CHUNK).for_each(|a| a.fill(black_box(0.5))));
        let copy = best_seconds(|| {
            a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(a, b)| a.copy_from_slice(b));
        });
        let triad = best_seconds(|| {
            let s = black_box(0.5_f32);
            let from = b.par_chunks(CHUNK).zip(c.par_chunks(CHUNK));
            a.par_chunks_mut(CHUNK).zip(from).for_each(|(a, (b, c))| {
                for ((a, &b), &c) in a.iter_mut().zip(b).zip(c) {
                    *a = b + s * c;
                }
            });
        });
        black_box(a);
        Self { read: rate(1, read), write: rate(1, write), copy: rate(2, copy), triad: rate(3, triad) }
    }
}

/// A sum that does not wait for each of its additions.
fn sum(numbers: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 64];
    for numbers in numbers.chunks_exact(64) {
        for (sum, &number) in sums.iter_mut().zip(numbers) {
            *sum += number;
        }
    }
    sums.iter().sum()
}

/// The least of several times, in seconds.
fn best_seconds(mut run: impl FnMut()) -> f64 {
    let timed = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..REPEATS).map(timed).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_of_arrays_of_any_size_can_be_measured() {
        for bytes in [0, 4, 1 << 20] {
            let Bandwidth { read, write, copy, triad } = Bandwidth::measure(bytes);
            assert!([read, write, copy, triad].into_iter().all(|rate| rate.is_finite() && rate > 0.0));
        }
    }
}
