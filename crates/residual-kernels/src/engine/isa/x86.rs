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

/// See [`Simd::prefetch_to_write`](super::simd::Simd::prefetch_to_write). A processor that does not
/// know the instruction does nothing.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // nothing is read or written
pub(super) fn prefetch_to_write(p: *mut f32) {
    // SAFETY: a hint, which neither changes nor faults whatever the address.
    unsafe { asm!("prefetchw [{0}]", in(reg) p, options(nomem, nostack, preserves_flags)) };
}
