//! Every fast algorithm for every element on every instruction set of this processor against the
//! definition, over geometries chosen for their edges: tails of channels, tiles, rows and units, small groups, taps
//! that see nothing, phases without taps. (`tests/laws.rs` adds random ones on the active set.)

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

#[test]
fn algorithms_agree_with_the_definition() {
    check_algorithms::<f32>();
    check_algorithms::<f64>();
}

fn check_algorithms<T: Float>() {
    for case in cases().into_iter().map(Case::<T>::new) {
        let Case { shape, x, weight, dy } = &case;
        // Recycled memory that was not written would show.
        drop(Tensor::full([1 << 18], T::nan()));
        let y = case.y();
        let dx = case.exact(reference::backward_data, [dy, weight], shape.x());
        let dw = case.exact(reference::backward_weights, [x, dy], shape.weight());
        for (isa, algorithm) in ways::<T>(shape) {
            let name = |pass: &str| format!("{pass} {algorithm:?} {isa:?} {shape:?}");
            let check = |got: &Tensor<T>, want: &Tensor<f64>, pass: &str| {
                assert_close(got.as_slice(), want.as_slice(), bound::<T>(algorithm), &|| name(pass));
            };

            let mut got = unwritten(shape.y());
            let plan = Plan::forward(shape, algorithm, false, &Caches::FITTED, isa);
            let packed = plan.pack(weight.as_slice());
            plan.run(x.as_slice().into(), &packed, got.as_mut_slice(), &Epilogue::default(), false);
            check(&got, &y, "forward");

            let mut got = unwritten(shape.x());
            let plan = Plan::backward_data(shape, algorithm, &Caches::FITTED, isa);
            let packed = plan.pack(weight.as_slice());
            plan.run(dy.as_slice().into(), &packed, got.as_mut_slice(), &Epilogue::default(), false);
            check(&got, &dx, "backward data");

            let mut got = unwritten(shape.weight());
            let dw_slice = got.as_mut_slice();
            plan::backward_weights(
                x.as_slice().into(),
                dy.as_slice(),
                dw_slice,
                shape,
                algorithm,
                &Caches::FITTED,
                isa,
            );
            check(&got, &dw, "backward weights");
        }
    }
}

#[test]
fn epilogues_and_statistics_are_those_of_separate_passes() {
    check_epilogues::<f32>();
    check_epilogues::<f64>();
}

fn check_epilogues<T: Float>() {
    let epsilon = T::epsilon().to_f64();
    for case in cases().into_iter().map(Case::<T>::new).filter(|case| !case.x.is_empty()) {
        let Case { shape, x, weight, dy } = &case;
        let plain = case.y();
        // A mean far from zero, which squares that are subtracted from each other would not survive.
        let bias: Vec<T> = (0..shape.out_channels).map(|channel| T::of(100.0 + channel as f64)).collect();
        let channels = shape.out_channels;
        let biased = |at: usize| plain.as_slice()[at] + bias[at % channels].to_f64();
        for (isa, algorithm) in ways::<T>(shape) {
            let name = || format!("{algorithm:?} {isa:?} {shape:?}");
            let plan = Plan::forward(shape, algorithm, false, &Caches::FITTED, isa);
            let packed = plan.pack(weight.as_slice());

            let mut got = unwritten(shape.y());
            let epilogue = Epilogue { addend: Some(dy.as_slice()), relu: true, ..Default::default() };
            plan.run(x.as_slice().into(), &packed, got.as_mut_slice(), &epilogue, false);
            let want: Vec<f64> = plain
                .as_slice()
                .iter()
                .zip(dy.as_slice())
                .map(|(y, &add)| (y + add.to_f64()).max(0.0))
                .collect();
            assert_close(got.as_slice(), &want, bound::<T>(algorithm), &name);

            let mut accumulated = dy.clone();
            let epilogue = Epilogue { accumulate: true, relu: true, ..Default::default() };
            plan.run(x.as_slice().into(), &packed, accumulated.as_mut_slice(), &epilogue, false);
            assert_eq!(accumulated.as_slice(), got.as_slice(), "{}", name());

            let epilogue = Epilogue { bias: Some(&bias), ..Default::default() };
            let statistics =
                plan.run(x.as_slice().into(), &packed, got.as_mut_slice(), &epilogue, true).unwrap();
            let want: Vec<f64> = (0..plain.len()).map(biased).collect();
            assert_close(got.as_slice(), &want, 17.0 * epsilon, &name);
            assert_eq!(statistics.count * channels, plain.len());
            for channel in 0..channels {
                let values = || got.as_slice().iter().skip(channel).step_by(channels).map(|&y| y.to_f64());
                // Summed about one of them: f64 has no digits to spare here.
                let first = got.as_slice()[channel].to_f64();
                let mean = first + values().map(|y| y - first).sum::<f64>() / statistics.count as f64;
                let variance = values().map(|y| (y - mean).powi(2)).sum::<f64>() / statistics.count as f64;
                let (got_mean, got_variance) =
                    (statistics.mean.as_slice()[channel], statistics.variance.as_slice()[channel]);
                assert!(
                    (got_mean - mean).abs() <= 9.0 * epsilon * mean.abs(),
                    "{}: {got_mean} for {mean}",
                    name()
                );
                let bound = 90.0 * epsilon * variance + 1e-2 * epsilon;
                assert!(
                    (got_variance - variance).abs() <= bound,
                    "{}: {got_variance} for {variance}",
                    name()
                );
            }
        }
    }
}

