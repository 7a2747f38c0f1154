//! Every way to compute a convolution against its definition in f64: random geometries, and
//! those of real networks; by each instruction set that the processor has.

use std::{cell::Cell, collections::BTreeMap, env};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use residual_kernels::{
    Conv2dGeometry,
    conv2d::{self, Algorithm},
    isa,
};
use residual_nn::{Module, Trace};
use residual_tensor::{Float, Generator, Shape, Tensor};
use residual_zoo::ResNetConfig;

use super::{Failure, Outcome, Settings, child, recorder::Recorder};

/// Allowed differences over the largest magnitude of a result.
const F64: f64 = 1e-12;
const F32: f64 = 1e-5;
/// Random geometries per algorithm and precision.
const GEOMETRIES: u32 = 200;

pub(super) fn run(settings: &Settings, recorder: &mut Recorder) -> Result<(), Failure> {
    for algorithm in Algorithm::ALL {
        // What an algorithm cannot do, it can do nowhere but at 3×3 and stride 1.
        let easiest = Case { geometry: Conv2dGeometry::new(3, 3), x: [1, 16, 8, 8], weight: [16, 16, 3, 3] };
        if easiest.is_done_by::<f64>(algorithm)? {
            recorder.check(format!("{algorithm:?} f64 random"), || random::<f64>(algorithm, F64));
        }
        recorder.check(format!("{algorithm:?} f32 random"), || random::<f32>(algorithm, F32));
    }
    recorder.check("all f32 in networks", || in_networks::<f32>(F32));

    let others = isa::available().into_iter().filter(|isa| isa.name != isa::active().name);
    for name in others.map(|isa| isa.name) {
        recorder.check(format!("on {name}"), || {
            let only = "algorithms/f32";
            let variable = ("RESIDUAL_ISA", Some(name));
            let result = child::verify(&env::current_exe()?, &settings.root, only, variable)?;
            match child::first_failure(&result) {
                None => Ok(format!("the f32 checks above again, {} of them", result["passed"])),
                Some(failure) => Err(failure.into()),
            }
        });
    }
    Ok(())
}

/// A convolution to run.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    geometry: Conv2dGeometry,
    x: [usize; 4],
    weight: [usize; 4],
}

impl Case {
    /// Random `x`, `weight` and `dy`.
    fn operands<T: Float>(&self, seed: u64) -> Result<[Tensor<T>; 3], Failure> {
        let y = self.geometry.resolve(&self.x.into(), &self.weight.into())?.y();
        let mut generator = Generator::new(seed);
        Ok([self.x.into(), self.weight.into(), y].map(|shape: Shape| generator.normal_tensor(shape, 1.0)))
    }

    /// Whether the algorithm itself computes this, and leaves it to no other.
    fn is_done_by<T: Float>(&self, algorithm: Algorithm) -> Result<bool, Failure> {
        let shape = self.geometry.resolve(&self.x.into(), &self.weight.into())?;
        Ok(algorithm.suited::<T>(&shape) == algorithm)
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

    /// The largest difference of an algorithm's results from the exact ones, over the largest
    /// magnitude of each.
    fn error<T: Float>(
        &self,
        algorithm: Algorithm,
        operands: &[Tensor<T>; 3],
        exact: &[Vec<f64>; 3],
    ) -> Result<f64, Failure> {
        let results = self.results(algorithm, operands)?;
        let errors = results.iter().zip(exact).map(|(result, exact)| relative(&result.to_vec(), exact));
        Ok(errors.fold(0.0, f64::max))
    }
}

/// The largest difference over the largest magnitude. What is no number is as wrong as can be.
fn relative<T: Float>(result: &[T], exact: &[f64]) -> f64 {
    let largest = exact.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let errors =
        result.iter().zip(exact).map(|(result, exact)| (Float::to_f64(*result) - exact).abs() / largest);
    errors.fold(0.0, |worst, error| if error.is_nan() { f64::INFINITY } else { worst.max(error) })
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
    let error = |case: &Case, seed| -> Result<f64, Failure> {
        let operands = case.operands::<T>(seed)?;
        case.error(algorithm, &operands, &case.exact(&operands)?)
    };
    let result = runner.run(&(cases(), any::<u64>()), |(case, seed)| {
        let failed = |failure: Failure| TestCaseError::fail(failure.to_string());
        if !case.is_done_by::<T>(algorithm).map_err(failed)? {
            return Err(TestCaseError::reject("left to another algorithm"));
        }
        let error = error(&case, seed).map_err(failed)?;
        worst.set(worst.get().max(error));
        if error <= tolerance { Ok(()) } else { Err(TestCaseError::fail(format!("{error:.1e}"))) }
    });
    match result {
        Ok(()) => Ok(format!("{GEOMETRIES} geometries, worst {:.1e} of {tolerance:.0e}", worst.get())),
        Err(TestError::Fail(error, (case, _))) => Err(format!("{error} of {tolerance:.0e}: {case:?}").into()),
        Err(TestError::Abort(reason)) => Err(reason.to_string().into()),
    }
}

/// Each geometry that the networks contain, on small pictures, by every algorithm that can.
fn in_networks<T: Float>(tolerance: f64) -> Outcome {
    let mut by_algorithm = Algorithm::ALL.map(|algorithm| (algorithm, 0, 0.0f64));
    for case in cases_of_networks()? {
        let operands = case.operands::<T>(0)?;
        let exact = case.exact(&operands)?;
        for (algorithm, done, worst) in &mut by_algorithm {
            if !case.is_done_by::<T>(*algorithm)? {
                continue;
            }
            let error = case.error(*algorithm, &operands, &exact)?;
            if error > tolerance {
                return Err(format!("{algorithm:?} {error:.1e} of {tolerance:.0e}: {case:?}").into());
            }
            *done += 1;
            *worst = worst.max(error);
        }
    }
    let told = by_algorithm.map(|(algorithm, done, worst)| format!("{algorithm:?} {done}: {worst:.1e}"));
    Ok(format!("geometries and worst of {tolerance:.0e}: {}", told.join(", ")))
}

fn cases_of_networks() -> Result<Vec<Case>, Failure> {
    const SIDE: usize = 28;
    let mut cases = Vec::new();
    for name in ["resnet18", "resnet50", "resnext50_32x4d", "cifar_resnet20"] {
        let net = ResNetConfig::named(name)?.build::<f32>(&mut Generator::new(0))?;
        let mut trace = Trace::new();
        net.propagate(&[2, 3, SIDE, SIDE].into(), &mut trace)?;
        let weights: BTreeMap<_, _> = net.parameters().into_iter().collect();
        for layer in trace.layers().iter().filter(|layer| layer.kind == "conv2d") {
            let weight =
                weights.get(&format!("{}.weight", layer.path)).ok_or("a convolution without a weight")?;
            let weight: [usize; 4] = weight.shape().dims("conv2d")?;
            let (x, y): ([usize; 4], [usize; 4]) =
                (layer.input.dims("conv2d")?, layer.output.dims("conv2d")?);
            // All of them keep the size or halve it.
            let geometry = Conv2dGeometry::new(weight[2], weight[3]).stride(x[2].div_ceil(y[2]));
            let geometry = geometry.padding([weight[2] / 2, weight[3] / 2]).groups(x[1] / weight[1]);
            let case = Case { geometry, x, weight };
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
    }
    Ok(cases)
}
