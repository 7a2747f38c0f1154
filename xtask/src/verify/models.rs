//! The protocol by which threads share a loop, in small programs and all their interleavings of up to 2 to 5
//! preemptions: `loom` takes the place of the standard library's atomics and locks. The models are a test program of
//! `residual-kernels`, which takes the protocol's files and nothing else of that crate.

use super::{Failure, Settings, recorder::Recorder, unit::Build};

/// Where the models are.
const PACKAGE: &str = "residual-kernels";

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    if !recorder.selects(PACKAGE) {
        return Ok(());
    }
    let build = Build { packages: &[PACKAGE], mark: " models", options: &["--release", "--test", "models"] };
    build.run(settings, recorder)
}