/// An input that is normalized on the way gives the bits of one that was normalized before.
#[test]
fn inputs_are_normalized_on_the_way() {
    check_normalized_inputs::<f32>();
    check_normalized_inputs::<f64>();
}

fn check_normalized_inputs<T: Float>() {
    let mut generator = Generator::new(2);
    for (index, case) in
        cases().into_iter().map(Case::<T>::new).enumerate().filter(|(_, case)| case.x.len() > 4)
    {
        let Case { shape, x, weight, dy } = &case;
        let mut vector = || generator.normal_tensor::<T>([shape.in_channels], 1.0);
        let (gamma, beta) = (vector(), vector());
        let (statistics, eps) = (batch_norm::statistics(&x.into()).unwrap(), 0.1);
        let followed = if index % 2 == 0 { Followed::Relu } else { Followed::Nothing };
        let fused = Fused { x: x.clone(), gamma, beta, statistics, eps, followed };
        let (before, on_the_way) = (fused.forward().unwrap(), Input::from(&fused).prepare().unwrap());
        for (isa, algorithm) in ways::<T>(shape) {
            let name = || format!("{algorithm:?} {isa:?} {shape:?}");
            let forward = |source: Source<'_, T>| {
                let plan =
                    Plan::forward(shape, algorithm, source.normalization.is_some(), &Caches::FITTED, isa);
                let mut y = unwritten(shape.y());
                let packed = plan.pack(weight.as_slice());
                plan.run(source, &packed, y.as_mut_slice(), &Epilogue::default(), false);
                y
            };
            let want = forward(before.as_slice().into());
            assert_eq!(forward(on_the_way.source()).as_slice(), want.as_slice(), "{}", name());

            let gradient = |source: Source<'_, T>| {
                let mut dw = unwritten(shape.weight());
                plan::backward_weights(
                    source,
                    dy.as_slice(),
                    dw.as_mut_slice(),
                    shape,
                    algorithm,
                    &Caches::FITTED,
                    isa,
                );
                dw
            };
            let want = gradient(before.as_slice().into());
            assert_eq!(gradient(on_the_way.source()).as_slice(), want.as_slice(), "{}", name());
        }
    }
}

/// Where the definition gives NaN or an infinity, every algorithm gives something that is not
/// finite, and a ReLU on the way does not hide it.
#[test]
fn what_is_not_finite_is_not_hidden() {
    check_not_finite::<f32>();
    check_not_finite::<f64>();
}

