//! What AVX-512 and AVX2 have in common, and `f32` and `f64` on them.

use std::arch::asm;

/// The methods of [`Simd`](super::simd::Simd) that are one intrinsic each.
macro_rules! intrinsics {
    (
        $element:ty, $vector:ty, splat: $splat:ident, zero: $zero:ident, load: $load:ident, store: $store:ident,
        add: $add:ident, sub: $sub:ident, mul: $mul:ident, max: $max:ident, fma: $fma:ident, fnma: $fnma:ident
    ) => {
        type Element = $element;
        type Vector = $vector;
        type Square = [$vector; Self::LANES];
        const LANES: usize = size_of::<$vector>() / size_of::<$element>();

        // SAFETY of every block below: the trait's contract is the intrinsic's.
        #[inline(always)]
        unsafe fn splat(x: $element) -> $vector {
            unsafe { $splat(x) }
        }
        #[inline(always)]
        unsafe fn zero() -> $vector {
            unsafe { $zero() }
        }
        #[inline(always)]
        unsafe fn load(p: *const $element) -> $vector {
            unsafe { $load(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut $element, v: $vector) {
            unsafe { $store(p, v) }
        }
        #[inline(always)]
        unsafe fn add(a: $vector, b: $vector) -> $vector {
            unsafe { $add(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: $vector, b: $vector) -> $vector {
            unsafe { $sub(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: $vector, b: $vector) -> $vector {
            unsafe { $mul(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: $vector, b: $vector) -> $vector {
            unsafe { $max(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: $vector, b: $vector, c: $vector) -> $vector {
            unsafe { $fma(a, b, c) }
        }
        #[inline(always)]
        unsafe fn fnma(a: $vector, b: $vector, c: $vector) -> $vector {
            unsafe { $fnma(a, b, c) }
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const $element) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_far(p: *const $element) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_to_write(p: *mut $element) {
            $crate::engine::isa::x86::prefetch_to_write(p)
        }
        #[inline(always)]
        unsafe fn opaque(p: *const $element) -> *const $element {
            $crate::engine::isa::x86::opaque(p)
        }
    };
}

pub(super) use intrinsics;

/// See [`Simd::opaque`](super::simd::Simd::opaque).
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // nothing is read through the pointer
pub(super) fn opaque<T>(mut p: *const T) -> *const T {
    // SAFETY: no instruction at all; the register comes out as it went in.
    unsafe { asm!("/* {0} */", inout(reg) p, options(pure, nomem, nostack, preserves_flags)) };
    p
}

/// See [`Simd::prefetch_to_write`](super::simd::Simd::prefetch_to_write). A processor that does not
/// know the instruction does nothing.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // nothing is read or written
pub(super) fn prefetch_to_write<T>(p: *mut T) {
    // SAFETY: a hint, which neither changes nor faults whatever the address.
    unsafe { asm!("prefetchw [{0}]", in(reg) p, options(nomem, nostack, preserves_flags)) };
}
