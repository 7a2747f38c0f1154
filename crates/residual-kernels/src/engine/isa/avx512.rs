//! AVX-512: 32 registers of 64 bytes.

use std::{arch::x86_64::*, marker::PhantomData};

use super::{simd::Simd, x86::intrinsics};

/// The instruction set `avx512f` (with `fma`), for registers of `T`.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<T>(PhantomData<T>);

// SAFETY of every block below: the trait's contract is the intrinsic's.
impl Simd for Avx512<f32> {
    intrinsics!(
        f32, __m512, splat: _mm512_set1_ps, zero: _mm512_setzero_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps,
        add: _mm512_add_ps, sub: _mm512_sub_ps, mul: _mm512_mul_ps, max: _mm512_max_ps,
        fma: _mm512_fmadd_ps, fnma: _mm512_fnmadd_ps
    );
    type Mask = __mmask16;
    type Index = __m512i;

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
    unsafe fn index(lanes: &[u8; 16]) -> __m512i {
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(lanes.as_ptr().cast())) }
    }
    #[inline(always)]
    unsafe fn pick(p: *const f32, index: __m512i) -> __m512 {
        unsafe { _mm512_permutexvar_ps(index, Self::load(p)) }
    }
    #[inline(always)]
    unsafe fn max_or_nan(a: __m512, b: __m512) -> __m512 {
        // The instruction gives b if either is NaN; what is left is the case that a is NaN.
        unsafe { _mm512_mask_mov_ps(Self::max(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a) }
    }
    #[inline(always)]
    unsafe fn transpose(square: *mut f32) {
        unsafe {
            let mut rows = [Self::zero(); 16];
            for i in 0..16 {
                rows[i] = Self::load(square.add(16 * i));
            }
            // Pairs of rows, then pairs of pairs: lanes [4k + i] of four rows become quarter k of
            // quads i.
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
}

// SAFETY of every block below: the trait's contract is the intrinsic's.
impl Simd for Avx512<f64> {
    intrinsics!(
        f64, __m512d, splat: _mm512_set1_pd, zero: _mm512_setzero_pd, load: _mm512_loadu_pd, store: _mm512_storeu_pd,
        add: _mm512_add_pd, sub: _mm512_sub_pd, mul: _mm512_mul_pd, max: _mm512_max_pd,
        fma: _mm512_fmadd_pd, fnma: _mm512_fnmadd_pd
    );
    type Mask = __mmask8;
    type Index = __m512i;

    #[inline(always)]
    unsafe fn mask(lanes: usize) -> __mmask8 {
        if lanes >= 8 { !0 } else { (1 << lanes) - 1 }
    }
    #[inline(always)]
    unsafe fn load_masked(p: *const f64, mask: __mmask8) -> __m512d {
        unsafe { _mm512_maskz_loadu_pd(mask, p) }
    }
    #[inline(always)]
    unsafe fn store_masked(p: *mut f64, v: __m512d, mask: __mmask8) {
        unsafe { _mm512_mask_storeu_pd(p, mask, v) }
    }
    #[inline(always)]
    unsafe fn index(lanes: &[u8; 16]) -> __m512i {
        unsafe { _mm512_cvtepu8_epi64(_mm_loadu_si128(lanes.as_ptr().cast())) }
    }
    #[inline(always)]
    unsafe fn pick(p: *const f64, index: __m512i) -> __m512d {
        unsafe { _mm512_permutexvar_pd(index, Self::load(p)) }
    }
    #[inline(always)]
    unsafe fn max_or_nan(a: __m512d, b: __m512d) -> __m512d {
        // The instruction gives b if either is NaN; what is left is the case that a is NaN.
        unsafe { _mm512_mask_mov_pd(Self::max(a, b), _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(a, a), a) }
    }
    #[inline(always)]
    unsafe fn transpose(square: *mut f64) {
        unsafe {
            let mut rows = [Self::zero(); 8];
            for i in 0..8 {
                rows[i] = Self::load(square.add(8 * i));
            }
            // Lanes [2k + i] of two rows become quarter k of pairs[i].
            let mut pairs = [[Self::zero(); 4]; 2];
            for i in 0..4 {
                pairs[0][i] = _mm512_unpacklo_pd(rows[2 * i], rows[2 * i + 1]);
                pairs[1][i] = _mm512_unpackhi_pd(rows[2 * i], rows[2 * i + 1]);
            }
            // Quarter k of the four pairs[i] make up row 2k + i.
            for (i, pairs) in pairs.into_iter().enumerate() {
                let even = [
                    _mm512_shuffle_f64x2::<0b10_00_10_00>(pairs[0], pairs[1]),
                    _mm512_shuffle_f64x2::<0b10_00_10_00>(pairs[2], pairs[3]),
                ];
                let odd = [
                    _mm512_shuffle_f64x2::<0b11_01_11_01>(pairs[0], pairs[1]),
                    _mm512_shuffle_f64x2::<0b11_01_11_01>(pairs[2], pairs[3]),
                ];
                let row = |k: usize| square.add(8 * (2 * k + i));
                Self::store(row(0), _mm512_shuffle_f64x2::<0b10_00_10_00>(even[0], even[1]));
                Self::store(row(1), _mm512_shuffle_f64x2::<0b10_00_10_00>(odd[0], odd[1]));
                Self::store(row(2), _mm512_shuffle_f64x2::<0b11_01_11_01>(even[0], even[1]));
                Self::store(row(3), _mm512_shuffle_f64x2::<0b11_01_11_01>(odd[0], odd[1]));
            }
        }
    }
}

super::table::kernels_for! {
    /// Tiles of 14 pixels × 2 registers of channels use 31 of the 32 registers.
    Avx512, [target_feature(enable = "avx512f,fma")],
    wide: 2, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2 3 4 5 6 7], [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    narrow: 1, [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28], [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16],
    lanes: [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2 3 4], [1 2 3 4 5 6 7 8]
}