fn check_not_finite<T: Float>() {
    for case in cases().into_iter().map(Case::<T>::new).filter(|case| !case.x.is_empty()) {
        let Case { shape, x, weight, dy } = &case;
        for (wrong, value) in [(0, T::nan()), (x.len() / 2, T::infinity()), (x.len() - 1, T::nan())] {
            let mut x = x.clone();
            x.as_mut_slice()[wrong] = value;
            let y = case.exact(reference::forward, [&x, weight], shape.y());
            let dw = case.exact(reference::backward_weights, [&x, dy], shape.weight());
            for (isa, algorithm) in ways::<T>(shape) {
                let check = |got: &Tensor<T>, want: &Tensor<f64>, relu: bool| {
                    for (&got, &want) in got.as_slice().iter().zip(want.as_slice()) {
                        let hidden = match want {
                            _ if want.is_nan() => !got.is_nan(),
                            f64::NEG_INFINITY if relu => got > T::zero(),
                            _ => want.is_infinite() && got.is_finite(),
                        };
                        assert!(!hidden, "{algorithm:?} {isa:?} {shape:?}: {got} for {want}");
                    }
                };
                for relu in [false, true] {
                    let plan = Plan::forward(shape, algorithm, false, &Caches::FITTED, isa);
                    let (packed, mut got) = (plan.pack(weight.as_slice()), Tensor::zeros(shape.y()));
                    let epilogue = Epilogue { relu, ..Epilogue::default() };
                    plan.run(x.as_slice().into(), &packed, got.as_mut_slice(), &epilogue, false);
                    check(&got, &y, relu);
                }
                let mut got = Tensor::zeros(shape.weight());
                let (x, dy) = (x.as_slice().into(), dy.as_slice());
                plan::backward_weights(x, dy, got.as_mut_slice(), shape, algorithm, &Caches::FITTED, isa);
                check(&got, &dw, false);
            }
        }
    }
}

/// How large the caches are changes how work is divided, and no bit of a result.
#[test]
fn results_do_not_depend_on_the_caches() {
    check_caches::<f32>();
    check_caches::<f64>();
}

fn check_caches<T: Float>() {
    let small = Caches { l1_way: 1 << 10, l2: 128 << 10, last: 128 << 10 };
    let large = Caches { l1_way: 64 << 10, l2: 8 << 20, last: 256 << 20 };
    // Of what is smaller there is one unit or chunk, whatever the caches are.
    let is_large = |case: &Case<T>| size_of_val(case.x.as_slice()) > small.l2 / 4;
    for case in cases().into_iter().map(Case::<T>::new).filter(is_large) {
        let Case { shape, x, weight, dy } = &case;
        for (isa, algorithm) in ways::<T>(shape) {
            let results = [&Caches::FITTED, &small, &large].map(|caches| {
                let plain = Epilogue::default();
                let [mut y, mut dx, mut dw] = [shape.y(), shape.x(), shape.weight()].map(unwritten::<T>);
                let plan = Plan::forward(shape, algorithm, false, caches, isa);
                let packed = plan.pack(weight.as_slice());
                plan.run(x.as_slice().into(), &packed, y.as_mut_slice(), &plain, false);
                let plan = Plan::backward_data(shape, algorithm, caches, isa);
                let packed = plan.pack(weight.as_slice());
                plan.run(dy.as_slice().into(), &packed, dx.as_mut_slice(), &plain, false);
                let (x, dw_slice) = (x.as_slice().into(), dw.as_mut_slice());
                plan::backward_weights(x, dy.as_slice(), dw_slice, shape, algorithm, caches, isa);
                [y, dx, dw]
            });
            for other in &results[1..] {
                assert_eq!(*other, results[0], "{algorithm:?} {isa:?} {shape:?}");
            }
        }
    }
}

