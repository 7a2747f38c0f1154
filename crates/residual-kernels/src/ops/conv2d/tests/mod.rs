//! Convolutions over geometries chosen for their edges: tails of channels, tiles, rows and units, small groups,
//! taps that see nothing, phases without taps. (`tests/laws.rs` of this crate adds random ones on the active
//! instruction set.) Here are the geometries, and what the tests share.

mod choice;
mod packed;
mod results;

use residual_tensor::{Generator, Layout, Shape, Tensor};

use super::*;
use crate::{
    engine::{
        caches::Caches,
        isa::{Isa, available},
    },
    fused::{Followed, Fused, PackedConv2d},
    ops::{batch_norm, conv2d::source::Source},
};

const FAST: [Algorithm; 4] =
    [Algorithm::Blocked, Algorithm::Grouped, Algorithm::Winograd2, Algorithm::Winograd4];

/// Geometry, input and output channels.
fn cases() -> Vec<(Conv2dGeometry, [usize; 4], usize)> {
    let kernel = Conv2dGeometry::new;
    let three = kernel(3, 3).padding(1);
    vec![
        (three, [2, 5, 9, 11], 7),
        (three, [3, 16, 7, 7], 35),
        (three, [1, 130, 6, 5], 33),
        (three, [2, 64, 28, 29], 64),
        (three, [4, 96, 14, 14], 64), // several chunks, rounds and units
        (three, [2, 80, 15, 13], 80),
        (three, [1, 1, 1, 1], 1),
        (three.padding(0), [2, 20, 15, 13], 19),
        (three.padding([2, 1]), [2, 20, 5, 3], 49),
        (three.padding(3), [1, 4, 2, 3], 3), // rows of zeros only
        (three, [0, 4, 9, 10], 3),
        (three, [0, 64, 8, 8], 64), // sums large enough to be recycled memory
        (kernel(1, 1), [0, 64, 8, 8], 64),
        (three.stride(2), [2, 0, 5, 6], 3),
        (kernel(1, 1), [2, 33, 5, 6], 40),
        (kernel(1, 1), [2, 600, 5, 6], 16), // too many channels to be read in place
        (kernel(1, 1), [1, 3, 41, 43], 33), // one long row in several units
        (kernel(1, 1).stride(2), [2, 24, 9, 8], 17),
        (kernel(1, 1).padding(1), [2, 24, 9, 8], 17),
        (kernel(7, 7).stride(2).padding(3), [2, 3, 33, 35], 64),
        (three.stride(2), [2, 70, 12, 13], 20),
        (kernel(3, 2).stride([3, 1]).padding([2, 0]).dilation([2, 3]), [2, 6, 17, 16], 9),
        (kernel(2, 2).stride(3), [1, 4, 9, 10], 3), // phases without taps
        (kernel(5, 1).padding([2, 0]), [1, 4, 1, 1], 3),
        // rows that are divided although their parts overlap
        (kernel(1, 3).padding([0, 1]), [1, 2, 1, 4200], 3),
        (kernel(1, 5).padding([0, 2]).stride([1, 2]).dilation([1, 3]), [1, 1, 1, 8400], 2),
    ]
    .into_iter()
    .chain(cases_of_groups())
    .collect()
}

