//! AVX2 with FMA: 16 registers of 8 lanes.

use std::arch::x86_64::*;

use super::simd::Simd;

/// The instruction set `avx2` (with `fma`).
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// The first `lanes` lanes; the number itself is kept because a store of a whole register is
/// faster without a mask on some processors.
#[derive(Clone, Copy)]
pub(crate) struct Mask {
    lanes: usize,
    bits: __m256i,
}

// SAFETY of every block below: the trait's contract is the intrinsic's.
impl Simd for Avx2 {
    const LANES: usize = 8;
    type Vector = __m256;
    type Mask = Mask;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn zero() -> __m256 {
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn mask(lanes: usize) -> Mask {
        let lanes = lanes.min(8);
        let counts = unsafe { _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7) };
        Mask { lanes, bits: unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), counts) } }
    }
    #[inline(always)]
    unsafe fn load_masked(p: *const f32, mask: Mask) -> __m256 {
        unsafe { _mm256_maskload_ps(p, mask.bits) }
    }
    #[inline(always)]
    unsafe fn store_masked(p: *mut f32, v: __m256, mask: Mask) {
        if mask.lanes == 8 {
            unsafe { _mm256_storeu_ps(p, v) }
        } else {
            unsafe { _mm256_maskstore_ps(p, mask.bits, v) }
        }
    }
    #[inline(always)]
    unsafe fn transpose(square: *mut f32) {
        unsafe {
            let mut rows = [Self::zero(); 8];
            for i in 0..8 {
                rows[i] = Self::load(square.add(8 * i));
            }
            // Pairs of rows, then pairs of pairs: lanes [4k + i] of four rows become half i.
            let mut quads = [Self::zero(); 8];
            for i in [0, 4] {
                let low =
                    [_mm256_unpacklo_ps(rows[i], rows[i + 1]), _mm256_unpacklo_ps(rows[i + 2], rows[i + 3])];
                let high =
                    [_mm256_unpackhi_ps(rows[i], rows[i + 1]), _mm256_unpackhi_ps(rows[i + 2], rows[i + 3])];
                quads[i] = _mm256_shuffle_ps::<0b01_00_01_00>(low[0], low[1]);
                quads[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(low[0], low[1]);
                quads[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(high[0], high[1]);
                quads[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(high[0], high[1]);
            }
            // Half k of quads i and i + 4 make up row 4k + i.
            for i in 0..4 {
                let (first, second) = (quads[i], quads[i + 4]);
                Self::store(square.add(8 * i), _mm256_permute2f128_ps::<0x20>(first, second));
                Self::store(square.add(8 * (i + 4)), _mm256_permute2f128_ps::<0x31>(first, second));
            }
        }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fnmadd_ps(a, b, c) }
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
    /// Tiles of 6 pixels × 16 channels use 15 of the 16 registers.
    AVX2, "avx2", Avx2, [target_feature(enable = "avx2,fma")],
    wide: 2, [1 2 3 4 5 6], [1 2 3], [1 2 3 4 5 6],
    narrow: 1, [1 2 3 4 5 6 7 8 9 10 11], [1 2 3 4 5], [1 2 3 4 5 6 7 8 9 10 11 12]
}
