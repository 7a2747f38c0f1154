//! Winograd's transforms of single tiles, for F(2×2, 3×3) and F(4×4, 3×3).
//!
//! A 3×3 convolution at stride 1 turns a tile of N×N inputs into M×M outputs, N = M + 2. Seen as
//! a product of polynomials it can be done at N points instead: evaluate inputs and filter there,
//! multiply point by point, interpolate. In two dimensions, with one small matrix per role:
//!
//! ```text
//! V = Bᵀ d B      inputs     N×N → N×N        y  = Aᵀ (Σ over channels U ⊙ V) A   N×N → M×M
//! U = G  g Gᵀ     filter     3×3 → N×N
//! Z = A  dy Aᵀ    gradients  M×M → N×N        dg = Gᵀ (Σ over tiles V ⊙ Z) G      N×N → 3×3
//! ```
//! N² multiplications do the work of 9·M²: 2.25 times fewer for M = 2, 4 times for M = 4. The
//! sums over channels (and, for the gradient of the weights, over tiles) are matrix products and
//! not in this file, and the matrices stand in `scheme`.

use super::{
    Normalize,
    finish::Finish,
    panel::{Sums, load_square, store_square},
    scheme::Scheme,
    simd::{Simd, Square},
};

/// Pixels to be transformed: inputs of [`input`], gradients of [`gradient`].
pub(crate) struct Spread<T> {
    /// Where each pixel's channels are, row by row: N·N pixels, or M·M.
    pub(crate) pixels: *const *const T,
    /// The pixel that stands for padding, which is zeros and stays so.
    pub(crate) padding: *const T,
    /// What is done to the others.
    pub(crate) normalize: Option<Normalize<T>>,
    /// How many channels.
    pub(crate) channels: usize,
    /// Channels of a group, at most a register's lanes.
    pub(crate) step: usize,
    /// The first of the N·N planes; for each group of channels one whole register is written.
    pub(crate) planes: *mut T,
    /// From one plane to the next.
    pub(crate) plane: usize,
    /// From one group to the next within a plane.
    pub(crate) group: usize,
}

/// V = Bᵀ d B
///
/// # Safety
/// The contract of [`Simd`]; everything that `spread` points to must be valid.
#[inline(always)]
pub(super) unsafe fn input<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
    spread: &Spread<S::Element>,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let (mut channel, mut planes) = (0, spread.planes);
        while channel < spread.channels {
            let mask = S::mask(spread.channels - channel);
            let coefficients = spread.normalize.map(|normalize| normalize.load::<S>(channel, mask));
            let mut columns = [[S::zero(); N]; N];
            for j in 0..N {
                let mut column = [S::zero(); N];
                for i in 0..N {
                    let pixel = *spread.pixels.add(i * N + j);
                    column[i] = S::load_masked(pixel.add(channel), mask);
                    if let Some(coefficients) = coefficients
                        && pixel != spread.padding
                    {
                        column[i] = coefficients.apply(column[i]);
                    }
                }
                columns[j] = W::input::<S>(column);
            }
            for i in 0..N {
                let mut row = [S::zero(); N];
                for j in 0..N {
                    row[j] = columns[j][i];
                }
                row = W::input::<S>(row);
                for j in 0..N {
                    S::store(planes.add((i * N + j) * spread.plane), row[j]);
                }
            }
            channel += spread.step;
            planes = planes.wrapping_add(spread.group);
        }
    }
}

/// Z = A dy Aᵀ
///
/// # Safety
/// As [`input`].
#[inline(always)]
pub(super) unsafe fn gradient<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
    spread: &Spread<S::Element>,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let (mut channel, mut planes) = (0, spread.planes);
        while channel < spread.channels {
            let mask = S::mask(spread.channels - channel);
            let mut columns = [[S::zero(); N]; M];
            for j in 0..M {
                let mut column = [S::zero(); M];
                for i in 0..M {
                    let pixel = *spread.pixels.add(i * M + j);
                    column[i] = S::load_masked(pixel.add(channel), mask);
                }
                columns[j] = W::gradient::<S>(column);
            }
            for i in 0..N {
                let mut row = [S::zero(); M];
                for j in 0..M {
                    row[j] = columns[j][i];
                }
                let row = W::gradient::<S>(row);
                for j in 0..N {
                    S::store(planes.add((i * N + j) * spread.plane), row[j]);
                }
            }
            channel += spread.step;
            planes = planes.wrapping_add(spread.group);
        }
    }
}

