//! What a kernel asks of an instruction set: a register of lanes and a dozen operations.
//!
//! Kernels are written once, generic over [`Simd`], and instantiated per instruction set and
//! element by the macro of [`table`](super::table). Not here: the kernels.

use std::mem::MaybeUninit;

use residual_tensor::Float;

/// A register of [`LANES`](Simd::LANES) numbers and what can be done with it.
///
/// Every method is `#[inline(always)]`, so that it becomes part of the kernel that uses it and
/// is compiled with that kernel's target features.
///
/// # Safety
/// Every method may only be called where the processor has the instruction set. Pointers must be
/// valid for as many elements as are read or written; they need no alignment.
pub(crate) trait Simd: Copy + 'static {
    /// What the numbers are.
    type Element: Float;
    /// Numbers in a register.
    const LANES: usize;
    /// The register.
    type Vector: Copy;
    /// [`LANES`](Simd::LANES) registers. Zero bytes are a valid value.
    type Square: Copy;
    /// Chooses the first lanes of a register.
    type Mask: Copy;
    /// Chooses for each lane a number of another register.
    type Index: Copy;

    /// All lanes `x`.
    unsafe fn splat(x: Self::Element) -> Self::Vector;
    /// All lanes zero.
    unsafe fn zero() -> Self::Vector;
    /// The `LANES` numbers at `p`.
    unsafe fn load(p: *const Self::Element) -> Self::Vector;
    /// Writes all lanes to `p`.
    unsafe fn store(p: *mut Self::Element, v: Self::Vector);
    /// The mask of the first `lanes` lanes; all of them if there are fewer.
    unsafe fn mask(lanes: usize) -> Self::Mask;
    /// The masked numbers at `p`, zeros elsewhere. Other elements are not touched.
    unsafe fn load_masked(p: *const Self::Element, mask: Self::Mask) -> Self::Vector;
    /// Writes the masked lanes to `p`. Other elements are not touched.
    unsafe fn store_masked(p: *mut Self::Element, v: Self::Vector, mask: Self::Mask);
    /// The index that is `lanes[i]` in lane i; each below [`LANES`](Simd::LANES).
    unsafe fn index(lanes: &[u8; 16]) -> Self::Index;
    /// The numbers at `p + index`, lane by lane. All [`LANES`](Simd::LANES) numbers at `p` may be read.
    unsafe fn pick(p: *const Self::Element, index: Self::Index) -> Self::Vector;
    /// Transposes a square of `LANES` rows of `LANES` numbers.
    unsafe fn transpose(square: *mut Self::Element);
    /// a + b
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a − b
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger of a and b; b if one of them is NaN.
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger of a and b; NaN if one of them is NaN.
    unsafe fn max_or_nan(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b + c, rounded once where the hardware can.
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// c − a · b, rounded once where the hardware can.
    unsafe fn fnma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Brings the line at `p` into the first cache; `p` may be any address.
    unsafe fn prefetch(p: *const Self::Element);
    /// Brings the line at `p` into the second cache; `p` may be any address.
    unsafe fn prefetch_far(p: *const Self::Element);
    /// Brings the line at `p` into the first cache, to be written; `p` may be any address.
    unsafe fn prefetch_to_write(p: *mut Self::Element);
    /// Returns `p`, and keeps the compiler from knowing that it did.
    ///
    /// Without this it computes the address of every pixel of a tile outside of the loop, which
    /// takes more registers than there are.
    unsafe fn opaque(p: *const Self::Element) -> *const Self::Element;

    /// All lanes the number of the element's type that is nearest to `x`.
    #[inline(always)]
    unsafe fn constant(x: f64) -> Self::Vector {
        // SAFETY: passed on to the caller.
        unsafe { Self::splat(Self::Element::of(x)) }
    }
}

/// Memory for a square of numbers, zeros at first: as many rows as a register has lanes.
#[derive(Clone, Copy)]
pub(super) struct Square<S: Simd>(MaybeUninit<S::Square>);

impl<S: Simd> Square<S> {
    #[inline(always)]
    pub(super) fn zeros() -> Self {
        Self(MaybeUninit::zeroed())
    }

    #[inline(always)]
    pub(super) fn as_mut_ptr(&mut self) -> *mut S::Element {
        self.0.as_mut_ptr().cast()
    }
}
