//! The machine: what it is, and the limits that every figure is held against.

use std::{path::Path, process::Command};

use rayon::{ThreadPool, ThreadPoolBuilder};
use residual_kernels::{isa::InstructionSet, machine};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// What was found out about the machine.
#[derive(Serialize)]
pub(super) struct Machine {
    #[serde(flatten)]
    pub(super) about: residual_report::Machine,
    /// For one thread, and for as many as are measured.
    pub(super) limits: Vec<Limits>,
}

/// What a number of threads can do at best.
#[derive(Serialize)]
pub(super) struct Limits {
    pub(super) threads: usize,
    pub(super) fma_peaks: Vec<Peak>,
    pub(super) memory: Memory,
}

/// GFLOPS of multiply-adds in `f32`.
#[derive(Serialize)]
pub(super) struct Peak {
    pub(super) isa: &'static str,
    pub(super) gflops: f64,
}

/// What `residual bench --memory` measures, in bytes per second.
#[derive(Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) read: f64,
    pub(super) write: f64,
    pub(super) copy: f64,
    pub(super) triad: f64,
}

impl Machine {
    /// Measures the limits, those of memory by the `residual` command.
    pub(super) fn measure(threads: usize, residual: &Path) -> Result<Self, Failure> {
        anstream::eprintln!("measuring the machine");
        let mut counts = vec![1, threads];
        counts.dedup();
        let limits = counts.into_iter().map(|threads| Limits::of(threads, residual));
        Ok(Self { about: residual_report::Machine::here(), limits: limits.collect::<Result<_, _>>()? })
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
    fn of(threads: usize, residual: &Path) -> Result<Self, Failure> {
        let told = ["bench", "--memory", "--json", "--threads", &threads.to_string()];
        let output = Command::new(residual).args(told).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the speed of memory cannot be measured: {}", said.trim()).into());
        }
        let memory = serde_json::from_slice(&output.stdout)?;
        Ok(Self { threads, fma_peaks: Self::pool(threads).install(Peak::all), memory })
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
