//! Every way to compute a convolution against its definition in f64: random geometries, and
//! those of real networks; by each instruction set that the processor has; with numbers of the
//! kinds that networks have.

use std::{cell::Cell, env, iter};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use residual_kernels::{
    Conv2dGeometry,
    conv2d::{self, Algorithm},
};
use residual_nn::{Module, Pattern};
use residual_tensor::{Float, Generator, Shape, Tensor};
use residual_zoo::NetworkConfig;

use super::{Difference, Failure, Outcome, Settings, child, instruction_sets, recorder::Recorder};

/// Allowed differences over what the result could be at most; see [`Case::bounds`].
const F64: f64 = 1e-14;
const F32: f64 = 2e-6;
/// Random geometries per algorithm and precision.
const GEOMETRIES: u32 = 200;

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for algorithm in algorithms() {
        recorder.check(format!("{algorithm:?} f64 random"), || random::<f64>(algorithm, F64));
        recorder.check(format!("{algorithm:?} f32 random"), || random::<f32>(algorithm, F32));
    }
    recorder.check("all f32 in networks", || in_networks::<f32>(F32));
    instruction_sets::on_others(recorder, |name| {
        let (only, variable) = ("algorithms/f32", ("RESIDUAL_ISA", Some(name)));
        let result = child::verify(&env::current_exe()?, &settings.root, only, variable)?;
        child::outcome(&result, |result| format!("the f32 checks above again, {} of them", result["passed"]))
    })
}

/// Every algorithm. A new one does not compile before it has its place here.
fn algorithms() -> Vec<Algorithm> {
    let next = |algorithm: &Algorithm| match algorithm {
        Algorithm::Reference => Some(Algorithm::Im2col),
        Algorithm::Im2col => Some(Algorithm::Blocked),
        Algorithm::Blocked => Some(Algorithm::Grouped),
        Algorithm::Grouped => Some(Algorithm::Winograd2),
        Algorithm::Winograd2 => Some(Algorithm::Winograd4),
        Algorithm::Winograd4 => None,
    };
    iter::successors(Some(Algorithm::Reference), next).collect()
}

/// What the numbers are like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbers {
    /// Mean 0, deviation 1.
    Normal,
    /// All on one side, far from zero: activations that nobody has centered.
    LargeMean,
    /// Half of them zero: what ReLU leaves.
    Rectified,
    /// Small, as gradients are.
    Tiny,
    /// Large.
    Huge,
}

impl Numbers {
    const ALL: [Self; 5] = [Self::Normal, Self::LargeMean, Self::Rectified, Self::Tiny, Self::Huge];

    /// A number of this kind from one of mean 0 and deviation 1.
    fn of(self, normal: f64) -> f64 {
        match self {
            Self::Normal => normal,
            Self::LargeMean => 100.0 + normal,
            Self::Rectified => normal.max(0.0),
            Self::Tiny => 1e-15 * normal,
            Self::Huge => 1e15 * normal,
        }
    }
}

/// A convolution to run.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    geometry: Conv2dGeometry,
    x: [usize; 4],
    weight: [usize; 4],
}

impl Case {
    /// Those of `x` and `weight`.
    fn shapes(&self) -> Result<[Shape; 2], Failure> {
        Ok([Shape::new(self.x)?, Shape::new(self.weight)?])
    }

    /// Random `x`, `weight` and `dy`; the kind of numbers is that of `x` and `dy`.
    fn operands<T: Float>(&self, numbers: Numbers, seed: u64) -> Result<[Tensor<T>; 3], Failure> {
        let [x, weight] = self.shapes()?;
        let y = self.geometry.resolve(&x, &weight)?.y();
        let mut generator = Generator::new(seed);
        let [x, weight, dy] = [x, weight, y].map(|shape| generator.normal_tensor(shape, 1.0));
        let of_kind = |tensor: &Tensor<T>| tensor.map(|normal| T::of(numbers.of(normal.to_f64())));
        Ok([of_kind(&x), weight, of_kind(&dy)])
    }

