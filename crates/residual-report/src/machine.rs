//! What a run ran on, as far as the system says it.

use std::{env::consts, fs, thread};

use serde::Serialize;

/// A computer in a few words.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The processor's name, or at least its architecture.
    pub processor: String,
    /// Threads that it can run at once.
    pub cores: usize,
    /// The operating system.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            processor: model.map_or(consts::ARCH, |(_, name)| name.trim()).to_owned(),
            cores: thread::available_parallelism().map_or(1, |cores| cores.get()),
            system: consts::OS.to_owned(),
        }
    }
}
