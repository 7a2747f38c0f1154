//! What a tensor can hold, and what a network can compute in.

use std::fmt::Debug;

use half::f16;

/// The size in bytes of the largest element.
pub(crate) const LARGEST: usize = 8;

/// A plain number that a tensor can hold. Sealed: the list of types is in this file alone.
///
/// Every bit pattern is a valid value ([`bytemuck::Pod`]), which is what allows recycled
/// memory to be handed out without clearing it.
pub trait Element:
    sealed::Sealed + bytemuck::Pod + Default + Debug + PartialEq + PartialOrd + Send + Sync + 'static
{
    /// The name of the type, as error messages and file formats write it.
    const NAME: &'static str;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($($t:ident),*) => { $(
        impl sealed::Sealed for $t {}
        impl Element for $t { const NAME: &'static str = stringify!($t); }
        // What buffers and shapes rely on.
        const _: () = assert!(align_of::<$t>() <= crate::memory::ALIGNMENT && size_of::<$t>() <= LARGEST);
    )* };
}
element!(f32, f64, f16, i64, i32, u8);

/// A number that networks are computed in: `f32`, or `f64` where gradients are checked.
pub trait Float: Element + ndarray::NdFloat + std::iter::Sum {
    /// The nearest value to `x`.
    fn of(x: f64) -> Self;
    /// This value in double precision.
    fn to_f64(self) -> f64;
    /// Of something that exists once for each type, the one for this type.
    fn pick<P: PerFloat>(all: P) -> P::For<Self>;
}

/// Something that exists once for each [`Float`]: a table of kernels, a function of a library.
///
/// Generic code gets at it by [`Float::pick`], and the compiler sees to it that no type is left
/// out.
///
/// ```
/// use residual_tensor::{Float, PerFloat};
///
/// struct Digits;
/// impl PerFloat for Digits {
///     type For<T: Float> = u32;
///     fn f32(self) -> u32 { f32::DIGITS }
///     fn f64(self) -> u32 { f64::DIGITS }
/// }
/// fn digits<T: Float>() -> u32 { T::pick(Digits) }
/// assert_eq!((digits::<f32>(), digits::<f64>()), (6, 15));
/// ```
pub trait PerFloat {
    /// What there is for `T`.
    type For<T: Float>;
    /// The one for single precision.
    fn f32(self) -> Self::For<f32>;
    /// The one for double precision.
    fn f64(self) -> Self::For<f64>;
}

impl Float for f32 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn pick<P: PerFloat>(all: P) -> P::For<Self> {
        all.f32()
    }
}

impl Float for f64 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn pick<P: PerFloat>(all: P) -> P::For<Self> {
        all.f64()
    }
}
