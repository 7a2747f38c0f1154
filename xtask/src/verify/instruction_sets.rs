//! The instruction sets that there are kernels for, and checks under each of them. Which one a
//! process uses is decided once, when it starts; other ones are for other processes.

use residual_kernels::isa;

use super::{Failure, Outcome, recorder::Recorder};

/// All that this project has kernels for, by the names that `RESIDUAL_ISA` knows.
const ALL: [&str; 3] = ["avx512", "avx2", "scalar"];

/// Makes a check of each instruction set but the one of this process; those that the processor
/// lacks are listed as not covered.
pub(super) fn on_others(recorder: &mut Recorder, check: impl Fn(&'static str) -> Outcome) {
    let available: Vec<&str> = isa::available().into_iter().map(|isa| isa.name).collect();
    for name in ALL.into_iter().filter(|name| *name != isa::active().name) {
        if available.contains(&name) {
            recorder.check(format!("on {name}"), || check(name));
        } else {
            recorder.not_covered(format!("on {name}"), "this processor does not have it");
        }
    }
}

/// # Errors
/// If the environment asks for an instruction set that does not exist here: what is verified then
/// would be another one.
pub(super) fn check_environment() -> Result<(), Failure> {
    let available: Vec<&str> = isa::available().into_iter().map(|isa| isa.name).collect();
    match std::env::var("RESIDUAL_ISA") {
        Ok(name) if !available.contains(&&*name) => {
            let available = available.join(", ");
            Err(format!("RESIDUAL_ISA is '{name}', but this processor has {available}").into())
        }
        _ => Ok(()),
    }
}
