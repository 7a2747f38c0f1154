//! The largest value under a window, channel by channel.

use super::simd::Simd;

/// The pixels under a window, and where the result goes. Strides count elements.
pub(crate) struct Largest<T> {
    /// The first pixel's channels.
    pub(crate) x: *const T,
    /// From one row to the next.
    pub(crate) row: usize,
    /// How many rows.
    pub(crate) rows: usize,
    /// How many neighbouring pixels in each.
    pub(crate) columns: usize,
    /// How many channels; also from one pixel to the next.
    pub(crate) channels: usize,
    /// The result's channels.
    pub(crate) y: *mut T,
}

/// y[channel] = max over pixels of x[pixel, channel], NaN if one of them is NaN.
///
/// # Safety
/// The contract of [`Simd`]; all pixels and `y` must be valid.
#[inline(always)]
pub(super) unsafe fn largest<S: Simd>(largest: &Largest<S::Element>) {
    // SAFETY: passed on to the caller.
    unsafe {
        for channel in (0..largest.channels).step_by(S::LANES) {
            let mask = S::mask(largest.channels - channel);
            let mut most = S::load_masked(largest.x.add(channel), mask);
            for row in 0..largest.rows {
                for column in 0..largest.columns {
                    let pixel = row * largest.row + column * largest.channels + channel;
                    most = S::max_or_nan(most, S::load_masked(largest.x.add(pixel), mask));
                }
            }
            S::store_masked(largest.y.add(channel), most, mask);
        }
    }
}
