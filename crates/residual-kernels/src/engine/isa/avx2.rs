//! AVX2 with FMA: 16 registers of 32 bytes.

use std::{arch::x86_64::*, marker::PhantomData};

use super::{simd::Simd, x86::intrinsics};

/// The instruction set `avx2` (with `fma`), for registers of `T`.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<T>(PhantomData<T>);

/// The first `lanes` lanes; the number itself is kept because a store of a whole register is
/// faster without a mask on some processors.
#[derive(Clone, Copy)]
pub(crate) struct Mask {
    lanes: usize,
    bits: __m256i,
}

// SAFETY of every block below: the trait's contract is the intrinsic's.
impl Simd for Avx2<f32> {
    intrinsics!(
        f32, __m256, splat: _mm256_set1_ps, zero: _mm256_setzero_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps,
        add: _mm256_add_ps, sub: _mm256_sub_ps, mul: _mm256_mul_ps, max: _mm256_max_ps,
        fma: _mm256_fmadd_ps, fnma: _mm256_fnmadd_ps
    );
    type Mask = Mask;
    type Index = __m256i;

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
    unsafe fn index(lanes: &[u8; 16]) -> __m256i {
        unsafe { _mm256_cvtepu8_epi32(_mm_loadu_si128(lanes.as_ptr().cast())) }
    }
    #[inline(always)]
    unsafe fn pick(p: *const f32, index: __m256i) -> __m256 {
        unsafe { _mm256_permutevar8x32_ps(Self::load(p), index) }
    }
    #[inline(always)]
    unsafe fn max_or_nan(a: __m256, b: __m256) -> __m256 {
        // The instruction gives b if either is NaN; what is left is the case that a is NaN.
        unsafe { _mm256_blendv_ps(Self::max(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)) }
    }
    #[inline(always)]
    unsafe fn transpose(square: *mut f32) {
        unsafe {
            let mut rows = [Self::zero(); 8];
            for i in 0..8 {
                rows[i] = Self::load(square.add(8 * i));
            }
            // Pairs of rows, then pairs of pairs: lanes [4k + i] of four rows become half k of
            // quads i.
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
}

// SAFETY of every block below: the trait's contract is the intrinsic's.
impl Simd for Avx2<f64> {
    intrinsics!(
        f64, __m256d, splat: _mm256_set1_pd, zero: _mm256_setzero_pd, load: _mm256_loadu_pd, store: _mm256_storeu_pd,
        add: _mm256_add_pd, sub: _mm256_sub_pd, mul: _mm256_mul_pd, max: _mm256_max_pd,
        fma: _mm256_fmadd_pd, fnma: _mm256_fnmadd_pd
    );
    type Mask = Mask;
    type Index = __m256i;

    #[inline(always)]
    unsafe fn mask(lanes: usize) -> Mask {
        let lanes = lanes.min(4);
        let counts = unsafe { _mm256_setr_epi64x(0, 1, 2, 3) };
        Mask { lanes, bits: unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(lanes as i64), counts) } }
    }
    #[inline(always)]
    unsafe fn load_masked(p: *const f64, mask: Mask) -> __m256d {
        unsafe { _mm256_maskload_pd(p, mask.bits) }
    }
    #[inline(always)]
    unsafe fn store_masked(p: *mut f64, v: __m256d, mask: Mask) {
        if mask.lanes == 4 {
            unsafe { _mm256_storeu_pd(p, v) }
        } else {
            unsafe { _mm256_maskstore_pd(p, mask.bits, v) }
        }
    }
    #[inline(always)]
    unsafe fn index(lanes: &[u8; 16]) -> __m256i {
        // AVX2 moves halves of numbers: 2i and 2i + 1 for number i.
        unsafe {
            let index = _mm256_cvtepu8_epi64(_mm_loadu_si128(lanes.as_ptr().cast()));
            let halves = _mm256_or_si256(index, _mm256_slli_epi64::<32>(index));
            _mm256_add_epi32(_mm256_slli_epi32::<1>(halves), _mm256_set1_epi64x(1 << 32))
        }
    }
    #[inline(always)]
    unsafe fn pick(p: *const f64, index: __m256i) -> __m256d {
        unsafe { _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(Self::load(p)), index)) }
    }
    #[inline(always)]
    unsafe fn max_or_nan(a: __m256d, b: __m256d) -> __m256d {
        // The instruction gives b if either is NaN; what is left is the case that a is NaN.
        unsafe { _mm256_blendv_pd(Self::max(a, b), a, _mm256_cmp_pd::<_CMP_UNORD_Q>(a, a)) }
    }
    #[inline(always)]
    unsafe fn transpose(square: *mut f64) {
        unsafe {
            let row = |i: usize| Self::load(square.add(4 * i));
            let rows = [row(0), row(1), row(2), row(3)];
            // Lanes [2k + i] of two rows become half k of a pair.
            let low = [_mm256_unpacklo_pd(rows[0], rows[1]), _mm256_unpacklo_pd(rows[2], rows[3])];
            let high = [_mm256_unpackhi_pd(rows[0], rows[1]), _mm256_unpackhi_pd(rows[2], rows[3])];
            // Half k of both pairs make up row 2k + i.
            for (i, [first, second]) in [low, high].into_iter().enumerate() {
                Self::store(square.add(4 * i), _mm256_permute2f128_pd::<0x20>(first, second));
                Self::store(square.add(4 * (i + 2)), _mm256_permute2f128_pd::<0x31>(first, second));
            }
        }
    }
}

super::table::kernels_for! {
    /// Tiles of 6 pixels × 2 registers of channels use 15 of the 16 registers.
    Avx2, [target_feature(enable = "avx2,fma")],
    wide: 2, [1 2 3 4 5 6], [1 2 3], [1 2 3 4 5 6],
    narrow: 1, [1 2 3 4 5 6 7 8 9 10 11], [1 2 3 4 5], [1 2 3 4 5 6 7 8 9 10 11 12],
    lanes: [1 2 3 4 5 6 7 8 9 10], [1 2], [1 2 3 4 5 6]
}
