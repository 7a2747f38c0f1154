//! Laws that hold for every geometry: algorithms agree, and each gradient is the adjoint of
//! its forward pass. (`reference.rs` holds the other operations against the reference.)

use proptest::prelude::*;
use residual_kernels::{conv2d::Algorithm, *};
use residual_tensor::{Float, Generator, Layout, Shape, Tensor};

/// A convolution whose window fits, with everything else left to chance.
#[derive(Debug, Clone)]
struct Convolution {
    geometry: Conv2dGeometry,
    x: Shape,
    weight: Shape,
    seed: u64,
}

fn convolution() -> impl Strategy<Value = Convolution> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let window = (pair(1..5), pair(1..4), pair(0..5), pair(1..4));
    let channels = (1usize..4, prop_oneof![1usize..6, 16usize..19], prop_oneof![1usize..6, 16usize..19]);
    (window, channels, 1usize..4, pair(0..9), any::<u64>()).prop_map(
        |((kernel, stride, padding, dilation), (groups, inputs, outputs), batch, extra, seed)| {
            let geometry = Conv2dGeometry { kernel, stride, padding, dilation, groups };
            let size = |axis: usize| {
                let reach = dilation[axis] * (kernel[axis] - 1) + 1;
                reach.saturating_sub(2 * padding[axis]).max(1) + extra[axis]
            };
            let x = Shape::new([batch, groups * inputs, size(0), size(1)]).unwrap();
            Convolution {
                geometry,
                x,
                weight: Shape::new([groups * outputs, inputs, kernel[0], kernel[1]]).unwrap(),
                seed,
            }
        },
    )
}

impl Convolution {
    fn tensors<T: Float>(&self) -> [Tensor<T>; 3] {
        let mut generator = Generator::new(self.seed);
        let y = self.geometry.resolve(&self.x, &self.weight).unwrap().y();
        [&self.x, &self.weight, &y].map(|shape| generator.normal_tensor(shape, 1.0))
    }

    /// Those that can compute this convolution. Of those that cannot it is seen that they say so.
    fn algorithms(&self) -> Vec<Algorithm> {
        let shape = self.geometry.resolve(&self.x, &self.weight).unwrap();
        let [x, weight, dy] = self.tensors::<f32>();
        let (able, unable) =
            Algorithm::ALL.into_iter().partition(|algorithm| algorithm.check(&shape).is_ok());
        let unable: Vec<Algorithm> = unable;
        for algorithm in unable {
            let said = algorithm.check(&shape).unwrap_err();
            let geometry = &self.geometry;
            assert_eq!(conv2d::forward_with(algorithm, &x, &weight, geometry).unwrap_err(), said);
            let dx = conv2d::backward_data_with(algorithm, &dy, &weight, x.shape(), geometry);
            assert_eq!(dx.unwrap_err(), said);
            let dw = conv2d::backward_weights_with(algorithm, &x, &dy, weight.shape(), geometry);
            assert_eq!(dw.unwrap_err(), said);
        }
        able
    }

    /// `y`, `dx` and `dw`
    fn run<T: Float>(&self, algorithm: Algorithm) -> [Tensor<T>; 3] {
        let [x, weight, dy] = self.tensors();
        let geometry = &self.geometry;
        [
            conv2d::forward_with(algorithm, &x, &weight, geometry).unwrap(),
            conv2d::backward_data_with(algorithm, &dy, &weight, x.shape(), geometry).unwrap(),
            conv2d::backward_weights_with(algorithm, &x, &dy, weight.shape(), geometry).unwrap(),
        ]
    }

    fn check_algorithms<T: Float>(&self, tolerance: f64) {
        let expected = self.run::<T>(Algorithm::Reference);
        for algorithm in self.algorithms() {
            for (which, (got, expected)) in self.run::<T>(algorithm).iter().zip(&expected).enumerate() {
                assert_eq!(got.layout(), Layout::ChannelsLast);
                assert_eq!(got.shape(), expected.shape());
                let largest: f64 = largest(expected);
                for (&got, &expected) in got.as_slice().iter().zip(expected.as_slice()) {
                    let difference = (got.to_f64() - expected.to_f64()).abs();
                    assert!(difference <= tolerance * largest, "{algorithm:?} {which}: {got} for {expected}");
                }
            }
        }
    }
}

fn largest<T: Float>(tensor: &Tensor<T>) -> f64 {
    tensor.as_slice().iter().fold(0.0, |largest, &value| value.to_f64().abs().max(largest))
}

/// The sum of products of equal indices.
fn dot(a: &Tensor<f64>, b: &Tensor<f64>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.to_vec().iter().zip(b.to_vec()).map(|(a, b)| a * b).sum()
}

