//! What happens to results between the accumulators and memory.
//!
//! A convolution is usually followed by something cheap: a bias, the addition of a shortcut, a
//! ReLU, the statistics of a batch normalization. Done here it costs a few registers; done as a
//! pass of its own it costs the memory traffic of the whole output.

use super::simd::Simd;

/// The steps, in the order in which they are done; null pointers and `false` leave one out.
///
/// Pointers are to the first channel of the kernel's block; `addend` is laid out exactly like
/// the output, so that the output itself can be given to accumulate into it.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    /// Added to every pixel: a number per channel.
    pub(crate) bias: *const f32,
    /// Added: a number per output.
    pub(crate) addend: *const f32,
    /// Negative results become zero.
    pub(crate) relu: bool,
    /// Where sums over pixels are kept: three runs, `moments_stride` apart, of a number per
    /// channel: a shift, Σ(y − shift), Σ(y − shift)². Written in whole registers.
    pub(crate) moments: *mut f32,
    /// From one run to the next.
    pub(crate) moments_stride: usize,
    /// Whether these are the first pixels: the first of them becomes the shift.
    pub(crate) first: bool,
}

impl Finish {
    /// Plain results.
    pub(crate) const NONE: Self = Self {
        bias: std::ptr::null(),
        addend: std::ptr::null(),
        relu: false,
        moments: std::ptr::null_mut(),
        moments_stride: 0,
        first: false,
    };

    /// Whether results are to be stored as they are.
    #[inline(always)]
    pub(super) fn is_none(&self) -> bool {
        self.bias.is_null() && self.addend.is_null() && self.moments.is_null() && !self.relu
    }

    /// The same steps from another channel and output on; moments may count channels differently.
    pub(crate) fn at(mut self, channel: usize, moments_channel: usize, output: usize) -> Self {
        if !self.bias.is_null() {
            self.bias = self.bias.wrapping_add(channel);
        }
        if !self.moments.is_null() {
            self.moments = self.moments.wrapping_add(moments_channel);
        }
        if !self.addend.is_null() {
            self.addend = self.addend.wrapping_add(output);
        }
        self
    }

    /// Finishes the first `count` of `N` registers, which hold the same channels of different
    /// pixels, and writes them to `out + offset(pixel)`. `channel` is the channel of the first
    /// lane within the block.
    ///
    /// # Safety
    /// The contract of [`Simd`]; the masked elements of the bias, and of the addend and `out` at
    /// every offset, must be valid, and a whole register of each run of moments.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd, const N: usize>(
        &self,
        values: &mut [S::Vector; N],
        count: usize,
        out: *mut f32,
        offset: impl Fn(usize) -> usize,
        channel: usize,
        mask: S::Mask,
    ) {
        // SAFETY: passed on to the caller.
        unsafe {
            if !self.bias.is_null() {
                let bias = S::load_masked(self.bias.add(channel), mask);
                for i in 0..N {
                    values[i] = S::add(values[i], bias);
                }
            }
            if !self.addend.is_null() {
                for i in 0..N {
                    if i < count {
                        let addend = S::load_masked(self.addend.add(offset(i)), mask);
                        values[i] = S::add(values[i], addend);
                    }
                }
            }
            if self.relu {
                for i in 0..N {
                    values[i] = S::max(values[i], S::zero());
                }
            }
            if !self.moments.is_null() {
                self.sum::<S, N>(values, count, channel);
            }
            for i in 0..N {
                if i < count {
                    S::store_masked(out.add(offset(i)), values[i], mask);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn sum<S: Simd, const N: usize>(&self, values: &[S::Vector; N], count: usize, channel: usize) {
        // SAFETY: as above.
        unsafe {
            let shifts = self.moments.add(channel);
            let sums = shifts.add(self.moments_stride);
            let squares = sums.add(self.moments_stride);
            let (shift, mut sum, mut square) = if self.first {
                S::store(shifts, values[0]);
                (values[0], S::zero(), S::zero())
            } else {
                (S::load(shifts), S::load(sums), S::load(squares))
            };
            for i in 0..N {
                if i < count {
                    let difference = S::sub(values[i], shift);
                    sum = S::add(sum, difference);
                    square = S::fma(difference, difference, square);
                }
            }
            S::store(sums, sum);
            S::store(squares, square);
        }
    }
}
