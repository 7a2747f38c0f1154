//! What AVX-512 and AVX2 have in common.

use std::arch::asm;

/// See [`Simd::opaque`](super::simd::Simd::opaque).
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // nothing is read through the pointer
pub(super) fn opaque(mut p: *const f32) -> *const f32 {
    // SAFETY: no instruction at all; the register comes out as it went in.
    unsafe { asm!("/* {0} */", inout(reg) p, options(pure, nomem, nostack, preserves_flags)) };
    p
}
