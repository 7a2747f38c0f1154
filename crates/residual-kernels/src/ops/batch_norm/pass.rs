//! The passes over memory: normalization and its gradient, with what may be done at the same time.

use residual_macros::compiled_here;
use residual_tensor::{Float, Layout, Tensor, TensorView};

use crate::{
    Result,
    engine::{
        isa::{InstructionSet, Loop, fetch_to_write, vectorized},
        parallel::{CHUNK, for_each_run, for_each_run_of_two},
    },
};

/// `(x − centre) · scale + shift` in each channel.
pub(crate) struct Affine<T> {
    centre: Vec<T>,
    scale: Vec<T>,
    shift: Vec<T>,
}

impl<T: Float> Affine<T> {
    /// `f` gives centre, scale and shift of a channel.
    pub(super) fn new(channels: usize, f: impl Fn(usize) -> [f64; 3]) -> Self {
        let [centre, scale, shift] = repeated(channels, f);
        Self { centre, scale, shift }
    }

    /// A new tensor with the result for a channels-last `x`, plus `addend`, negative values cut
    /// off if `relu`.
    ///
    /// # Errors
    /// If there is no memory for it, and those of [`InstructionSet::active`].
    pub(crate) fn apply(
        &self,
        x: &TensorView<'_, T>,
        addend: Option<&TensorView<'_, T>>,
        relu: bool,
    ) -> Result<Tensor<T>> {
        let mut y = Tensor::try_unfilled(x.shape(), Layout::ChannelsLast)?;
        normalize(self, x.as_slice(), addend.map(TensorView::as_slice), relu, y.as_mut_slice())?;
        Ok(y)
    }

    /// The coefficients of the first `length` elements of a period.
    #[inline(always)]
    fn first(&self, length: usize) -> Coefficients<'_, T> {
        Coefficients {
            centre: &self.centre[..length],
            scale: &self.scale[..length],
            shift: &self.shift[..length],
        }
    }

    /// Centre, scale and shift of each channel, and of all channels again for some pixels more.
    pub(crate) fn coefficients(&self) -> [&[T]; 3] {
        [&self.centre, &self.scale, &self.shift]
    }
}

/// A piece of an [`Affine`].
#[derive(Clone, Copy)]
struct Coefficients<'a, T> {
    centre: &'a [T],
    scale: &'a [T],
    shift: &'a [T],
}

impl<T: Float> Coefficients<'_, T> {
    /// The result for an `x` that is number `i` of the piece.
    #[inline(always)]
    fn at(&self, x: T, i: usize) -> T {
        (x - self.centre[i]) * self.scale[i] + self.shift[i]
    }
}

#[compiled_here]
fn normalize<T: Float>(
    affine: &Affine<T>,
    x: &[T],
    addend: Option<&[T]>,
    relu: bool,
    y: &mut [T],
) -> Result<()> {
    let set = InstructionSet::active()?;
    for_each_run(y, run_of(affine.centre.len()), |run, y| {
        let (x, addend) = (&x[run.clone()], addend.map(|addend| &addend[run]));
        let added = addend.unwrap_or(x);
        match (addend, relu) {
            (None, false) => vectorized(set, Normalize::<T, false, false> { affine, x, added, y }),
            (None, true) => vectorized(set, Normalize::<T, false, true> { affine, x, added, y }),
            (Some(_), false) => vectorized(set, Normalize::<T, true, false> { affine, x, added, y }),
            (Some(_), true) => vectorized(set, Normalize::<T, true, true> { affine, x, added, y }),
        }
    });
    Ok(())
}

/// The loop of [`normalize`].
struct Normalize<'a, T, const ADD: bool, const RELU: bool> {
    affine: &'a Affine<T>,
    x: &'a [T],
    added: &'a [T],
    y: &'a mut [T],
}

impl<T: Float, const ADD: bool, const RELU: bool> Loop for Normalize<'_, T, ADD, RELU> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { affine, x, added, y } = self;
        let period = affine.centre.len();
        for ((y, x), added) in y.chunks_mut(period).zip(x.chunks(period)).zip(added.chunks(period)) {
            let length = y.len();
            fetch_to_write(y.as_mut_ptr().wrapping_add(length), length);
            let (x, added, affine) = (&x[..length], &added[..length], affine.first(length));
            for i in 0..length {
                let mut value = affine.at(x[i], i);
                if ADD {
                    value += added[i];
                }
                y[i] = if RELU && value < T::zero() { T::zero() } else { value };
            }
        }
    }
}

