//! The instruction sets that there are kernels for, and checks under each of them. Which one a
//! process uses is decided once, when it starts; other ones are for other processes.

use residual_kernels::isa::InstructionSet;

use super::{Failure, Outcome, recorder::Recorder};

/// Makes a check of each instruction set but the one of this process; those that the processor
/// lacks are listed as not covered.
pub(super) fn on_others(
    recorder: &mut Recorder,
    check: impl Fn(&'static str) -> Outcome,
) -> Result<(), Failure> {
    let active = InstructionSet::active()?.name();
    let available = InstructionSet::available().into_iter().map(InstructionSet::name).collect::<Vec<_>>();
    for name in InstructionSet::NAMES.into_iter().filter(|name| *name != active) {
        if available.contains(&name) {
            recorder.check(format!("on {name}"), || check(name));
        } else {
            recorder.not_covered(format!("on {name}"), "this processor does not have it");
        }
    }
    Ok(())
}
