//! Plain Rust for any processor: arrays of four lanes, which compilers turn into the registers
//! that every current processor has (SSE2, NEON).

use super::simd::Simd;

/// No instruction set in particular.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 4;
type Vector = [f32; LANES];

/// Applies `f` lane by lane.
#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> Vector {
    [f(0), f(1), f(2), f(3)]
}

// SAFETY of every block below: the trait's contract. No method needs anything of the processor.
impl Simd for Portable {
    const LANES: usize = LANES;
    type Vector = Vector;
    type Mask = usize;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Vector {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn zero() -> Vector {
        [0.0; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Vector {
        unsafe { p.cast::<Vector>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Vector) {
        unsafe { p.cast::<Vector>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn mask(lanes: usize) -> usize {
        lanes.min(LANES)
    }
    #[inline(always)]
    unsafe fn load_masked(p: *const f32, mask: usize) -> Vector {
        each(|i| if i < mask { unsafe { *p.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_masked(p: *mut f32, v: Vector, mask: usize) {
        for i in 0..mask {
            unsafe { *p.add(i) = v[i] };
        }
    }
    #[inline(always)]
    unsafe fn transpose(square: *mut f32) {
        for i in 0..LANES {
            for j in 0..i {
                unsafe { std::ptr::swap(square.add(i * LANES + j), square.add(j * LANES + i)) };
            }
        }
    }
    #[inline(always)]
    unsafe fn add(a: Vector, b: Vector) -> Vector {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Vector, b: Vector) -> Vector {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Vector, b: Vector) -> Vector {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn max(a: Vector, b: Vector) -> Vector {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn fma(a: Vector, b: Vector, c: Vector) -> Vector {
        // `mul_add` would be a call into the mathematics library where there is no instruction.
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            each(|i| a[i].mul_add(b[i], c[i]))
        } else {
            each(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn fnma(a: Vector, b: Vector, c: Vector) -> Vector {
        unsafe { Self::fma(each(|i| -a[i]), b, c) }
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_far(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_to_write(_: *mut f32) {}
    #[inline(always)]
    unsafe fn opaque(p: *const f32) -> *const f32 {
        p
    }
}

super::table::kernels_for! {
    /// Tiles of 6 pixels × 8 channels use 15 of the 16 registers of SSE2.
    PORTABLE, "scalar", Portable, [inline(never)],
    wide: 2, [1 2 3 4 5 6], [1 2 3], [1 2 3 4 5 6],
    narrow: 1, [1 2 3 4], [1 2], [1 2 3 4 5 6 7 8]
}
