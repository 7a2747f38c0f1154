//! Windows of every kind over small tensors: by every algorithm that accepts them, in both
//! precisions, against the definition. And absurd sizes, which only have to be refused.

use arbitrary::{Result, Unstructured};
use ndarray::{Array4, ArrayView4, Ix4};
use residual_kernels::{
    Conv2dGeometry, Pool2dGeometry, avg_pool,
    conv2d::{self, Algorithm},
    max_pool, reference,
};
use residual_tensor::{Float, Generator, Shape, Tensor};

use crate::{Target, say, seeds};

/// Convolution and its gradients.
pub(crate) const CONVOLUTION: Target = Target {
    name: "convolution",
    about: "a convolution and its gradients by every algorithm, against the definition",
    run: |bytes, _| convolution(&Convolution::of(&mut Unstructured::new(bytes)).map_err(say)?),
    seeds: || seeds(16, 40),
    fixtures: None,
    most_memory: |_| 256 << 20,
};

/// Pooling and its gradients.
pub(crate) const POOLING: Target = Target {
    name: "pooling",
    about: "pooling by maximum and by average, and the gradients, against the definition",
    run: |bytes, _| {
        let (geometry, x, seed) = pool_case(&mut Unstructured::new(bytes)).map_err(say)?;
        pooling::<f64>(&geometry, x, seed, 1e-13)?;
        pooling::<f32>(&geometry, x, seed, 1e-5)
    },
    // Most are refused: padding may be half of the window at most.
    seeds: || seeds(256, 40),
    fixtures: None,
    most_memory: |_| 256 << 20,
};

/// Products of the largest convolution that is computed: few enough for some dozens of executions in a
/// second, all algorithms and plain loops under a sanitizer included.
const MOST_PRODUCTS: usize = 1 << 17;

/// A convolution, which may not fit together.
#[derive(Debug)]
struct Convolution {
    geometry: Conv2dGeometry,
    x: [usize; 4],
    weight: [usize; 4],
    seed: u64,
}

impl Convolution {
    fn of(from: &mut Unstructured<'_>) -> Result<Self> {
        let kernel = if from.ratio(2, 5)? { [3; 2] } else { pair(from, 0..=5)? };
        let stride = if from.ratio(3, 5)? { [1; 2] } else { pair(from, 0..=4)? };
        let dilation = if from.ratio(3, 5)? { [1; 2] } else { pair(from, 0..=3)? };
        let geometry = Conv2dGeometry {
            kernel,
            stride,
            padding: pair(from, 0..=4)?,
            dilation,
            groups: if from.ratio(3, 5)? { 1 } else { from.int_in_range(0..=6)? },
        };
        // Around the widths of vectors, where tails are.
        let channels = |from: &mut Unstructured<'_>| {
            from.choose(&[1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 18, 31, 32, 33]).copied()
        };
        let (inputs, outputs) = (channels(from)?, channels(from)?);
        let groups = if from.ratio(1, 20)? { from.int_in_range(0..=6)? } else { geometry.groups };
        let size = [from.int_in_range(0..=14)?, from.int_in_range(0..=14)?];
        Ok(Self {
            geometry,
            x: [from.int_in_range(0..=3)?, groups * inputs, size[0], size[1]],
            weight: [groups * outputs, inputs, kernel[0].min(64), kernel[1].min(64)],
            seed: from.arbitrary()?,
        })
    }

    /// `y`, `dx` and `dw` by an algorithm.
    fn run<T: Float>(
        &self,
        algorithm: Algorithm,
        [x, weight, dy]: &[Tensor<T>; 3],
    ) -> residual_kernels::Result<[Tensor<T>; 3]> {
        let geometry = &self.geometry;
        Ok([
            conv2d::forward_with(algorithm, x, weight, geometry)?,
            conv2d::backward_data_with(algorithm, dy, weight, x.shape(), geometry)?,
            conv2d::backward_weights_with(algorithm, x, dy, weight.shape(), geometry)?,
        ])
    }

    /// `y`, `dx` and `dw` by definition.
    fn define(&self, operands: &[Tensor<f64>; 3]) -> residual_kernels::Result<[Array4<f64>; 3]> {
        let [x, weight, dy] = operands.each_ref().map(view);
        let geometry = &self.geometry;
        Ok([
            reference::conv2d::forward(x, weight, geometry)?,
            reference::conv2d::backward_data(dy, weight, self.x, geometry)?,
            reference::conv2d::backward_weights(x, dy, self.weight, geometry)?,
        ])
    }

    /// Every algorithm against the definition.
    fn compare<T: Float>(&self, y: [usize; 4], tolerance: f64) {
        let mut generator = Generator::new(self.seed);
        let operands = [self.x, self.weight, y].map(|shape| generator.normal_tensor::<T>(shape, 1.0));
        let exact = operands.each_ref().map(|operand| operand.map(Float::to_f64));
        // What is summed may cancel out; errors are those of the magnitudes that are summed.
        let sizes = exact.each_ref().map(|operand| operand.map(f64::abs));
        let [x, weight, dy] = sizes.each_ref().map(|operand| largest(&view(operand), 1.0));
        let [exact, sizes] = [&exact, &sizes].map(|operands| self.define(operands).expect("sizes that fit"));
        let scales = [(&sizes[0], x * weight), (&sizes[1], dy * weight), (&sizes[2], x * dy)];
        for algorithm in Algorithm::ALL {
            // Some are for one precision, or one kind of window.
            let Ok(results) = self.run(algorithm, &operands) else { continue };
            for (index, what) in ["y", "dx", "dw"].into_iter().enumerate() {
                let scale = largest(&scales[index].0.view(), scales[index].1);
                let error = largest_difference(&results[index], &exact[index]) / scale;
                assert!(error <= tolerance, "{algorithm:?} {what} is off by {error:.1e}: {self:?}");
            }
        }
    }
}