#[track_caller]
fn assert_equal(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-11 * (1.0 + a.abs().max(b.abs())) * 100.0, "{a} is not {b}");
}

/// A random tensor of some shape, in either layout.
fn random(shape: &Shape, seed: u64) -> Tensor<f64> {
    let tensor = Generator::new(seed).normal_tensor(shape, 1.0);
    if seed.is_multiple_of(2) { tensor.to_layout(Layout::ChannelsLast) } else { tensor }
}

proptest! {
    #[test]
    fn convolutions_agree_with_the_definition(convolution in convolution()) {
        convolution.check_algorithms::<f64>(1e-14);
        convolution.check_algorithms::<f32>(4e-6);
    }

    #[test]
    fn an_accumulated_gradient_is_the_sum(convolution in convolution()) {
        let [x, weight, dy] = convolution.tensors::<f32>();
        let dx = conv2d::backward_data(&dy, &weight, x.shape(), &convolution.geometry).unwrap();
        let expected = add::forward(&x, &dx).unwrap();
        for layout in [Layout::Contiguous, Layout::ChannelsLast] {
            let mut sum = x.to_layout(layout);
            fused::conv2d::accumulate_backward_data(&dy, &weight, &mut sum, &convolution.geometry).unwrap();
            let largest = largest(&expected);
            for (got, expected) in sum.to_vec().into_iter().zip(expected.to_vec()) {
                prop_assert!(f64::from((got - expected).abs()) <= 1e-6 * largest, "{got} {expected}");
            }
        }
    }

    /// The convolution is linear in x and in the weight, so ⟨y, dy⟩ = ⟨x, dx⟩ = ⟨weight, dw⟩.
    #[test]
    fn gradients_of_a_convolution_are_adjoint(convolution in convolution()) {
        let [x, weight, dy] = convolution.tensors::<f64>();
        for algorithm in convolution.algorithms() {
            let [y, dx, dw] = convolution.run(algorithm);
            assert_equal(dot(&y, &dy), dot(&x, &dx));
            assert_equal(dot(&y, &dy), dot(&weight, &dw));
        }
    }

    #[test]
    fn gradients_of_pools_are_adjoint(
        shape in [1usize..3, 1usize..19, 4usize..12, 4usize..12],
        kernel in [1usize..5, 1usize..5],
        stride in [1usize..4, 1usize..4],
        padding in [0usize..3, 0usize..3],
        ceil_mode in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let padding = [padding[0].min(kernel[0] / 2), padding[1].min(kernel[1] / 2)];
        let geometry = Pool2dGeometry { kernel, stride, padding, ceil_mode };
        let x = random(&Shape::new(shape).unwrap(), seed);

        let (y, indices) = max_pool::forward(&x, &geometry).unwrap();
        let dy = random(y.shape(), seed ^ 1);
        // The maximum is linear as long as the winners stay the same.
        let dx = max_pool::backward(&dy, &indices, x.shape()).unwrap();
        assert_equal(dot(&y, &dy), dot(&x, &dx));

        let y = avg_pool::forward(&x, &geometry).unwrap();
        let dx = avg_pool::backward(&dy, x.shape(), &geometry).unwrap();
        assert_equal(dot(&y, &dy), dot(&x, &dx));

        let y = global_avg_pool::forward(&x).unwrap();
        let dy = Generator::new(seed).normal_tensor(y.shape(), 1.0);
        let dx = global_avg_pool::backward(&dy, x.shape()).unwrap();
        assert_equal(dot(&y, &dy), dot(&x, &dx));
    }
}

#[test]
fn nothing_in_gives_nothing_out() {
    let geometry = Conv2dGeometry::new(3, 3).padding(1);
    let (x, weight) = (Tensor::<f32>::zeros([0, 2, 4, 4]), Tensor::zeros([3, 2, 3, 3]));
    for algorithm in Algorithm::ALL {
        let y = conv2d::forward_with(algorithm, &x, &weight, &geometry).unwrap();
        assert_eq!(**y.shape(), [0, 3, 4, 4]);
        assert!(conv2d::backward_data_with(algorithm, &y, &weight, x.shape(), &geometry).unwrap().is_empty());
        let dw = conv2d::backward_weights_with(algorithm, &x, &y, weight.shape(), &geometry).unwrap();
        assert_eq!(dw, weight);
    }
    let (y, indices) = max_pool::forward(&x, &Pool2dGeometry::new(2, 2)).unwrap();
    assert!(max_pool::backward(&y, &indices, x.shape()).unwrap().is_empty());
    assert_eq!(**global_avg_pool::forward(&x).unwrap().shape(), [0, 2]);
    assert_eq!(subsample_pad::forward(&x, 2, 4).unwrap().len(), 0);
}

