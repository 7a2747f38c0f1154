//! The kernel that every gradient of weights ends in: an outer product, summed over pixels.
//!
//! ```text
//! sums[i, o] = (sums[i, o] +) Σ over pixels a[pixel, i] · b[pixel, o]
//! ```
//! `a` holds inputs and `b` gradients of outputs; pixels come in lines, and both have strides of
//! their own, so that a kernel tap is a matter of where `a` begins.

use super::{ahead::line_len, simd::Simd};

/// One tile's operands. All strides count elements.
pub(crate) struct Outer<T> {
    /// Where offsets count from.
    pub(crate) a: *const T,
    /// For each line the offset of its first pixel's inputs.
    pub(crate) a_lines: *const usize,
    /// From one pixel to the next.
    pub(crate) a_pixel: usize,
    /// The first pixel's gradients.
    pub(crate) b: *const T,
    /// From one pixel to the next.
    pub(crate) b_pixel: usize,
    /// From one register of channels to the next.
    pub(crate) b_vector: usize,
    /// From one line to the next.
    pub(crate) b_line: usize,
    /// What will be read before long: fetched into the second cache, a cache line for every pixel.
    /// Need not be valid.
    pub(crate) ahead: *const T,
    /// How many lines of pixels.
    pub(crate) lines: usize,
    /// How many pixels in a line.
    pub(crate) pixels: usize,
    /// The sums.
    pub(crate) sums: *mut T,
    /// Whether they are added to, rather than overwritten.
    pub(crate) add: bool,
    /// From one input channel to the next.
    pub(crate) sums_row: usize,
}

/// # Safety
/// The processor must have the instruction set; `a` must be valid for the kernel's input
/// channels, `b` and `sums` for whole registers, at every pixel and input channel.
pub(crate) type OuterKernel<T> = unsafe fn(&Outer<T>);

/// `Q` input channels × `V` registers of output channels.
///
/// # Safety
/// See [`OuterKernel`].
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, const Q: usize, const V: usize>(outer: &Outer<S::Element>) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut sums = [[S::zero(); V]; Q];
        if outer.add {
            for q in 0..Q {
                for v in 0..V {
                    sums[q][v] = S::load(outer.sums.add(q * outer.sums_row + v * S::LANES));
                }
            }
        }
        let mut ahead = outer.ahead;
        for line in 0..outer.lines {
            let mut a = outer.a.add(*outer.a_lines.add(line));
            let mut b = outer.b.add(line * outer.b_line);
            for _ in 0..outer.pixels {
                let mut gradients = [S::zero(); V];
                for v in 0..V {
                    gradients[v] = S::load(b.add(v * outer.b_vector));
                }
                for q in 0..Q {
                    let input = S::splat(*a.add(q));
                    for v in 0..V {
                        sums[q][v] = S::fma(input, gradients[v], sums[q][v]);
                    }
                }
                S::prefetch_far(ahead);
                ahead = ahead.wrapping_add(line_len::<S::Element>());
                a = a.wrapping_add(outer.a_pixel);
                b = b.wrapping_add(outer.b_pixel);
            }
        }
        for q in 0..Q {
            for v in 0..V {
                S::store(outer.sums.add(q * outer.sums_row + v * S::LANES), sums[q][v]);
            }
        }
    }
}
