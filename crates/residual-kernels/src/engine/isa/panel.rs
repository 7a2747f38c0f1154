//! Moving data into the order in which the other kernels read it, and out of theirs.

use super::{
    Normalize,
    simd::{Simd, Square},
};

/// Runs of contiguous channels, one per pixel.
pub(crate) struct Copy<T> {
    /// The first pixel's channels.
    pub(crate) from: *const T,
    /// From one pixel to the next.
    pub(crate) from_pixel: usize,
    /// Where the first pixel's channels go.
    pub(crate) to: *mut T,
    /// From one pixel to the next.
    pub(crate) to_pixel: usize,
    /// How many pixels.
    pub(crate) pixels: usize,
    /// How many channels.
    pub(crate) channels: usize,
    /// What is done to them.
    pub(crate) normalize: Option<Normalize<T>>,
}

/// Copies the channels of every pixel.
///
/// # Safety
/// The contract of [`Simd`]; both sides must be valid for all pixels and channels, and apart; what
/// is done to channels must be valid for all of them.
#[inline(always)]
pub(super) unsafe fn copy<S: Simd>(copy: &Copy<S::Element>) {
    // SAFETY: passed on to the caller.
    unsafe {
        match copy.normalize {
            None => copy_through::<S>(copy, |_, _, x| x),
            Some(normalize) => {
                copy_through::<S>(copy, |channel, mask, x| normalize.load::<S>(channel, mask).apply(x));
            }
        }
    }
}

/// # Safety
/// As [`copy`].
#[inline(always)]
unsafe fn copy_through<S: Simd>(
    copy: &Copy<S::Element>,
    change: impl Fn(usize, S::Mask, S::Vector) -> S::Vector,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let whole = copy.channels / S::LANES * S::LANES;
        let (all, mask) = (S::mask(S::LANES), S::mask(copy.channels - whole));
        let (mut from, mut to) = (copy.from, copy.to);
        for _ in 0..copy.pixels {
            let mut channel = 0;
            while channel < whole {
                S::store(to.add(channel), change(channel, all, S::load(from.add(channel))));
                channel += S::LANES;
            }
            if whole < copy.channels {
                let x = change(whole, mask, S::load_masked(from.add(whole), mask));
                S::store_masked(to.add(whole), x, mask);
            }
            from = from.wrapping_add(copy.from_pixel);
            to = to.wrapping_add(copy.to_pixel);
        }
    }
}

/// Weights of one tap, to be brought into the order of [`tile`](super::tile).
pub(crate) struct Gather<T> {
    /// The weight of the first input and output channel.
    pub(crate) weights: *const T,
    /// From one input channel to the next; this or `output` is 1.
    pub(crate) input: usize,
    /// From one output channel to the next.
    pub(crate) output: usize,
    /// How many input channels.
    pub(crate) inputs: usize,
    /// How many output channels.
    pub(crate) outputs: usize,
    /// Where `[input][block]` goes; written in whole registers, `outputs` up to the end of the
    /// block as zeros.
    pub(crate) to: *mut T,
    /// Output channels of a block.
    pub(crate) block: usize,
}

/// to[input, output] = weights[output, input]
///
/// # Safety
/// The contract of [`Simd`]; everything that `gather` points to must be valid.
#[inline(always)]
pub(super) unsafe fn gather<S: Simd>(gather: &Gather<S::Element>) {
    let mut square = Square::<S>::zeros();
    // SAFETY: passed on to the caller.
    unsafe {
        for output in (0..gather.block).step_by(S::LANES) {
            let outputs = gather.outputs.saturating_sub(output).min(S::LANES);
            let from = gather.weights.add(output * gather.output);
            let to = gather.to.add(output);
            if gather.output == 1 {
                for input in 0..gather.inputs {
                    let weights = S::load_masked(from.add(input * gather.input), S::mask(outputs));
                    S::store(to.add(input * gather.block), weights);
                }
                continue;
            }
            for input in (0..gather.inputs).step_by(S::LANES) {
                let inputs = (gather.inputs - input).min(S::LANES);
                let square = load_square::<S>(&mut square, from.add(input), gather.output, outputs, inputs);
                for i in 0..inputs {
                    S::store(to.add((input + i) * gather.block), S::load(square.add(i * S::LANES)));
                }
            }
        }
    }
}

