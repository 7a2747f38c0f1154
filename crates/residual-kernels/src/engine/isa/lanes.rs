//! Kernels for groups of few channels. A register holds the output channels of several groups, and
//! each lane sums over the inputs of its own group: no product is one with zero.
//!
//! ```text
//! out[pixel, lane] = Σ over picks, Σ over taps < TAPS
//!                    a[pixel + tap][pick.offset + pick.lanes[lane]] · weights[pick, tap, lane]
//! ```
//! A [`Pick`] says which input each lane takes, for one row of the kernel's taps and one input of
//! every group. The register that it makes serves [`TAPS`] taps, if these see neighbouring pixels
//! and so do neighbouring outputs: rearranging lanes then costs a third of what it costs for taps
//! on their own. (Depth-wise, every lane takes its own channel.)
//!
//! The dense kernels, [`tile`](super::tile) and [`outer`](super::outer), take one input for all
//! lanes at once; they would multiply inputs of other groups by zeros.

use super::{ahead::line_len, finish::Finish, simd::Simd};

/// Neighbouring taps that share a pick.
pub(crate) const TAPS: usize = 3;

/// Which inputs the lanes of a register take: lane l that at `offset + lanes[l]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pick {
    /// From a pixel's address.
    pub(crate) offset: usize,
    /// For each lane; below the number of lanes.
    pub(crate) lanes: [u8; 16],
}

/// The operands of [`tile`]. All strides count elements.
pub(crate) struct LaneTile<T> {
    /// The first pixel's inputs.
    pub(crate) a: *const T,
    /// From one pixel to the next.
    pub(crate) a_pixel: usize,
    /// Picks for [`TAPS`] taps each, `a_pixel` apart, and then picks for one tap each.
    pub(crate) picks: *const Pick,
    /// How many for [`TAPS`] taps, and how many for one.
    pub(crate) pick_counts: [usize; 2],
    /// A register for each tap of each pick.
    pub(crate) weights: *const T,
    /// What will be read before long: fetched into the second cache, a cache line for every
    /// pixel. Need not be valid.
    pub(crate) ahead: *const T,
    /// The first pixel's outputs.
    pub(crate) out: *mut T,
    /// From one pixel to the next.
    pub(crate) out_pixel: usize,
    /// How many lanes exist.
    pub(crate) columns: usize,
    /// What else is done to the results.
    pub(crate) finish: Finish<T>,
}

/// # Safety
/// The processor must have the instruction set. For every pixel, `a` must be valid for a whole
/// register at every pick and tap; for existing lanes, `out` and what `finish` points to; `weights`
/// for whole registers.
pub(crate) type LaneTileKernel<T> = unsafe fn(&LaneTile<T>);

/// `Q` neighbouring pixels × a register of channels.
///
/// # Safety
/// See [`LaneTileKernel`].
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const Q: usize>(tile: &LaneTile<S::Element>) {
    // SAFETY: passed on to the caller.
    unsafe {
        for q in 0..Q {
            S::prefetch_to_write(tile.out.wrapping_add(q * tile.out_pixel));
            S::prefetch_far(tile.ahead.wrapping_add(q * line_len::<S::Element>()));
        }
        let mut sums = [S::zero(); Q];
        let mut weights = tile.weights;
        let picks = std::slice::from_raw_parts(tile.picks, tile.pick_counts.iter().sum());
        let (shared, single) = picks.split_at(tile.pick_counts[0]);
        for pick in shared {
            let index = S::index(&pick.lanes);
            let mut w = [S::zero(); TAPS];
            for tap in 0..TAPS {
                w[tap] = S::load(weights.add(tap * S::LANES));
            }
            let mut a = tile.a.add(pick.offset);
            // Three loops, because the compiler leaves one as it is that has all cases in it.
            for i in 0..TAPS - 1 {
                let x = S::pick(a, index);
                for tap in 0..=i {
                    if i - tap < Q {
                        sums[i - tap] = S::fma(x, w[tap], sums[i - tap]);
                    }
                }
                a = S::opaque(a.wrapping_add(tile.a_pixel));
            }
            for i in TAPS - 1..Q {
                let x = S::pick(a, index);
                for tap in 0..TAPS {
                    sums[i - tap] = S::fma(x, w[tap], sums[i - tap]);
                }
                a = S::opaque(a.wrapping_add(tile.a_pixel));
            }
            for i in Q.max(TAPS - 1)..Q + TAPS - 1 {
                let x = S::pick(a, index);
                for tap in i + 1 - Q..TAPS {
                    sums[i - tap] = S::fma(x, w[tap], sums[i - tap]);
                }
                a = S::opaque(a.wrapping_add(tile.a_pixel));
            }
            weights = weights.add(TAPS * S::LANES);
        }
        for pick in single {
            let (index, w) = (S::index(&pick.lanes), S::load(weights));
            let mut a = tile.a.add(pick.offset);
            for q in 0..Q {
                sums[q] = S::fma(S::pick(a, index), w, sums[q]);
                a = S::opaque(a.wrapping_add(tile.a_pixel));
            }
            weights = weights.add(S::LANES);
        }
        // A copy, because what loops too long to be unrolled refer to lives in memory, and the sums
        // must not.
        let sums = sums;
        let mask = S::mask(tile.columns);
        tile.finish.apply::<S, Q>(&sums, Q, tile.out, |q| q * tile.out_pixel, 0, mask);
    }
}

