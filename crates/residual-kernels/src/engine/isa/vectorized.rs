//! Plain loops, compiled for the processor at hand.
//!
//! Passes over memory are simple enough for the compiler to vectorize; it only has to be told
//! which registers there are. What Rust code computes does not depend on that: multiplications
//! and additions are not contracted.

use super::{InstructionSet, Instructions};

/// A loop with what it works on.
pub(crate) trait Loop {
    /// What comes out.
    type Output;

    /// Runs it. Implementations are `#[inline(always)]`: only what is inlined is compiled for the
    /// processor at hand. (Which is why this is not just a closure.)
    fn run(self) -> Self::Output;
}

/// Runs a loop with the instructions of a set. Operations take the
/// [active](InstructionSet::active) one, and so say what the environment asks for in vain, before
/// they divide their work.
pub(crate) fn vectorized<L: Loop>(set: InstructionSet, work: L) -> L::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,fma")]
        unsafe fn avx512<L: Loop>(work: L) -> L::Output {
            work.run()
        }
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<L: Loop>(work: L) -> L::Output {
            work.run()
        }
        match set.instructions() {
            // SAFETY: an instruction set is only handed out if the processor has it.
            Instructions::Avx512 => unsafe { avx512(work) },
            // SAFETY: as above.
            Instructions::Avx2 => unsafe { avx2(work) },
            Instructions::Portable => work.run(),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    match set.instructions() {
        Instructions::Avx512 | Instructions::Avx2 | Instructions::Portable => work.run(),
    }
}