/// The choice where it has been measured (AVX-512, two cores, weights not in a cache).
#[test]
fn algorithms_are_chosen_as_measured() {
    let Some(isa) = available::<f32>().into_iter().find(|isa| isa.lanes == 16) else {
        return println!("skipped: no AVX-512");
    };
    let three = |batch, channels, size| {
        let shape = Shape::new([batch, channels, size, size]).unwrap();
        Conv2dGeometry::new(3, 3)
            .padding(1)
            .resolve(&shape, &Shape::new([channels, channels, 3, 3]).unwrap())
            .unwrap()
    };
    let packed = |shape: Conv2dShape| cost::forward_packed(&shape, isa);
    assert_eq!(packed(three(1, 64, 56)), Algorithm::Winograd4);
    assert_eq!(packed(three(1, 128, 28)), Algorithm::Winograd4);
    assert_eq!(packed(three(1, 256, 14)), Algorithm::Winograd2);
    assert_eq!(packed(three(1, 512, 7)), Algorithm::Blocked);
    for (channels, size) in [(64, 56), (128, 28), (256, 14), (512, 7)] {
        let shape = three(32, channels, size);
        assert_eq!(packed(shape), Algorithm::Winograd4);
        assert_eq!(cost::forward(&shape, isa), Algorithm::Winograd4);
        assert_eq!(cost::backward_data(&shape, isa), Algorithm::Winograd4);
        assert_eq!(cost::backward_weights(&shape, isa), Algorithm::Winograd4);
    }
    let strided = Conv2dGeometry::new(3, 3).padding(1).stride(2);
    let strided = strided
        .resolve(&Shape::new([1, 64, 56, 56]).unwrap(), &Shape::new([128, 64, 3, 3]).unwrap())
        .unwrap();
    assert_eq!(packed(strided), Algorithm::Blocked);
}

/// Kernels of lanes compute groups that share a register, in every direction, and no others.
#[test]
fn groups_of_few_channels_share_registers() {
    for isa in available::<f32>() {
        for (group, stride) in [1, 2, 4, 8, 16, 32, 64].into_iter().flat_map(|group| [(group, 1), (group, 2)])
        {
            let geometry = Conv2dGeometry::new(3, 3).padding(1).stride(stride).groups(32);
            let [x, weight] = [[1, 32 * group, 28, 28], [32 * group, group, 3, 3]];
            let shape = geometry.resolve(&Shape::new(x).unwrap(), &Shape::new(weight).unwrap()).unwrap();
            let wanted = if 2 * group <= isa.lanes { Algorithm::Grouped } else { Algorithm::Blocked };
            for chosen in [
                cost::forward(&shape, isa),
                cost::forward_packed(&shape, isa),
                cost::backward_data(&shape, isa),
                cost::backward_weights(&shape, isa),
            ] {
                assert_eq!(chosen, wanted, "{isa:?} {shape:?}");
            }
        }
    }
}

