//! Normalization of inputs on their way into a kernel: a pass over memory that is never made.

use super::simd::Simd;

/// `(x − centre) · scale + shift` in each channel, negative results cut off if `relu`. Pointers are
/// to the first channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Normalize<T> {
    pub(crate) centre: *const T,
    pub(crate) scale: *const T,
    pub(crate) shift: *const T,
    pub(crate) relu: bool,
}

/// A register of [`Normalize`].
#[derive(Clone, Copy)]
pub(super) struct Coefficients<S: Simd> {
    centre: S::Vector,
    scale: S::Vector,
    shift: S::Vector,
    relu: bool,
}

impl<T> Normalize<T> {
    /// Those of the masked channels from `channel` on.
    ///
    /// # Safety
    /// The contract of [`Simd`]; these channels must be valid.
    #[inline(always)]
    pub(super) unsafe fn load<S: Simd<Element = T>>(&self, channel: usize, mask: S::Mask) -> Coefficients<S> {
        // SAFETY: passed on to the caller.
        let load = |from: *const T| unsafe { S::load_masked(from.add(channel), mask) };
        let (centre, scale, shift) = (load(self.centre), load(self.scale), load(self.shift));
        Coefficients { centre, scale, shift, relu: self.relu }
    }
}

impl<S: Simd> Coefficients<S> {
    /// The same operations, and so the same bits, as a pass over memory gives.
    ///
    /// # Safety
    /// The contract of [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn apply(&self, x: S::Vector) -> S::Vector {
        // SAFETY: passed on to the caller.
        unsafe {
            let y = S::add(S::mul(S::sub(x, self.centre), self.scale), self.shift);
            // In this order of operands NaN stays NaN.
            if self.relu { S::max(S::zero(), y) } else { y }
        }
    }
}
