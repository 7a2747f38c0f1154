//! What a convolution does to its outputs on their way to memory, as callers say it. The kernels'
//! side is `isa::Finish`.

use residual_tensor::{Float, Layout, Tensor};

use crate::{
    BatchStatistics,
    engine::{
        isa::{Finish, InstructionSet, Loop, vectorized},
        shared::Shared,
    },
};

/// Steps that follow a convolution, done while its results are still in registers: add a bias,
/// add a tensor, cut off negative values, in this order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a, T = f32> {
    /// A number per output channel, added to every pixel.
    pub bias: Option<&'a [T]>,
    /// A tensor like the output in the same (channels-last) memory, added element by element.
    pub addend: Option<&'a [T]>,
    /// Whether what the output held before is the addend, and no other is given.
    pub accumulate: bool,
    /// Whether negative results become zero.
    pub relu: bool,
}

impl<T> Epilogue<'_, T> {
    /// The kernels' form, for output channel 0 of pixel 0.
    pub(super) fn finish(&self, channels: usize, y: Shared<'_, T>) -> Finish<T> {
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), channels, "a bias per output channel");
        }
        if let Some(addend) = self.addend {
            assert_eq!(addend.len(), y.len(), "an addend per output");
            assert!(!self.accumulate, "one addend, not two");
        }
        let addend = match self.addend {
            Some(addend) => addend.as_ptr(),
            None if self.accumulate => y.at(0).cast_const(),
            None => std::ptr::null(),
        };
        Finish {
            bias: self.bias.map_or(std::ptr::null(), <[T]>::as_ptr),
            addend,
            relu: self.relu,
            ..Finish::NONE
        }
    }
}

/// Sums of the units of a convolution, each about a shift of its own, before they are merged.
///
/// E[y²] − E[y]² loses all digits where the mean is large against the deviation. Here each unit
/// subtracts the mean of a few of its pixels before it sums, and units are merged in double precision, in order.
pub(super) struct PartialMoments<T: Float> {
    sums: Tensor<T>,
    counts: Vec<usize>,
    width: usize,
}

impl<T: Float> PartialMoments<T> {
    /// Room for `units` units of `width` channels each (padding included).
    pub(super) fn new(counts: Vec<usize>, width: usize) -> Self {
        let sums = Tensor::unfilled([counts.len(), 3, width], Layout::Contiguous);
        Self { sums, counts, width }
    }

    /// The memory of all units, and the size of each.
    pub(super) fn as_mut_slice(&mut self) -> (&mut [T], usize) {
        (self.sums.as_mut_slice(), 3 * self.width)
    }

    /// The statistics of each channel, which is number `at(channel)` of every unit.
    ///
    /// For a unit of n numbers with mean m and squares s (about m), the total N, M, S becomes
    /// N + n, M + (m − M)·n/(N + n), S + s + (m − M)²·N·n/(N + n).
    pub(super) fn merge(
        &self,
        set: InstructionSet,
        channels: usize,
        at: impl Fn(usize) -> usize,
    ) -> BatchStatistics {
        let width = self.width;
        let [mut means, mut squares] = [(); 2].map(|()| Tensor::<f64>::zeros([width]));
        let mut total = 0.0;
        for (unit, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = count as f64;
            let (means, squares) = (means.as_mut_slice(), squares.as_mut_slice());
            let runs = &self.sums.as_slice()[unit * 3 * width..][..3 * width];
            let (inverse, share) = (1.0 / count, count / (total + count));
            vectorized(set, Merge { runs, means, squares, inverse, share, total });
            total += count;
        }
        let take = |from: &Tensor<f64>, divisor: f64| {
            let mut to = Tensor::<f64>::zeros([channels]);
            for (channel, to) in to.as_mut_slice().iter_mut().enumerate() {
                *to = from.as_slice()[at(channel)] / divisor;
            }
            to
        };
        // Rounding may make it negative. Written so that NaN stays NaN.
        let variance = take(&squares, total).map(|variance| if variance < 0.0 { 0.0 } else { variance });
        BatchStatistics { mean: take(&means, 1.0), variance, count: self.counts.iter().sum() }
    }
}

/// Adds a unit to the statistics of those before it.
struct Merge<'a, T> {
    /// Shifts, sums and squares of the unit.
    runs: &'a [T],
    means: &'a mut [f64],
    squares: &'a mut [f64],
    /// 1 / n
    inverse: f64,
    /// n / (N + n)
    share: f64,
    /// N
    total: f64,
}

impl<T: Float> Loop for Merge<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { runs, means, squares, inverse, share, total } = self;
        let width = means.len();
        let (shifts, sums) = runs.split_at(width);
        let (sums, unit_squares) = sums.split_at(width);
        let (unit_squares, squares) = (&unit_squares[..width], &mut squares[..width]);
        for i in 0..width {
            let [shift, sum, square] = [shifts[i], sums[i], unit_squares[i]].map(Float::to_f64);
            let difference = sum * inverse;
            let ahead = shift + difference - means[i];
            means[i] += ahead * share;
            squares[i] += square - difference * sum + ahead * ahead * total * share;
        }
    }
}
