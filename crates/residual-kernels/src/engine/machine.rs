//! How many multiply-adds the registers of this machine can do at best. Measured, not looked up; a
//! kernel's speed is judged against it. Not here: any kernel.

use std::{hint::black_box, time::Instant};

use crate::engine::{
    isa::{InstructionSet, Instructions},
    parallel::for_each_task,
    threads,
};

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
        #[cfg(not(target_arch = "x86_64"))]
        Instructions::Avx512 | Instructions::Avx2 => (portable, PORTABLE_LANES),
        Instructions::Portable => (portable, PORTABLE_LANES),
    };
    let threads = threads::count();
    let operations = 2 * ROUNDS * SUMS * lanes * threads;
    operations as f64 / 1e9 / best_seconds(|| for_each_task(threads, |_| kernel(ROUNDS)))
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
    fn a_peak_can_be_measured_within_a_loop() {
        let set = InstructionSet::active().unwrap();
        for_each_task(2, |_| assert!(fma_peak(set) > 0.0));
    }
}