/// Which gradients a ReLU after the normalization lets through.
#[derive(Clone, Copy)]
pub(crate) enum Gate<'a, T> {
    /// All: there is no ReLU.
    Open,
    /// Those whose output was positive, which is computed again.
    Recomputed(&'a Affine<T>),
    /// Those whose output was positive, which is given.
    Output(&'a [T]),
}

/// The values of [`Gate`] that loops are compiled for.
pub(super) const OPEN: u8 = 0;
pub(super) const RECOMPUTED: u8 = 1;
pub(super) const OUTPUT: u8 = 2;

/// `dx = scale · g + slope · (x − centre) + shift` in each channel, where g is dy as far as the
/// gate lets it through.
pub(crate) struct Gradient<T> {
    scale: Vec<T>,
    /// Of the distance from the centre.
    distance: Affine<T>,
}

impl<T: Float> Gradient<T> {
    /// `f` gives scale, centre, slope and shift of a channel.
    pub(super) fn new(channels: usize, f: impl Fn(usize) -> [f64; 4]) -> Self {
        let [scale, centre, slope, shift] = repeated(channels, f);
        Self { scale, distance: Affine { centre, scale: slope, shift } }
    }
}

/// Turns dy into dx.
///
/// # Errors
/// As [`InstructionSet::active`].
#[compiled_here]
pub(crate) fn differentiate<T: Float>(
    gradient: &Gradient<T>,
    x: &[T],
    gate: Gate<'_, T>,
    dy: &mut [T],
) -> Result<()> {
    let set = InstructionSet::active()?;
    for_each_run(dy, run_of(gradient.scale.len()), |run, dy| {
        let (x, forward) = (&x[run.clone()], &gradient.distance);
        match gate {
            Gate::Open => vectorized(set, Differentiate::<T, OPEN> { gradient, forward, x, y: x, dy }),
            Gate::Recomputed(forward) => {
                vectorized(set, Differentiate::<T, RECOMPUTED> { gradient, forward, x, y: x, dy });
            }
            Gate::Output(y) => {
                let y = &y[run];
                vectorized(set, Differentiate::<T, OUTPUT> { gradient, forward, x, y, dy });
            }
        }
    });
    Ok(())
}

/// The loop of [`differentiate`].
struct Differentiate<'a, T, const GATE: u8> {
    gradient: &'a Gradient<T>,
    forward: &'a Affine<T>,
    x: &'a [T],
    y: &'a [T],
    dy: &'a mut [T],
}

impl<T: Float, const GATE: u8> Loop for Differentiate<'_, T, GATE> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { gradient, forward, x, y, dy } = self;
        let period = gradient.scale.len();
        for ((dy, x), y) in dy.chunks_mut(period).zip(x.chunks(period)).zip(y.chunks(period)) {
            let length = dy.len();
            let (x, y, scale) = (&x[..length], &y[..length], &gradient.scale[..length]);
            let (distance, forward) = (gradient.distance.first(length), forward.first(length));
            for i in 0..length {
                let g = gated::<T, GATE>(dy[i], y[i], || forward.at(x[i], i));
                dy[i] = scale[i] * g + distance.at(x[i], i);
            }
        }
    }
}

/// Writes dx to new memory, and leaves in dy what a ReLU with output `y` let through.
///
/// # Errors
/// As [`InstructionSet::active`].
#[compiled_here]
pub(crate) fn differentiate_beside<T: Float>(
    gradient: &Gradient<T>,
    x: &[T],
    y: Option<&[T]>,
    dy: &mut [T],
    dx: &mut [T],
) -> Result<()> {
    let set = InstructionSet::active()?;
    for_each_run_of_two(dx, dy, run_of(gradient.scale.len()), |run, dx, dy| {
        let x = &x[run.clone()];
        match y.map(|y| &y[run]) {
            Some(y) => vectorized(set, DifferentiateBeside::<T, OUTPUT> { gradient, x, y, dy, dx }),
            None => vectorized(set, DifferentiateBeside::<T, OPEN> { gradient, x, y: x, dy, dx }),
        }
    });
    Ok(())
}

/// The loop of [`differentiate_beside`].
struct DifferentiateBeside<'a, T, const GATE: u8> {
    gradient: &'a Gradient<T>,
    x: &'a [T],
    y: &'a [T],
    dy: &'a mut [T],
    dx: &'a mut [T],
}

impl<T: Float, const GATE: u8> Loop for DifferentiateBeside<'_, T, GATE> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { gradient, x, y, dy, dx } = self;
        let period = gradient.scale.len();
        let inputs = x.chunks(period).zip(y.chunks(period));
        for ((dx, dy), (x, y)) in dx.chunks_mut(period).zip(dy.chunks_mut(period)).zip(inputs) {
            let length = dx.len();
            fetch_to_write(dx.as_mut_ptr().wrapping_add(length), length);
            let (x, y, dy, scale) =
                (&x[..length], &y[..length], &mut dy[..length], &gradient.scale[..length]);
            let distance = gradient.distance.first(length);
            for i in 0..length {
                let g = gated::<T, GATE>(dy[i], y[i], T::zero);
                dy[i] = g;
                dx[i] = scale[i] * g + distance.at(x[i], i);
            }
        }
    }
}

/// The gradient of a ReLU with output `y`, if there is one.
#[inline(always)]
pub(super) fn gated<T: Float, const GATE: u8>(dy: T, y: T, recomputed: impl FnOnce() -> T) -> T {
    let y = match GATE {
        OPEN => return dy,
        RECOMPUTED => recomputed(),
        _ => y,
    };
    if y <= T::zero() { T::zero() } else { dy }
}

/// The size of a run that consists of whole periods.
fn run_of(period: usize) -> usize {
    CHUNK.div_ceil(period.max(1)) * period.max(1)
}

/// Coefficients of each channel, repeated for as many pixels as make the inner loop long
/// enough for vectors.
fn repeated<T: Float, const N: usize>(channels: usize, f: impl Fn(usize) -> [f64; N]) -> [Vec<T>; N] {
    const LONG: usize = 256;
    let pixels = LONG.div_ceil(channels.max(1));
    let once: Vec<[f64; N]> = (0..channels).map(f).collect();
    std::array::from_fn(|which| {
        once.iter().map(|values| T::of(values[which])).collect::<Vec<T>>().repeat(pixels)
    })
}