/// The same for several groups: as many channels in each as fill a register or not, in as many groups
/// as fill the registers that they share or not.
fn cases_of_groups() -> Vec<(Conv2dGeometry, [usize; 4], usize)> {
    let kernel = Conv2dGeometry::new;
    let three = kernel(3, 3).padding(1);
    let equal = [1, 2, 3, 4, 5, 8, 16, 32, 64].into_iter().flat_map(|channels| {
        let groups = if channels < 16 { 11 } else { 3 };
        let of = |groups: usize| groups * channels;
        [
            (three.groups(groups), [2, of(groups), 6, 19], of(groups)),
            (three.groups(4).stride(2), [1, of(4), 7, 10], of(4)),
            (kernel(1, 1).groups(2), [1, of(2), 3, 5], of(2)),
        ]
    });
    let others = vec![
        (three.groups(4), [2, 16, 8, 9], 24),
        (three.groups(8), [2, 256, 6, 5], 32), // more inputs than lanes
        (three.groups(5), [1, 10, 8, 9], 35),
        (three.groups(5), [1, 35, 8, 9], 10),
        (three.groups(2), [1, 80, 8, 9], 70),
        (three.groups(16).stride(2), [2, 16, 8, 9], 16), // depth-wise
        (three.groups(9), [2, 9, 30, 31], 18),           // depth-wise with a multiplier, several units
        (three.groups(6).dilation(2).padding(2), [1, 12, 9, 11], 12),
        (three.groups(6).padding(0), [2, 24, 4, 3], 24), // a single column
        (kernel(7, 7).padding(3).groups(8), [1, 8, 9, 8], 8),
        (kernel(7, 7).stride(2).padding(3).groups(3), [1, 6, 15, 16], 12),
        (kernel(3, 5).padding([1, 2]).groups(4), [1, 8, 7, 6], 8),
        (kernel(2, 4).stride([2, 1]).dilation([1, 3]).groups(4), [1, 16, 9, 19], 16),
        (kernel(2, 2).stride(3).groups(4), [1, 8, 9, 10], 12), // phases without taps
        (three.groups(4), [0, 16, 8, 9], 16),
        (three.groups(32), [2, 128, 15, 16], 128), // ResNeXt
    ];
    equal.chain(others).collect()
}

struct Case<T: Float> {
    shape: Conv2dShape,
    x: Tensor<T>,
    weight: Tensor<T>,
    dy: Tensor<T>,
}

impl<T: Float> Case<T> {
    fn new((geometry, x, outputs): (Conv2dGeometry, [usize; 4], usize)) -> Self {
        let mut generator = Generator::new(1);
        let mut random = |shape: &Shape| generator.normal_tensor(shape, 1.0).to_layout(Layout::ChannelsLast);
        let [height, width] = geometry.kernel;
        let weight = Shape::new([outputs, x[1] / geometry.groups, height, width]).unwrap();
        let shape = geometry.resolve(&Shape::new(x).unwrap(), &weight).unwrap();
        Self { shape, x: random(&shape.x()), weight: random(&weight), dy: random(&shape.y()) }
    }

    /// What `kernel` computes in double precision.
    fn exact(
        &self,
        algorithm: impl Fn(&[f64], &[f64], &mut [f64], &Conv2dShape) -> Result<()>,
        operands: [&Tensor<T>; 2],
        result: Shape,
    ) -> Tensor<f64> {
        let [a, b] = operands.map(|tensor| tensor.map(Float::to_f64));
        let mut exact = Tensor::unfilled(result, Layout::ChannelsLast);
        algorithm(a.as_slice(), b.as_slice(), exact.as_mut_slice(), &self.shape).unwrap();
        exact
    }

    fn y(&self) -> Tensor<f64> {
        self.exact(reference::forward, [&self.x, &self.weight], self.shape.y())
    }
}

/// A tensor that no kernel may leave as it is.
fn unwritten<T: Float>(shape: Shape) -> Tensor<T> {
    let mut tensor = Tensor::unfilled(shape, Layout::ChannelsLast);
    tensor.as_mut_slice().fill(T::nan());
    tensor
}

/// The largest error, as a share of the largest value, may be `bound`.
#[track_caller]
fn assert_close<T: Float>(got: &[T], want: &[f64], bound: f64, what: &dyn Fn() -> String) {
    let largest = want.iter().fold(f64::MIN_POSITIVE, |largest, value| value.abs().max(largest));
    for (&got, &want) in got.iter().zip(want) {
        // Written so that NaN fails.
        assert!((got.to_f64() - want).abs() <= bound * largest, "{}: {got} for {want}", what());
    }
}

/// Measured over many geometries, in units of the element's precision: direct sums stay below
/// 9 (1e-6 in `f32`), F(4, 3) below 34 (4e-6).
fn bound<T: Float>(algorithm: Algorithm) -> f64 {
    T::epsilon().to_f64() * if algorithm == Algorithm::Winograd4 { 34.0 } else { 17.0 }
}

/// The fast algorithms that can compute a convolution, on each instruction set.
fn ways<T: Float>(shape: &Conv2dShape) -> impl Iterator<Item = (&'static Isa<T>, Algorithm)> {
    let able = FAST.into_iter().filter(|algorithm| algorithm.check(shape).is_ok()).collect::<Vec<_>>();
    available()
        .into_iter()
        .flat_map(move |isa| able.clone().into_iter().map(move |algorithm| (isa, algorithm)))
}
