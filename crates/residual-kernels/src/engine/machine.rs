//! What this machine can do at best: multiply-adds in registers, and bytes to and from memory.
//! Measured, not looked up; a kernel's speed is judged against it. Not here: any kernel.

use std::{hint::black_box, time::Instant};

use rayon::prelude::*;

use crate::engine::isa::{InstructionSet, Instructions};

/// Sums that are independent of each other: enough to keep two units of four cycles' latency busy.
const SUMS: usize = 12;

/// Rounds of [`SUMS`] multiply-adds in one measurement: some milliseconds.
const ROUNDS: usize = 1 << 20;

/// Measurements, the best of which counts: whatever else runs can only make one slower.
const REPEATS: usize = 24;

/// The most multiply-adds of `f32` per second that the instruction set reaches on all threads of
/// the pool that this is called in, in GFLOPS (a multiply-add is two operations).
///
/// ```
/// use residual_kernels::{isa::InstructionSet, machine};
///
/// let set = InstructionSet::active()?;
/// println!("{}: {:.0} GFLOPS", set.name(), machine::fma_peak(set));
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn fma_peak(set: InstructionSet) -> f64 {
    let (kernel, lanes): (fn(usize), usize) = match set.instructions() {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => (
            |rounds| {
                // SAFETY: an instruction set is handed out only where the processor has it.
                unsafe { x86::avx512(rounds) }
            },
            16,
        ),
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => (
            |rounds| {
                // SAFETY: as above.
                unsafe { x86::avx2(rounds) }
            },
            8,
        ),
        _ => (portable, PORTABLE_LANES),
    };
    let operations = 2 * ROUNDS * SUMS * lanes * rayon::current_num_threads();
    operations as f64 / 1e9 / best_seconds(|| drop(rayon::broadcast(|_| kernel(ROUNDS))))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{arch::x86_64::*, hint::black_box};

    use super::SUMS;

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(rounds: usize) {
        let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(1.0)));
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(rounds: usize) {
        let (a, b) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(1.0)));
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }
}

const PORTABLE_LANES: usize = 4;

/// What the compiler makes of a multiplication and an addition for any processor of the target.
fn portable(rounds: usize) {
    let (a, b) = (black_box(0.5_f32), black_box(1.0));
    let mut sums = [[0.0_f32; PORTABLE_LANES]; SUMS];
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = *sum * a + b;
        }
    }
    black_box(sums);
}

/// Bytes per second between processor and memory, on all threads of the pool that this was
/// measured in. Bytes that a program asks for: a processor that first reads the line that it is
/// about to write moves more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    /// `s += a[i]`
    pub read: f64,
    /// `a[i] = s`
    pub write: f64,
    /// `a[i] = b[i]`, both counted.
    pub copy: f64,
    /// `a[i] = b[i] + s · c[i]`, all three counted (McCalpin's STREAM).
    pub triad: f64,
}

/// Measures [`Bandwidth`] with three arrays of `bytes` each, which should not fit into any cache.
pub fn bandwidth(bytes: usize) -> Bandwidth {
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
    Bandwidth { read: rate(1, read), write: rate(1, write), copy: rate(2, copy), triad: rate(3, triad) }
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
    fn every_instruction_set_has_a_peak() {
        for set in InstructionSet::available() {
            assert!(fma_peak(set).is_finite() && fma_peak(set) > 0.0, "{}", set.name());
        }
    }

    #[test]
    fn bandwidth_of_arrays_of_any_size_can_be_measured() {
        for bytes in [0, 4, 1 << 20] {
            let Bandwidth { read, write, copy, triad } = bandwidth(bytes);
            assert!([read, write, copy, triad].into_iter().all(|rate| rate.is_finite() && rate > 0.0));
        }
    }
}
