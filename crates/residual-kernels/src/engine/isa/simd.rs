//! What a kernel asks of an instruction set: a register of `f32` lanes and a dozen operations.
//!
//! Kernels are written once, generic over [`Simd`], and instantiated per instruction set by the
//! macro of [`table`](super::table). Not here: the kernels.

/// A register of [`LANES`](Simd::LANES) numbers and what can be done with it.
///
/// Every method is `#[inline(always)]`, so that it becomes part of the kernel that uses it and
/// is compiled with that kernel's target features.
///
/// # Safety
/// Every method may only be called where the processor has the instruction set. Pointers must be
/// valid for as many elements as are read or written; they need no alignment.
pub(crate) trait Simd: Copy + 'static {
    /// Numbers in a register.
    const LANES: usize;
    /// The register.
    type Vector: Copy;
    /// Chooses the first lanes of a register.
    type Mask: Copy;

    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self::Vector;
    /// All lanes zero.
    unsafe fn zero() -> Self::Vector;
    /// The `LANES` numbers at `p`.
    unsafe fn load(p: *const f32) -> Self::Vector;
    /// Writes all lanes to `p`.
    unsafe fn store(p: *mut f32, v: Self::Vector);
    /// The mask of the first `lanes` lanes; all of them if there are fewer.
    unsafe fn mask(lanes: usize) -> Self::Mask;
    /// The masked numbers at `p`, zeros elsewhere. Other elements are not touched.
    unsafe fn load_masked(p: *const f32, mask: Self::Mask) -> Self::Vector;
    /// Writes the masked lanes to `p`. Other elements are not touched.
    unsafe fn store_masked(p: *mut f32, v: Self::Vector, mask: Self::Mask);
    /// Transposes a square of `LANES` rows of `LANES` numbers.
    unsafe fn transpose(square: *mut f32);
    /// a + b
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a − b
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger of a and b; b if a is not a number.
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b + c, rounded once where the hardware can.
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// c − a · b, rounded once where the hardware can.
    unsafe fn fnma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Brings the line at `p` into the first cache; `p` may be any address.
    unsafe fn prefetch(p: *const f32);
    /// Brings the line at `p` into the second cache; `p` may be any address.
    unsafe fn prefetch_far(p: *const f32);
    /// Brings the line at `p` into the first cache, to be written; `p` may be any address.
    unsafe fn prefetch_to_write(p: *mut f32);
    /// Returns `p`, and keeps the compiler from knowing that it did.
    ///
    /// Without this it computes the address of every pixel of a tile outside of the loop, which
    /// takes more registers than there are.
    unsafe fn opaque(p: *const f32) -> *const f32;
}

/// Room for a square of the widest register.
#[repr(align(64))]
pub(super) struct Square(pub(super) [f32; 16 * 16]);

impl Square {
    pub(super) const ZERO: Self = Self([0.0; 16 * 16]);
}