#[test]
fn packed_convolutions_check_what_they_are_given() {
    let geometry = Conv2dGeometry::new(3, 3).padding(1);
    let weight = Tensor::<f32>::zeros([4, 2, 3, 3]);
    let shape = geometry.resolve(&Shape::new([1, 2, 5, 5]).unwrap(), weight.shape()).unwrap();
    let packed = PackedConv2d::new(&weight, &shape).unwrap();
    let run = |x: usize, y: usize, epilogue: &Epilogue<'_>| {
        packed.run(&vec![0.0; x], &mut vec![0.0; y], epilogue).map_err(|error| error.to_string())
    };
    assert_eq!(run(50, 100, &Epilogue::default()), Ok(()));
    let short = [0.0; 3];
    for result in [
        run(49, 100, &Epilogue::default()),
        run(50, 99, &Epilogue::default()),
        run(50, 100, &Epilogue { bias: Some(&short), ..Default::default() }),
        run(50, 100, &Epilogue { addend: Some(&short), ..Default::default() }),
    ] {
        assert!(result.unwrap_err().contains("elements, but"));
    }
    let addend = [0.0; 100];
    let both = Epilogue { addend: Some(&addend), accumulate: true, ..Default::default() };
    assert!(run(50, 100, &both).unwrap_err().contains("leave one out"));
    let other =
        geometry.resolve(&Shape::new([1, 3, 5, 5]).unwrap(), &Shape::new([4, 3, 3, 3]).unwrap()).unwrap();
    assert!(PackedConv2d::new(&weight, &other).is_err());
    let algorithm = |algorithm, shape: &Conv2dShape| {
        let packed = PackedConv2d::with(algorithm, &weight, shape);
        packed.map(|packed| packed.algorithm()).map_err(|error| error.to_string())
    };
    assert_eq!(algorithm(Algorithm::Winograd4, &shape), Ok(Algorithm::Winograd4));
    assert_eq!(
        algorithm(Algorithm::Im2col, &shape).unwrap_err(),
        "conv2d: im2col cannot compute a convolution with kernel [3, 3], stride [1, 1], padding [1, 1], \
         dilation [1, 1], groups 1: it does not pack weights"
    );
    let strided = geometry.stride(2).resolve(&Shape::new([1, 2, 5, 5]).unwrap(), weight.shape()).unwrap();
    assert_eq!(
        algorithm(Algorithm::Winograd4, &strided).unwrap_err(),
        "conv2d: winograd4 cannot compute a convolution with kernel [3, 3], stride [2, 2], padding [1, 1], \
         dilation [1, 1], groups 1: it needs a 3×3 kernel with stride 1, dilation 1 and one group"
    );
}

#[test]
fn a_packed_weight_serves_other_shapes() {
    let mut generator = Generator::new(4);
    for (kernel, groups) in [(3, 1), (1, 1), (3, 4)] {
        let geometry = Conv2dGeometry::new(kernel, kernel).padding(kernel / 2).groups(groups);
        let weight: Tensor<f32> = generator.normal_tensor([24, 16 / groups, kernel, kernel], 1.0);
        let mut shared = 0;
        let mut packed: Option<PackedConv2d> = None;
        for [batch, height, width] in [[1, 14, 14], [3, 14, 14], [8, 9, 40], [1, 1, 1], [1, 14, 14]] {
            let x = generator.normal_tensor([batch, 16, height, width], 1.0).to_layout(Layout::ChannelsLast);
            let shape = geometry.resolve(x.shape(), weight.shape()).unwrap();
            let fresh = PackedConv2d::new(&weight, &shape).unwrap();
            let other = packed.as_ref().and_then(|packed| packed.reshaped(&shape).unwrap());
            if let Some(other) = &other {
                assert_eq!(other.algorithm(), fresh.algorithm());
                let mut weights = other.weights.iter().zip(&packed.as_ref().unwrap().weights);
                assert!(weights.all(|(one, other)| one.shares_memory_with(other)));
                shared += 1;
            }
            let run = |packed: &PackedConv2d| {
                let mut y = Tensor::<f32>::unfilled(shape.y(), Layout::ChannelsLast);
                packed.run(x.as_slice(), y.as_mut_slice(), &Epilogue::default()).unwrap();
                y.to_vec().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let other = other.unwrap_or_else(|| fresh.clone());
            assert_eq!(run(&other), run(&fresh), "{kernel} {groups} {shape:?}");
            packed = Some(other);
        }
        assert!(shared >= 1, "{kernel} {groups}");
    }
    let shape = |channels: usize, stride: usize| {
        let geometry = Conv2dGeometry::new(3, 3).stride(stride);
        let [x, weight] = [[1, channels, 9, 9], [4, channels, 3, 3]].map(|axes| Shape::new(axes).unwrap());
        geometry.resolve(&x, &weight).unwrap()
    };
    let packed = PackedConv2d::new(&Tensor::<f32>::zeros([4, 2, 3, 3]), &shape(2, 1)).unwrap();
    for other in [shape(3, 1), shape(2, 2)] {
        assert!(packed.reshaped(&other).unwrap().is_none(), "{other:?}");
    }
}