/// Reads `rows` rows of `columns` numbers, `row` apart, into a square with zeros elsewhere, and
/// transposes it.
///
/// # Safety
/// The contract of [`Simd`]; the rows must be valid.
#[inline(always)]
pub(super) unsafe fn load_square<S: Simd>(
    square: &mut Square<S>,
    from: *const S::Element,
    row: usize,
    rows: usize,
    columns: usize,
) -> *const S::Element {
    let square = square.as_mut_ptr();
    // SAFETY: passed on to the caller; a square has room for the widest register.
    unsafe {
        for i in 0..S::LANES {
            let numbers =
                if i < rows { S::load_masked(from.add(i * row), S::mask(columns)) } else { S::zero() };
            S::store(square.add(i * S::LANES), numbers);
        }
        S::transpose(square);
    }
    square
}

/// Sums of several parts in the order of [`outer`](super::outer), to be added up.
pub(crate) struct Sums<T> {
    /// `[input][block]` of the first part.
    pub(crate) first: *const T,
    /// From one part to the next.
    pub(crate) part: usize,
    /// How many parts.
    pub(crate) parts: usize,
    /// Output channels of a block.
    pub(crate) block: usize,
    /// How many input channels.
    pub(crate) inputs: usize,
    /// How many output channels.
    pub(crate) outputs: usize,
}

/// Sums that are brought into the order of weights.
pub(crate) struct Scatter<T> {
    pub(crate) sums: Sums<T>,
    /// Where the first input and output channel goes; input channels are neighbours.
    pub(crate) weights: *mut T,
    /// From one output channel to the next.
    pub(crate) output: usize,
}

/// weights[output, input] = Σ over parts, in order, sums[input, output]
///
/// # Safety
/// The contract of [`Simd`]; everything that is pointed to must be valid.
#[inline(always)]
pub(super) unsafe fn scatter<S: Simd>(Scatter { sums, weights, output: row }: &Scatter<S::Element>) {
    let mut square = Square::<S>::zeros();
    // SAFETY: passed on to the caller; a square has room for the widest register.
    unsafe {
        for output in (0..sums.outputs).step_by(S::LANES) {
            let outputs = (sums.outputs - output).min(S::LANES);
            let mask = S::mask(outputs);
            for input in (0..sums.inputs).step_by(S::LANES) {
                let inputs = (sums.inputs - input).min(S::LANES);
                for i in 0..inputs {
                    let first = sums.first.add((input + i) * sums.block + output);
                    let mut total = S::load_masked(first, mask);
                    for part in 1..sums.parts {
                        total = S::add(total, S::load_masked(first.add(part * sums.part), mask));
                    }
                    S::store(square.as_mut_ptr().add(i * S::LANES), total);
                }
                store_square::<S>(&mut square, weights.add(output * row + input), *row, outputs, inputs);
            }
        }
    }
}

/// Transposes a square, and writes `rows` rows of `columns` of its numbers to where they
/// are `row` apart.
///
/// # Safety
/// The contract of [`Simd`]; the rows must be valid.
#[inline(always)]
pub(super) unsafe fn store_square<S: Simd>(
    square: &mut Square<S>,
    to: *mut S::Element,
    row: usize,
    rows: usize,
    columns: usize,
) {
    let square = square.as_mut_ptr();
    // SAFETY: passed on to the caller; a square has room for the widest register.
    unsafe {
        S::transpose(square);
        let mask = S::mask(columns);
        for i in 0..rows {
            S::store_masked(to.add(i * row), S::load(square.add(i * S::LANES)), mask);
        }
    }
}