/// Planes to be transformed back into outputs.
pub(crate) struct Emit<T> {
    /// The first of the N·N planes.
    pub(crate) planes: *const T,
    /// From one plane to the next.
    pub(crate) plane: usize,
    /// How many channels.
    pub(crate) channels: usize,
    /// The first output pixel.
    pub(crate) out: *mut T,
    /// From one output pixel to the next.
    pub(crate) out_pixel: usize,
    /// From one row of outputs to the next.
    pub(crate) out_row: usize,
    /// How many of the M rows exist.
    pub(crate) rows: usize,
    /// How many of the M columns exist.
    pub(crate) columns: usize,
    /// What else is done to the results.
    pub(crate) finish: Finish<T>,
}

/// y = Aᵀ m A
///
/// # Safety
/// The contract of [`Simd`] and of [`Finish::apply`]; everything that `emit` points to must be
/// valid.
#[inline(always)]
pub(super) unsafe fn output<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
    emit: &Emit<S::Element>,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut channel = 0;
        while channel < emit.channels {
            let mask = S::mask(emit.channels - channel);
            let mut columns = [[S::zero(); M]; N];
            for j in 0..N {
                let mut column = [S::zero(); N];
                for i in 0..N {
                    column[i] = S::load(emit.planes.add((i * N + j) * emit.plane + channel));
                }
                columns[j] = W::output::<S>(column);
            }
            for i in 0..M {
                let mut row = [S::zero(); N];
                for j in 0..N {
                    row[j] = columns[j][i];
                }
                let row = W::output::<S>(row);
                if i < emit.rows {
                    let mut finish = emit.finish;
                    finish.first &= i == 0;
                    let offset = |j| i * emit.out_row + j * emit.out_pixel + channel;
                    if emit.columns == M {
                        finish.apply::<S, M>(&row, M, emit.out, offset, channel, mask);
                    } else {
                        finish.apply::<S, M>(&row, emit.columns, emit.out, offset, channel, mask);
                    }
                }
            }
            channel += S::LANES;
        }
    }
}

/// Filters to be transformed: for each of `inputs` channels, the 3×3 taps of up to a block of
/// output channels.
pub(crate) struct Filters<T> {
    /// The tap [0, 0] of the first input and output channel.
    pub(crate) weights: *const T,
    /// From one tap to the next below.
    pub(crate) tap_row: isize,
    /// From one tap to the next on the right.
    pub(crate) tap_column: isize,
    /// From one input channel to the next; this or `output` is 1.
    pub(crate) input: usize,
    /// From one output channel to the next.
    pub(crate) output: usize,
    /// How many input channels.
    pub(crate) inputs: usize,
    /// How many output channels.
    pub(crate) outputs: usize,
    /// The first of the N·N planes, `[input][block]`; written in whole registers, `outputs` up to
    /// the end of the block as zeros.
    pub(crate) planes: *mut T,
    /// From one plane to the next.
    pub(crate) plane: usize,
    /// Output channels of a block.
    pub(crate) block: usize,
}