/// Mostly of this range; now and then absurd.
fn pair(from: &mut Unstructured<'_>, range: std::ops::RangeInclusive<usize>) -> Result<[usize; 2]> {
    let mut one = || if from.ratio(1, 50)? { from.arbitrary() } else { from.int_in_range(range.clone()) };
    Ok([one()?, one()?])
}

fn convolution(case: &Convolution) -> std::result::Result<(), String> {
    let [x, weight] = [Shape::new(case.x).map_err(say)?, Shape::new(case.weight).map_err(say)?];
    case.geometry.resolve(&x, &weight).map_err(say)?;
    let output = case.geometry.output_size([case.x[2], case.x[3]]).map_err(say)?;
    let y = [case.x[0], case.weight[0], output[0], output[1]];
    let products = y.iter().chain(&case.weight[1..]).try_fold(1, |product: usize, &n| product.checked_mul(n));
    if products.is_none_or(|products| products > MOST_PRODUCTS) || y.iter().any(|&n| n > MOST_PRODUCTS) {
        return Err("too large to compare".into());
    }
    case.compare::<f64>(y, 1e-13);
    case.compare::<f32>(y, 1e-5);
    Ok(())
}

fn pool_case(from: &mut Unstructured<'_>) -> Result<(Pool2dGeometry, [usize; 4], u64)> {
    let (kernel, stride) = (pair(from, 0..=5)?, pair(from, 0..=4)?);
    let padding = pair(from, 0..=3)?;
    let channels = *from.choose(&[1, 2, 3, 8, 15, 16, 17, 33])?;
    let size = [from.int_in_range(0..=12)?, from.int_in_range(0..=12)?];
    let (batch, seed) = (from.int_in_range(0..=3)?, from.arbitrary::<u64>()?);
    let geometry = Pool2dGeometry { kernel, stride, padding, ceil_mode: seed % 2 == 1 };
    Ok((geometry, [batch, channels, size[0], size[1]], seed))
}

fn pooling<T: Float>(
    geometry: &Pool2dGeometry,
    x_shape: [usize; 4],
    seed: u64,
    tolerance: f64,
) -> std::result::Result<(), String> {
    let shape = Shape::new(x_shape).map_err(say)?;
    let output = geometry.output_size([x_shape[2], x_shape[3]]).map_err(say)?;
    let y_shape = [x_shape[0], x_shape[1], output[0], output[1]];
    let sizes = y_shape.iter().chain(&geometry.kernel);
    let visits = sizes.clone().try_fold(1, |product: usize, &n| product.checked_mul(n));
    if visits.is_none_or(|visits| visits > MOST_PRODUCTS) || sizes.clone().any(|&n| n > MOST_PRODUCTS) {
        return Err("too large to compare".into());
    }
    let mut generator = Generator::new(seed);
    // Whole numbers, of which many are equal.
    let x: Tensor<T> = generator.normal_tensor(x_shape, 1.5).map(|x: T| T::of(x.to_f64().round()));
    let dy: Tensor<T> = generator.normal_tensor(y_shape, 1.0);
    let [exact_x, exact_dy] = [&x, &dy].map(|tensor| tensor.map(Float::to_f64));
    let (exact_x, exact_dy) = (view(&exact_x), view(&exact_dy));
    let check = |what: &str, result: &Tensor<T>, exact: Array4<f64>| {
        let error = largest_difference(result, &exact) / largest(&exact.view(), 1.0);
        assert!(error <= tolerance, "{what} is off by {error:.1e}: {geometry:?} over {x_shape:?}");
    };

    let (y, indices) = max_pool::forward(&x, geometry).map_err(say)?;
    let (exact_y, from) = reference::max_pool::forward(exact_x, geometry).map_err(say)?;
    check("the maximum", &y, exact_y);
    let dx = max_pool::backward(&dy, &indices, &shape).map_err(say)?;
    check("its gradient", &dx, reference::max_pool::backward(exact_dy, from.view(), x_shape).map_err(say)?);

    let y = avg_pool::forward(&x, geometry).map_err(say)?;
    check("the average", &y, reference::avg_pool::forward(exact_x, geometry).map_err(say)?);
    let dx = avg_pool::backward(&dy, &shape, geometry).map_err(say)?;
    check("its gradient", &dx, reference::avg_pool::backward(exact_dy, x_shape, geometry).map_err(say)?);
    Ok(())
}

fn view(tensor: &Tensor<f64>) -> ArrayView4<'_, f64> {
    tensor.view().into_dimensionality::<Ix4>().expect("four axes")
}

/// The largest value, and at least this.
fn largest(values: &ArrayView4<'_, f64>, least: f64) -> f64 {
    values.iter().copied().fold(least, f64::max)
}

/// What is no number is as far off as can be.
fn largest_difference<T: Float>(result: &Tensor<T>, exact: &Array4<f64>) -> f64 {
    assert_eq!(**result.shape(), *exact.shape());
    let pairs = result.to_vec().into_iter().zip(exact);
    let differences = pairs.map(|(result, exact)| (Float::to_f64(result) - exact).abs());
    differences.fold(0.0, |worst, one| if one.is_nan() { f64::INFINITY } else { worst.max(one) })
}