    /// What the elements of `y`, `dx` and `dw` could be at most, if all terms of a sum had one sign:
    /// the scale of rounding, whatever cancels in the result.
    fn bounds<T: Float>(&self, operands: &[Tensor<T>; 3]) -> [f64; 3] {
        let magnitudes = |tensor: &Tensor<T>| -> Vec<f64> {
            tensor.to_vec().into_iter().map(|value| value.to_f64().abs()).collect()
        };
        let [x, weight, dy] = operands.each_ref().map(magnitudes);
        let [outputs, inputs, height, width] = self.weight;
        let (taps, per_group) = (height * width, outputs / self.geometry.groups.max(1));
        let (mut of_output, mut of_input) = (vec![0.0; outputs], vec![0.0; self.x[1]]);
        for (i, weight) in weight.iter().enumerate() {
            let (output, input) = (i / (taps * inputs), i / taps % inputs);
            of_output[output] += weight;
            of_input[output / per_group * inputs + input] += weight;
        }
        let pixels = dy.len() / (self.x[0] * outputs).max(1);
        let mut of_gradient = vec![0.0; outputs];
        for (i, dy) in dy.iter().enumerate() {
            of_gradient[i / pixels.max(1) % outputs] += dy;
        }
        let [x, dy] = [&x, &dy].map(largest);
        [x * largest(&of_output), dy * largest(&of_input), x * largest(&of_gradient)]
    }

    /// Whether the algorithm can compute this.
    fn is_done_by(&self, algorithm: Algorithm) -> Result<bool, Failure> {
        let [x, weight] = self.shapes()?;
        Ok(algorithm.check(&self.geometry.resolve(&x, &weight)?).is_ok())
    }

    /// `y`, `dx` and `dw`.
    fn results<T: Float>(
        &self,
        algorithm: Algorithm,
        [x, weight, dy]: &[Tensor<T>; 3],
    ) -> Result<[Tensor<T>; 3], Failure> {
        let geometry = &self.geometry;
        Ok([
            conv2d::forward_with(algorithm, x, weight, geometry)?,
            conv2d::backward_data_with(algorithm, dy, weight, x.shape(), geometry)?,
            conv2d::backward_weights_with(algorithm, x, dy, weight.shape(), geometry)?,
        ])
    }

    /// What the definition makes of these operands in f64.
    fn exact<T: Float>(&self, operands: &[Tensor<T>; 3]) -> Result<[Vec<f64>; 3], Failure> {
        let operands = operands.each_ref().map(|operand| operand.map(Float::to_f64));
        Ok(self.results(Algorithm::Reference, &operands)?.map(|result| result.to_vec()))
    }

    /// The largest difference of an algorithm's results from the exact ones, over their bounds.
    fn error<T: Float>(
        &self,
        algorithm: Algorithm,
        operands: &[Tensor<T>; 3],
        exact: &[Vec<f64>; 3],
    ) -> Result<f64, Failure> {
        let results = self.results(algorithm, operands)?;
        let pairs = results.iter().zip(exact).zip(self.bounds(operands));
        Ok(pairs.map(|((result, exact), bound)| relative(&result.to_vec(), exact, bound)).fold(0.0, f64::max))
    }
}

/// The largest difference over the bound. What is no number is as wrong as can be.
fn relative<T: Float>(result: &[T], exact: &[f64], bound: f64) -> f64 {
    if result.len() != exact.len() {
        return f64::INFINITY;
    }
    let bound = bound.max(f64::MIN_POSITIVE);
    let errors =
        result.iter().zip(exact).map(|(result, exact)| (Float::to_f64(*result) - exact).abs() / bound);
    errors.fold(0.0, |worst, error| if error.is_nan() { f64::INFINITY } else { worst.max(error) })
}

fn largest(magnitudes: impl AsRef<[f64]>) -> f64 {
    magnitudes.as_ref().iter().copied().fold(0.0, f64::max)
}

/// Geometries of every kind whose window fits the input; each second one is 3×3 at stride 1, for
/// which there are algorithms of their own.
fn cases() -> impl Strategy<Value = Case> {
    let window = prop_oneof![
        ([1usize..=5, 1..=5], [1usize..=3, 1..=3], [0usize..=3, 0..=3], [1usize..=2, 1..=2]),
        ([3usize..=3, 3..=3], [1usize..=1, 1..=1], [0usize..=2, 0..=2], [1usize..=1, 1..=1]),
    ];
    // Around the widths of vectors, where tails are.
    let channels = || prop_oneof![1usize..=5, 7usize..=9, 15usize..=18, 31usize..=33];
    (window, 1usize..=3, 1usize..=3, channels(), channels(), [0usize..=9, 0..=9]).prop_map(
        |((kernel, stride, padding, dilation), batch, groups, inputs, outputs, extra)| {
            let size = |axis: usize| {
                let reach = dilation[axis] * (kernel[axis] - 1) + 1;
                reach.saturating_sub(2 * padding[axis]).max(1) + extra[axis]
            };
            Case {
                geometry: Conv2dGeometry { kernel, stride, padding, dilation, groups },
                x: [batch, groups * inputs, size(0), size(1)],
                weight: [groups * outputs, inputs, kernel[0], kernel[1]],
            }
        },
    )
}