/// U = G g Gᵀ
///
/// # Safety
/// The contract of [`Simd`]; everything that `filters` points to must be valid.
#[inline(always)]
pub(super) unsafe fn filter<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
    filters: &Filters<S::Element>,
) {
    let mut squares = [[Square::<S>::zeros(); 3]; 3];
    // SAFETY: passed on to the caller.
    unsafe {
        for first in (0..filters.inputs).step_by(S::LANES) {
            let inputs = (filters.inputs - first).min(S::LANES);
            for output in (0..filters.block).step_by(S::LANES) {
                let outputs = filters.outputs.saturating_sub(output).min(S::LANES);
                // For each tap where the output channels of the first input channel are.
                let mut taps = [[std::ptr::null(); 3]; 3];
                for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                    let offset = i as isize * filters.tap_row + j as isize * filters.tap_column;
                    let tap =
                        filters.weights.offset(offset).add(output * filters.output + first * filters.input);
                    taps[i][j] = if filters.output == 1 {
                        tap
                    } else {
                        load_square::<S>(&mut squares[i][j], tap, filters.output, outputs, inputs)
                    };
                }
                let (step, mask) = if filters.output == 1 {
                    (filters.input, S::mask(outputs))
                } else {
                    (S::LANES, S::mask(S::LANES))
                };
                for input in 0..inputs {
                    let mut columns = [[S::zero(); N]; 3];
                    for j in 0..3 {
                        let mut column = [S::zero(); 3];
                        for i in 0..3 {
                            column[i] = S::load_masked(taps[i][j].add(input * step), mask);
                        }
                        columns[j] = W::filter::<S>(column);
                    }
                    let to = filters.planes.add((first + input) * filters.block + output);
                    for i in 0..N {
                        let row = W::filter::<S>([columns[0][i], columns[1][i], columns[2][i]]);
                        for j in 0..N {
                            S::store(to.add((i * N + j) * filters.plane), row[j]);
                        }
                    }
                }
            }
        }
    }
}

/// Sums in the transform domain, to be transformed back into gradients of filters.
pub(crate) struct FilterGradients<T> {
    /// Those of the first of the N·N planes.
    pub(crate) sums: Sums<T>,
    /// From one plane to the next.
    pub(crate) plane: usize,
    /// The gradient of tap [0, 0] of the first input and output channel.
    pub(crate) weights: *mut T,
    /// From one tap to the next on the right; a row has three.
    pub(crate) tap: usize,
    /// From one output channel to the next; input channels are neighbours.
    pub(crate) output: usize,
}

/// dg = Gᵀ (Σ over parts) G
///
/// # Safety
/// The contract of [`Simd`]; everything that `gradients` points to must be valid.
#[inline(always)]
pub(super) unsafe fn filter_gradient<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
    gradients: &FilterGradients<S::Element>,
) {
    let sums = &gradients.sums;
    let mut squares = [[Square::<S>::zeros(); 3]; 3];
    // SAFETY: passed on to the caller; a square has room for the widest register.
    unsafe {
        for output in (0..sums.outputs).step_by(S::LANES) {
            let outputs = (sums.outputs - output).min(S::LANES);
            for first in (0..sums.inputs).step_by(S::LANES) {
                let inputs = (sums.inputs - first).min(S::LANES);
                for input in 0..inputs {
                    let at = sums.first.add((first + input) * sums.block + output);
                    let mut columns = [[S::zero(); 3]; N];
                    for j in 0..N {
                        let mut column = [S::zero(); N];
                        for i in 0..N {
                            let plane = at.add((i * N + j) * gradients.plane);
                            column[i] = S::load(plane);
                            for part in 1..sums.parts {
                                column[i] = S::add(column[i], S::load(plane.add(part * sums.part)));
                            }
                        }
                        columns[j] = W::filter_gradient::<S>(column);
                    }
                    for i in 0..3 {
                        let mut row = [S::zero(); N];
                        for j in 0..N {
                            row[j] = columns[j][i];
                        }
                        let row = W::filter_gradient::<S>(row);
                        for j in 0..3 {
                            S::store(squares[i][j].as_mut_ptr().add(input * S::LANES), row[j]);
                        }
                    }
                }
                let to = gradients.weights.add(output * gradients.output + first);
                for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                    let to = to.add((i * 3 + j) * gradients.tap);
                    store_square::<S>(&mut squares[i][j], to, gradients.output, outputs, inputs);
                }
            }
        }
    }
}
