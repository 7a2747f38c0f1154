//! The kernel that every forward convolution ends in: a tile of pixels × channels, kept in
//! registers while it is summed over all inputs.
//!
//! ```text
//! out[pixel, channel] = Σ over segments, Σ over k < segment.length
//!                       a[pixel · stride + segment.offset + k] · weights[k', channel]
//! ```
//! where k' counts through all segments. A 1×1 convolution has one segment; a 3×3 convolution
//! has nine, one per tap, of the pixel's channels; nothing is rearranged for them (the matrix of
//! im2col exists only as this table of offsets).
//!
//! Each output is summed in the order of k', whatever the tile: how pixels are grouped into
//! tiles does not change a bit of the result.

use super::{ahead::line_len, finish::Finish, simd::Simd};

/// A run of inputs that are contiguous for every pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it begins, from the pixel's address.
    pub(crate) offset: usize,
    /// How many inputs it has.
    pub(crate) length: usize,
}

/// One tile's operands. All strides count elements.
pub(crate) struct Tile<T> {
    /// The first pixel's inputs.
    pub(crate) a: *const T,
    /// From one pixel to the next.
    pub(crate) a_pixel: usize,
    /// From the first row of pixels to the second, in kernels of two rows.
    pub(crate) a_row: usize,
    /// What is summed over.
    pub(crate) segments: *const Segment,
    /// How many there are.
    pub(crate) segment_count: usize,
    /// For each k' in turn the weights of the block's channels, in whole registers.
    pub(crate) weights: *const T,
    /// What will be read before long: fetched into the second cache, a cache line for every two
    /// inputs. Need not be valid.
    pub(crate) ahead: *const T,
    /// The first pixel's outputs.
    pub(crate) out: *mut T,
    /// From one pixel to the next.
    pub(crate) out_pixel: usize,
    /// From the first row of pixels to the second.
    pub(crate) out_row: usize,
    /// Whether outputs are hardly in a cache: their lines arrive during the sums then.
    pub(crate) out_is_far: bool,
    /// How many channels of the block exist.
    pub(crate) columns: usize,
    /// What else is done to the results.
    pub(crate) finish: Finish<T>,
}

/// # Safety
/// The processor must have the instruction set. For every pixel of the tile, `a`, and for every
/// existing channel, `out` and what `finish` points to, must be valid; `weights` for whole
/// registers.
pub(crate) type TileKernel<T> = unsafe fn(&Tile<T>);

/// Pixels that share an address register; the others of the group are at once and twice the
/// stride, which the processor's addressing computes for free.
const GROUP: usize = 3;
/// Address registers at most.
const GROUPS: usize = 10;
/// How many registers of weights are fetched ahead. The weights of a block stream from the
/// second cache.
const PREFETCH: usize = 128;

/// `R` rows of `Q` pixels × `V` registers of channels.
///
/// # Safety
/// See [`TileKernel`].
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const R: usize, const Q: usize, const V: usize>(tile: &Tile<S::Element>) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut sums = [[[S::zero(); Q]; V]; R];
        let (mut weights, mut ahead) = (tile.weights, tile.ahead);
        let step = V * S::LANES;
        if tile.out_is_far {
            for r in 0..R {
                for q in 0..Q {
                    for v in 0..V {
                        let out = tile.out.wrapping_add(r * tile.out_row + q * tile.out_pixel + v * S::LANES);
                        S::prefetch_to_write(out);
                    }
                }
            }
        }
        for segment in std::slice::from_raw_parts(tile.segments, tile.segment_count) {
            let mut bases = [[tile.a; GROUPS]; R];
            for r in 0..R {
                for g in 0..Q.div_ceil(GROUP) {
                    bases[r][g] = tile.a.add(segment.offset + r * tile.a_row + g * GROUP * tile.a_pixel);
                }
            }
            let mut left = segment.length;
            while left >= 2 {
                for r in 0..R {
                    for g in 0..Q.div_ceil(GROUP) {
                        bases[r][g] = S::opaque(bases[r][g]);
                    }
                }
                multiply::<S, R, Q, V>(&mut sums, &bases, tile.a_pixel, 0, weights);
                multiply::<S, R, Q, V>(&mut sums, &bases, tile.a_pixel, 1, weights.add(step));
                S::prefetch_far(ahead);
                ahead = ahead.wrapping_add(line_len::<S::Element>());
                for r in 0..R {
                    for g in 0..Q.div_ceil(GROUP) {
                        bases[r][g] = bases[r][g].wrapping_add(2);
                    }
                }
                weights = weights.add(2 * step);
                left -= 2;
            }
            if left == 1 {
                multiply::<S, R, Q, V>(&mut sums, &bases, tile.a_pixel, 0, weights);
                weights = weights.add(step);
            }
        }
        if tile.finish.is_none() {
            for r in 0..R {
                for q in 0..Q {
                    for v in 0..V {
                        let mask = S::mask(tile.columns.saturating_sub(v * S::LANES));
                        let out = tile.out.add(r * tile.out_row + q * tile.out_pixel + v * S::LANES);
                        S::store_masked(out, sums[r][v][q], mask);
                    }
                }
            }
        } else {
            // A copy, because what loops too long to be unrolled refer to lives in memory, and
            // the sums must not.
            let sums = sums;
            for v in 0..V {
                let channel = v * S::LANES;
                let mask = S::mask(tile.columns.saturating_sub(channel));
                for r in 0..R {
                    let mut finish = tile.finish;
                    finish.first &= r == 0;
                    let offset = |q| r * tile.out_row + q * tile.out_pixel + channel;
                    finish.apply::<S, Q>(&sums[r][v], Q, tile.out, offset, channel, mask);
                }
            }
        }
    }
}

/// Adds the products of one input of every pixel with its weights.
#[inline(always)]
unsafe fn multiply<S: Simd, const R: usize, const Q: usize, const V: usize>(
    sums: &mut [[[S::Vector; Q]; V]; R],
    bases: &[[*const S::Element; GROUPS]; R],
    pixel: usize,
    k: usize,
    weights: *const S::Element,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut w = [S::zero(); V];
        for v in 0..V {
            w[v] = S::load(weights.add(v * S::LANES));
            S::prefetch(weights.wrapping_add((v + PREFETCH) * S::LANES));
        }
        for r in 0..R {
            for g in 0..Q.div_ceil(GROUP) {
                for i in 0..GROUP {
                    let q = g * GROUP + i;
                    if q < Q {
                        let a = S::splat(*bases[r][g].add(i * pixel + k));
                        for v in 0..V {
                            sums[r][v][q] = S::fma(a, w[v], sums[r][v][q]);
                        }
                    }
                }
            }
        }
    }
}