/// The operands of [`outer`]. All strides count elements.
pub(crate) struct LaneOuter<T> {
    /// Where offsets count from.
    pub(crate) a: *const T,
    /// For each line the offset of its first pixel's inputs.
    pub(crate) a_lines: *const usize,
    /// From one pixel to the next.
    pub(crate) a_pixel: usize,
    /// As many picks as the kernel takes.
    pub(crate) picks: *const Pick,
    /// Gradients of outputs, a register for every pixel of every line.
    pub(crate) b: *const T,
    /// How many lines of pixels.
    pub(crate) lines: usize,
    /// How many pixels in a line.
    pub(crate) pixels: usize,
    /// What will be read before long: fetched into the second cache, a cache line for every
    /// pixel. Need not be valid.
    pub(crate) ahead: *const T,
    /// A register for each tap of each pick.
    pub(crate) sums: *mut T,
    /// Whether the sums are added to, rather than overwritten.
    pub(crate) add: bool,
}

/// # Safety
/// The processor must have the instruction set; `a` must be valid for a whole register at every
/// pixel, pick and tap, `b` and `sums` for as many registers as are said above.
pub(crate) type LaneOuterKernel<T> = unsafe fn(&LaneOuter<T>);

/// `N` picks × `W` taps, of which the first sees a pixel and the others its neighbours:
///
/// ```text
/// sums[pick, tap, lane] = (sums[pick, tap, lane] +)
///                         Σ over pixels a[pixel + tap][pick.offset + pick.lanes[lane]] · b[pixel, lane]
/// ```
///
/// # Safety
/// See [`LaneOuterKernel`].
#[inline(always)]
pub(super) unsafe fn outer<S: Simd, const N: usize, const W: usize>(outer: &LaneOuter<S::Element>) {
    // SAFETY: passed on to the caller.
    unsafe {
        let picks = std::slice::from_raw_parts(outer.picks, N);
        let mut sums = [[S::zero(); W]; N];
        let mut indices = [S::index(&picks[0].lanes); N];
        for n in 0..N {
            indices[n] = S::index(&picks[n].lanes);
            for tap in 0..W {
                if outer.add {
                    sums[n][tap] = S::load(outer.sums.add((n * W + tap) * S::LANES));
                }
            }
        }
        let mut ahead = outer.ahead;
        let mut b = outer.b;
        for line in 0..outer.lines {
            let mut bases = [outer.a; N];
            for n in 0..N {
                bases[n] = outer.a.add(*outer.a_lines.add(line) + picks[n].offset);
            }
            // Of the inputs that are seen, all but the outermost are seen under all taps.
            let inner = (W - 1).min(outer.pixels)..outer.pixels;
            for i in 0..inner.start {
                multiply::<S, N, W>(&mut sums, &mut bases, &indices, outer.a_pixel, b, 0, i + 1);
                b = b.wrapping_add(S::LANES);
            }
            for _ in inner.clone() {
                multiply::<S, N, W>(&mut sums, &mut bases, &indices, outer.a_pixel, b, 0, W);
                b = b.wrapping_add(S::LANES);
                S::prefetch_far(ahead);
                ahead = ahead.wrapping_add(line_len::<S::Element>());
            }
            for i in 0..W - 1 {
                let b = b.wrapping_add(i * S::LANES);
                let end = (inner.end + i + 1).min(W);
                multiply::<S, N, W>(&mut sums, &mut bases, &indices, outer.a_pixel, b, i + 1, end);
            }
        }
        for n in 0..N {
            for tap in 0..W {
                S::store(outer.sums.add((n * W + tap) * S::LANES), sums[n][tap]);
            }
        }
    }
}

/// Adds the products of an input with the gradients of the outputs that see it under the taps from
/// `first` to `end`, and moves on by one pixel. `b` is the gradient of the output that sees it under
/// the first tap.
#[inline(always)]
unsafe fn multiply<S: Simd, const N: usize, const W: usize>(
    sums: &mut [[S::Vector; W]; N],
    bases: &mut [*const S::Element; N],
    indices: &[S::Index; N],
    a_pixel: usize,
    b: *const S::Element,
    first: usize,
    end: usize,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut gradients = [S::zero(); W];
        for tap in 0..W {
            if (first..end).contains(&tap) {
                gradients[tap] = S::load(b.wrapping_sub(tap * S::LANES));
            }
        }
        for n in 0..N {
            let x = S::pick(bases[n], indices[n]);
            bases[n] = bases[n].wrapping_add(a_pixel);
            for tap in 0..W {
                // An input must not be multiplied by a zero instead: it may be infinite.
                if (first..end).contains(&tap) {
                    sums[n][tap] = S::fma(x, gradients[tap], sums[n][tap]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
