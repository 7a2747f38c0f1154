//! The protocol by which threads share a loop, in all interleavings of small programs: `loom` takes
//! the place of the standard library's atomics and locks. The models stand beside the protocol, in
//! `residual-kernels`; here they are built and run.

use super::{Failure, Settings, recorder::Recorder, unit::Build};

/// Where the models are.
const PACKAGE: &str = "residual-kernels";

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    if !recorder.selects(PACKAGE) {
        return Ok(());
    }
    // A folder of its own: other flags would have everything compiled anew in turns.
    let folder = settings.root.join("target/models");
    let folder = folder.to_str().ok_or("the target folder's name is not Unicode")?;
    let build = Build {
        packages: &[PACKAGE],
        mark: " models",
        options: &["--release", "--lib"],
        variables: &[("RUSTFLAGS", "--cfg loom"), ("CARGO_TARGET_DIR", folder)],
        only: Some("threads::models"),
    };
    build.run(settings, recorder)
}
