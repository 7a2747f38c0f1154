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
pub(crate) struct Finish<T> {
    /// Added to every pixel: a number per channel.
    pub(crate) bias: *const T,
    /// Added: a number per output.
    pub(crate) addend: *const T,
    /// Negative results become zero.
    pub(crate) relu: bool,
    /// Where sums over pixels are kept: three runs, `moments_stride` apart, of a number per
    /// channel: a shift, Σ(y − shift), Σ(y − shift)². Written in whole registers.
    pub(crate) moments: *mut T,
    /// From one run to the next.
    pub(crate) moments_stride: usize,
    /// Whether these are the first pixels: the mean of a few of them becomes the shift.
    pub(crate) first: bool,
}

impl<T> Finish<T> {
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
    pub(super) unsafe fn apply<S: Simd<Element = T>, const N: usize>(
        &self,
        values: &[S::Vector; N],
        count: usize,
        out: *mut T,
        offset: impl Fn(usize) -> usize,
        channel: usize,
        mask: S::Mask,
    ) {
        // SAFETY: passed on to the caller.
        unsafe {
            let bias =
                if self.bias.is_null() { S::zero() } else { S::load_masked(self.bias.add(channel), mask) };
            let finished = |i: usize| {
                let mut value = values[i];
                if !self.bias.is_null() {
                    value = S::add(value, bias);
                }
                if !self.addend.is_null() {
                    value = S::add(value, S::load_masked(self.addend.add(offset(i)), mask));
                }
                // In this order of operands NaN stays NaN.
                if self.relu { S::max(S::zero(), value) } else { value }
            };
            let mut moments = Moments::<S>::read(self, channel, || {
                // One pixel alone may be so far from the others that sums around it lose a digit.
                let mut pixels = 0;
                for lane in 0..SUMS {
                    pixels += usize::from(lane * N / SUMS < count);
                }
                let share = S::constant(1.0 / pixels as f64);
                let mut mean = S::zero();
                for lane in 0..SUMS {
                    let i = lane * N / SUMS;
                    if i < count {
                        mean = S::fma(finished(i), share, mean);
                    }
                }
                mean
            });
            let mut first = 0;
            while first < N {
                for lane in 0..SUMS {
                    let i = first + lane;
                    if i >= N || i >= count {
                        break;
                    }
                    let value = finished(i);
                    if !self.moments.is_null() {
                        moments.add(value, lane);
                    }
                    S::store_masked(out.add(offset(i)), value, mask);
                }
                first += SUMS;
            }
            if !self.moments.is_null() {
                moments.write(self, channel);
            }
        }
    }
}

/// Sums over pixels that are made side by side: one alone would wait for each of its additions.
const SUMS: usize = 4;

/// [`Finish::moments`] of the channels of a register, on the way.
struct Moments<S: Simd> {
    shift: S::Vector,
    sums: [S::Vector; SUMS],
    squares: [S::Vector; SUMS],
}

impl<S: Simd> Moments<S> {
    #[inline(always)]
    unsafe fn read(finish: &Finish<S::Element>, channel: usize, shift: impl FnOnce() -> S::Vector) -> Self {
        // SAFETY: as in `Finish::apply`.
        unsafe {
            let mut moments = Self { shift: S::zero(), sums: [S::zero(); SUMS], squares: [S::zero(); SUMS] };
            if finish.moments.is_null() {
                return moments;
            }
            if finish.first {
                moments.shift = shift();
                return moments;
            }
            let shift = finish.moments.add(channel);
            moments.shift = S::load(shift);
            moments.sums[0] = S::load(shift.add(finish.moments_stride));
            moments.squares[0] = S::load(shift.add(2 * finish.moments_stride));
            moments
        }
    }

    #[inline(always)]
    unsafe fn add(&mut self, value: S::Vector, lane: usize) {
        // SAFETY: as in `Finish::apply`.
        unsafe {
            let difference = S::sub(value, self.shift);
            self.sums[lane] = S::add(self.sums[lane], difference);
            self.squares[lane] = S::fma(difference, difference, self.squares[lane]);
        }
    }

    #[inline(always)]
    unsafe fn write(&self, finish: &Finish<S::Element>, channel: usize) {
        // SAFETY: as in `Finish::apply`.
        unsafe {
            let shift = finish.moments.add(channel);
            let [a, b, c, d] = self.sums;
            S::store(shift, self.shift);
            S::store(shift.add(finish.moments_stride), S::add(S::add(a, b), S::add(c, d)));
            let [a, b, c, d] = self.squares;
            S::store(shift.add(2 * finish.moments_stride), S::add(S::add(a, b), S::add(c, d)));
        }
    }
}