#[test]
fn what_does_not_fit_is_an_error_with_both_shapes() {
    let zeros = |shape: &[usize]| Tensor::<f32>::zeros(shape);
    let geometry = Conv2dGeometry::new(3, 3);
    let dy = conv2d::backward_data(
        zeros(&[1, 4, 2, 2]),
        zeros(&[4, 3, 3, 3]),
        &Shape::new([1, 3, 5, 5]).unwrap(),
        &geometry,
    );
    let messages = [
        (
            dy.unwrap_err(),
            "conv2d backward: dy [1, 4, 2, 2] does not fit the output [1, 4, 3, 3]: both must have the same shape",
        ),
        (
            add::forward(zeros(&[2, 3]), zeros(&[3, 2])).unwrap_err(),
            "add: a [2, 3] does not fit b [3, 2]: both must have the same shape",
        ),
        (
            relu::backward(zeros(&[2]), zeros(&[3])).unwrap_err(),
            "relu backward: dy [2] does not fit y [3]: both must have the same shape",
        ),
        (
            linear::forward(zeros(&[2, 3]), zeros(&[5, 4]), zeros(&[5])).unwrap_err(),
            "linear: weight [5, 4] does not fit x [2, 3]: axis 1 of the weight must be axis 1 of x",
        ),
        (
            linear::forward(zeros(&[2, 3]), zeros(&[5, 3]), zeros(&[4])).unwrap_err(),
            "linear: bias [4] does not fit weight [5, 3]: the bias must have one element for each row of the weight",
        ),
        (
            global_avg_pool::backward(zeros(&[2, 3]), &Shape::new([2, 4, 5, 5]).unwrap()).unwrap_err(),
            "global_avg_pool backward: dy [2, 3] does not fit the output [2, 4]: both must have the same shape",
        ),
        (
            subsample_pad::forward(zeros(&[1, 4, 6, 6]), 2, 3).unwrap_err(),
            "subsample_pad: x [1, 4, 6, 6] does not fit the output [1, 3, 3, 3]: channels can be added, but not taken away",
        ),
        (
            subsample_pad::forward(zeros(&[1, 4, 6, 6]), 0, 4).unwrap_err(),
            "subsample_pad: stride must be at least 1, but is [0, 0]",
        ),
        (softmax::forward(zeros(&[3])).unwrap_err(), "softmax needs 2 axes, but the shape is [3]"),
    ];
    for (error, expected) in messages {
        assert_eq!(error.to_string(), expected);
    }
}

proptest! {
    /// In double precision, for any channel count: 64 and 16 at a time, and what is left.
    #[test]
    fn fused_normalization_is_normalization_then_addition_then_relu(
        (n, c, h, w) in (2usize..4, prop_oneof![1usize..20, 60usize..150], 1usize..6, 1usize..6),
        given in any::<bool>(), add in any::<bool>(), relu in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut generator = Generator::new(seed);
        let [x, addend, dy] = [(); 3].map(|()| generator.normal_tensor::<f64>([n, c, h, w], 1.0));
        let [gamma, beta] = [(); 2].map(|()| generator.normal_tensor::<f64>([c], 1.0));

        let (normalized, statistics) = batch_norm::forward_train(&x, &gamma, &beta, 1e-5).unwrap();
        let sum = if add { add::forward(&normalized, &addend).unwrap() } else { normalized };
        let expected = if relu { relu::forward(&sum).unwrap() } else { sum };
        let given = given.then(|| statistics.clone());
        let (y, statistics) = fused::batch_norm::forward(
            &x, given, &gamma, &beta, 1e-5, add.then_some(&addend), relu,
        ).unwrap();
        check_close("y", &y, &expected);

        let dsum = if relu { relu::backward(&dy, &expected).unwrap() } else { dy.clone() };
        let (dx, dgamma, dbeta) =
            batch_norm::backward_train(&x, dsum.clone(), &gamma, &statistics, 1e-5).unwrap();
        let followed = fused::Followed::new(relu, add.then_some(&y));
        let fused = fused::Fused { x, gamma, beta, statistics, eps: 1e-5, followed };
        let gradients = fused.backward(dy.clone()).unwrap();
        check_close("dx", &gradients.x, &dx);
        check_close("dgamma", &gradients.gamma, &dgamma);
        check_close("dbeta", &gradients.beta, &dbeta);
        prop_assert_eq!(gradients.addend.is_some(), add);
        if let Some(addend) = gradients.addend {
            check_close("addend", &addend, &dsum);
        }
    }
}

fn check_close(what: &str, got: &Tensor<f64>, expected: &Tensor<f64>) {
    let scale = 1.0 + largest(expected);
    for (got, expected) in got.to_vec().into_iter().zip(expected.to_vec()) {
        assert!((got - expected).abs() < 1e-10 * scale, "{what}: {got}, expected {expected}");
    }
}