/// Random geometries, always the same ones; a failure is shrunk to a small one.
fn random<T: Float>(algorithm: Algorithm, tolerance: f64) -> Outcome {
    // Geometries that an algorithm cannot do are passed over: nine of ten, for Winograd's.
    let max_global_rejects = 100 * GEOMETRIES;
    let config =
        Config { cases: GEOMETRIES, max_global_rejects, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let worst = Cell::new(0.0f64);
    let error = |case: &Case, numbers, seed| -> Result<f64, Failure> {
        let operands = case.operands::<T>(numbers, seed)?;
        case.error(algorithm, &operands, &case.exact(&operands)?)
    };
    let result = runner.run(
        &(cases(), proptest::sample::select(&Numbers::ALL[..]), any::<u64>()),
        |(case, numbers, seed)| {
            let failed = |failure: Failure| TestCaseError::fail(failure.to_string());
            if !case.is_done_by(algorithm).map_err(failed)? {
                return Err(TestCaseError::reject("not for this algorithm"));
            }
            let error = error(&case, numbers, seed).map_err(failed)?;
            worst.set(worst.get().max(error));
            if error <= tolerance { Ok(()) } else { Err(TestCaseError::fail(format!("{error:.1e}"))) }
        },
    );
    match result {
        Ok(()) => Ok(format!("{GEOMETRIES} geometries, worst {:.1e} of {tolerance:.0e}", worst.get())),
        Err(TestError::Fail(error, (case, numbers, _))) => {
            Err(Difference::found(format!("{error} of {tolerance:.0e}: {numbers:?}, {case:?}")))
        }
        Err(TestError::Abort(reason)) => Err(reason.to_string().into()),
    }
}

/// Each geometry that the networks contain, on small pictures, by every algorithm that can, with
/// numbers of each kind in turn.
fn in_networks<T: Float>(tolerance: f64) -> Outcome {
    let mut by_algorithm: Vec<_> = algorithms().into_iter().map(|algorithm| (algorithm, 0, 0.0f64)).collect();
    for (case, numbers) in cases_of_networks()?.into_iter().zip(Numbers::ALL.into_iter().cycle()) {
        let operands = case.operands::<T>(numbers, 0)?;
        let exact = case.exact(&operands)?;
        for (algorithm, done, worst) in &mut by_algorithm {
            if !case.is_done_by(*algorithm)? {
                continue;
            }
            let error = case.error(*algorithm, &operands, &exact)?;
            if error > tolerance {
                let reason = format!("{algorithm:?} {error:.1e} of {tolerance:.0e}: {numbers:?}, {case:?}");
                return Err(Difference::found(reason));
            }
            *done += 1;
            *worst = worst.max(error);
        }
    }
    if let Some((algorithm, ..)) = by_algorithm.iter().find(|(_, done, _)| *done == 0) {
        return Err(format!("{algorithm:?} can compute none of the networks' convolutions").into());
    }
    let told =
        by_algorithm.iter().map(|(algorithm, done, worst)| format!("{algorithm:?} {done}: {worst:.1e}"));
    Ok(format!("geometries and worst of {tolerance:.0e}: {}", told.collect::<Vec<_>>().join(", ")))
}

/// The convolutions of networks that between them have every kind of layer, each geometry as the
/// network describes it and each input as it arrives there.
fn cases_of_networks() -> Result<Vec<Case>, Failure> {
    const SIDE: usize = 28;
    let mut cases = Vec::new();
    for name in ["resnet18", "resnet50", "resnet50_v1", "resnext50_32x4d", "cifar_resnet20", "preresnet18"] {
        let net = NetworkConfig::named(name)?.build::<f32>(&mut Generator::new(0))?;
        let (graph, trace) = (net.graph(), net.trace(&Shape::new([2, 3, SIDE, SIDE])?)?);
        for node in graph.iter() {
            let Pattern::Conv2d(convolution) = graph.pattern(node) else { continue };
            let input = &trace.shapes[graph.node(node).inputs[0].index()];
            let (x, weight) = (input.dims("conv2d")?, convolution.weight.shape().dims("conv2d")?);
            let case = Case { geometry: *convolution.geometry(), x, weight };
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
    }
    Ok(cases)
}
