//! AVX-512: 32 registers of 16 lanes.

use std::arch::x86_64::*;

use super::simd::Simd;

/// The instruction set `avx512f` (with `fma`).
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

// SAFETY of every block below: the trait's contract is the intrinsic's.
impl Simd for Avx512 {
    const LANES: usize = 16;
    type Vector = __m512;
    type Mask = __mmask16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn zero() -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn mask(lanes: usize) -> __mmask16 {
        if lanes >= 16 { !0 } else { (1 << lanes) - 1 }
    }
    #[inline(always)]
    unsafe fn load_masked(p: *const f32, mask: __mmask16) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(mask, p) }
    }
    #[inline(always)]
    unsafe fn store_masked(p: *mut f32, v: __m512, mask: __mmask16) {
        unsafe { _mm512_mask_storeu_ps(p, mask, v) }
    }
    #[inline(always)]
    unsafe fn transpose(square: *mut f32) {
        unsafe {
            let mut rows = [Self::zero(); 16];
            for i in 0..16 {
                rows[i] = Self::load(square.add(16 * i));
            }
            // Pairs of rows, then pairs of pairs: lanes [4k + i] of four rows become quarter i.
            let mut quads = [Self::zero(); 16];
            for i in (0..16).step_by(4) {
                let low =
                    [_mm512_unpacklo_ps(rows[i], rows[i + 1]), _mm512_unpacklo_ps(rows[i + 2], rows[i + 3])];
                let high =
                    [_mm512_unpackhi_ps(rows[i], rows[i + 1]), _mm512_unpackhi_ps(rows[i + 2], rows[i + 3])];
                quads[i] = _mm512_shuffle_ps::<0b01_00_01_00>(low[0], low[1]);
                quads[i + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(low[0], low[1]);
                quads[i + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(high[0], high[1]);
                quads[i + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(high[0], high[1]);
            }
            // Quarter k of quads i, i + 4, i + 8, i + 12 make up row 4k + i.
            for i in 0..4 {
                let even = [
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(quads[i], quads[i + 4]),
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(quads[i + 8], quads[i + 12]),
                ];
                let odd = [
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(quads[i], quads[i + 4]),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(quads[i + 8], quads[i + 12]),
                ];
                let row = |k: usize| square.add(16 * (4 * k + i));
                Self::store(row(0), _mm512_shuffle_f32x4::<0b10_00_10_00>(even[0], even[1]));
                Self::store(row(1), _mm512_shuffle_f32x4::<0b10_00_10_00>(odd[0], odd[1]));
                Self::store(row(2), _mm512_shuffle_f32x4::<0b11_01_11_01>(even[0], even[1]));
                Self::store(row(3), _mm512_shuffle_f32x4::<0b11_01_11_01>(odd[0], odd[1]));
            }
        }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn prefetch_far(p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn prefetch_to_write(p: *mut f32) {
        super::x86::prefetch_to_write(p)
    }
    #[inline(always)]
    unsafe fn opaque(p: *const f32) -> *const f32 {
        super::x86::opaque(p)
    }
}

super::table::kernels_for! {
    /// Tiles of 14 pixels × 32 channels use 31 of the 32 registers.
    AVX512, "avx512", Avx512, [target_feature(enable = "avx512f,fma")],
    wide: 2, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2 3 4 5 6 7], [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    narrow: 1, [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28], [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16]
}
