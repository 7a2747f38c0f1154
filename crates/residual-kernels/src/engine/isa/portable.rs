//! Plain Rust for any processor: arrays of 16 bytes, which compilers turn into the registers
//! that every current processor has (SSE2, NEON).

use std::marker::PhantomData;

use super::simd::Simd;

/// No instruction set in particular, for registers of `T`.
#[derive(Clone, Copy)]
pub(crate) struct Portable<T>(PhantomData<T>);

macro_rules! portable {
    ($element:ty, $lanes:literal) => {
        // SAFETY of every block below: the trait's contract. No method needs anything of the
        // processor.
        impl Simd for Portable<$element> {
            type Element = $element;
            const LANES: usize = $lanes;
            type Vector = [$element; $lanes];
            type Square = [Self::Vector; $lanes];
            type Mask = usize;
            type Index = [usize; $lanes];

            #[inline(always)]
            unsafe fn splat(x: $element) -> Self::Vector {
                [x; $lanes]
            }
            #[inline(always)]
            unsafe fn zero() -> Self::Vector {
                [0.0; $lanes]
            }
            #[inline(always)]
            unsafe fn load(p: *const $element) -> Self::Vector {
                unsafe { p.cast::<Self::Vector>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(p: *mut $element, v: Self::Vector) {
                unsafe { p.cast::<Self::Vector>().write_unaligned(v) }
            }
            #[inline(always)]
            unsafe fn mask(lanes: usize) -> usize {
                lanes.min($lanes)
            }
            #[inline(always)]
            unsafe fn load_masked(p: *const $element, mask: usize) -> Self::Vector {
                each(|i| if i < mask { unsafe { *p.add(i) } } else { 0.0 })
            }
            #[inline(always)]
            unsafe fn store_masked(p: *mut $element, v: Self::Vector, mask: usize) {
                for i in 0..mask {
                    unsafe { *p.add(i) = v[i] };
                }
            }
            #[inline(always)]
            unsafe fn index(lanes: &[u8; 16]) -> Self::Index {
                std::array::from_fn(|i| usize::from(lanes[i]))
            }
            #[inline(always)]
            unsafe fn pick(p: *const $element, index: Self::Index) -> Self::Vector {
                each(|i| unsafe { *p.add(index[i]) })
            }
            #[inline(always)]
            unsafe fn transpose(square: *mut $element) {
                for i in 0..$lanes {
                    for j in 0..i {
                        unsafe { std::ptr::swap(square.add(i * $lanes + j), square.add(j * $lanes + i)) };
                    }
                }
            }
            #[inline(always)]
            unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                each(|i| a[i] + b[i])
            }
            #[inline(always)]
            unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                each(|i| a[i] - b[i])
            }
            #[inline(always)]
            unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                each(|i| a[i] * b[i])
            }
            #[inline(always)]
            unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                each(|i| if a[i] > b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            unsafe fn max_or_nan(a: Self::Vector, b: Self::Vector) -> Self::Vector {
                each(|i| if a[i] > b[i] || a[i].is_nan() { a[i] } else { b[i] })
            }
            #[inline(always)]
            unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                // `mul_add` would be a call into the mathematics library where there is no
                // instruction.
                if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                    each(|i| a[i].mul_add(b[i], c[i]))
                } else {
                    each(|i| a[i] * b[i] + c[i])
                }
            }
            #[inline(always)]
            unsafe fn fnma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                unsafe { Self::fma(each(|i| -a[i]), b, c) }
            }
            #[inline(always)]
            unsafe fn prefetch(_: *const $element) {}
            #[inline(always)]
            unsafe fn prefetch_far(_: *const $element) {}
            #[inline(always)]
            unsafe fn prefetch_to_write(_: *mut $element) {}
            #[inline(always)]
            unsafe fn opaque(p: *const $element) -> *const $element {
                p
            }
        }
    };
}

portable!(f32, 4);
portable!(f64, 2);

/// Applies `f` lane by lane.
#[inline(always)]
fn each<T, const LANES: usize>(f: impl Fn(usize) -> T) -> [T; LANES] {
    std::array::from_fn(f)
}

super::table::kernels_for! {
    /// Tiles of 6 pixels × 2 registers of channels use 15 of the 16 registers of SSE2.
    Portable, [inline(never)],
    wide: 2, [1 2 3 4 5 6], [1 2 3], [1 2 3 4 5 6],
    narrow: 1, [1 2 3 4], [1 2], [1 2 3 4 5 6 7 8],
    lanes: [1 2 3 4 5 6 7 8], [1 2], [1 2 3 4]
}
