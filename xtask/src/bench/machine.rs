//! The machine: what it is, and the limits that every figure is held against.

use rayon::{ThreadPool, ThreadPoolBuilder};
use residual_kernels::{isa::InstructionSet, machine};
use serde::Serialize;

/// What was found out about the machine.
#[derive(Serialize)]
pub(super) struct Machine {
    #[serde(flatten)]
    pub(super) about: residual_train::Machine,
    /// For one thread, and for as many as are measured.
    pub(super) limits: Vec<Limits>,
}

/// What a number of threads can do at best.
#[derive(Serialize)]
pub(super) struct Limits {
    pub(super) threads: usize,
    pub(super) fma_peaks: Vec<Peak>,
    /// In bytes per second.
    pub(super) memory: Memory,
}

/// GFLOPS of multiply-adds in `f32`.
#[derive(Serialize)]
pub(super) struct Peak {
    pub(super) isa: &'static str,
    pub(super) gflops: f64,
}

#[derive(Serialize)]
pub(super) struct Memory {
    pub(super) read: f64,
    pub(super) write: f64,
    pub(super) copy: f64,
    pub(super) triad: f64,
}

/// Three arrays of this size are much for any cache.
const ARRAY_BYTES: usize = 512 << 20;

impl Machine {
    /// Measures the limits.
    pub(super) fn measure(threads: usize) -> Self {
        anstream::eprintln!("measuring the machine");
        let mut counts = vec![1, threads];
        counts.dedup();
        Self { about: residual_train::Machine::here(), limits: counts.into_iter().map(Limits::of).collect() }
    }

    /// Measures the multiply-adds once more and keeps what is more: a limit is not lower because
    /// something else was running when it was looked for.
    pub(super) fn measure_peaks_again(&mut self) {
        for limits in &mut self.limits {
            let again = Limits::pool(limits.threads).install(Peak::all);
            for (peak, again) in limits.fma_peaks.iter_mut().zip(again) {
                peak.gflops = peak.gflops.max(again.gflops);
            }
        }
    }

    /// The most GFLOPS on so many threads, with the best instruction set.
    pub(super) fn peak(&self, threads: usize) -> f64 {
        let limits = self.limits.iter().find(|limits| limits.threads == threads);
        let peaks = limits.into_iter().flat_map(|limits| &limits.fma_peaks);
        peaks.map(|peak| peak.gflops).fold(f64::NAN, f64::max)
    }
}

impl Limits {
    fn of(threads: usize) -> Self {
        Self::pool(threads).install(|| {
            let machine::Bandwidth { read, write, copy, triad } = machine::bandwidth(ARRAY_BYTES);
            Self { threads, fma_peaks: Peak::all(), memory: Memory { read, write, copy, triad } }
        })
    }

    fn pool(threads: usize) -> ThreadPool {
        ThreadPoolBuilder::new().num_threads(threads).build().expect("a few threads")
    }
}

impl Peak {
    /// Of every instruction set that there is, on the threads of this pool.
    fn all() -> Vec<Self> {
        let peak = |set: InstructionSet| Self { isa: set.name(), gflops: machine::fma_peak(set) };
        InstructionSet::available().into_iter().map(peak).collect()
    }
}
