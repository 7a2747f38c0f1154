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

/// Runs a loop with the [active](InstructionSet::active) instructions, or with those that every
/// processor has if the environment asks for others: the result is the same.
pub(crate) fn vectorized<L: Loop>(work: L) -> L::Output {
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
        match InstructionSet::active().map(InstructionSet::instructions) {
            // SAFETY: an instruction set is only handed out if the processor has it.
            Ok(Instructions::Avx512) => return unsafe { avx512(work) },
            // SAFETY: as above.
            Ok(Instructions::Avx2) => return unsafe { avx2(work) },
            Ok(Instructions::Portable) | Err(_) => {}
        }
    }
    work.run()
}
