//! Every operation against the reference, in both precisions and both layouts, for random shapes.
//! (Convolutions are in `laws.rs`, algorithm by algorithm.)

use ndarray::{Array, ArrayView, Dimension, Ix1, Ix2, Ix4};
use proptest::prelude::*;
use residual_kernels::{BatchStatistics, Pool2dGeometry, SgdRule, reference};
use residual_kernels::{
    add, avg_pool, batch_norm, blur_pool, cross_entropy, elementwise, global_avg_pool, layer_norm, linear,
    max_pool, relu, sgd, softmax, subsample_pad,
};
use residual_tensor::{Float, Generator, Layout, Tensor};

/// A random tensor; those with four axes are channels-last if the seed is even.
fn random<T: Float>(seed: u64, shape: &[usize]) -> Tensor<T> {
    let tensor = Generator::new(seed).normal_tensor(shape, 1.0);
    if shape.len() == 4 && seed.is_multiple_of(2) { tensor.to_layout(Layout::ChannelsLast) } else { tensor }
}

/// What the reference reads: the tensor's numbers in double precision.
fn array<T: Float, D: Dimension>(tensor: &Tensor<T>) -> Array<f64, D> {
    tensor.view().mapv(Float::to_f64).into_dimensionality().unwrap()
}

/// The largest difference may be this share of the largest value.
fn tolerance<T: Float>() -> f64 {
    if T::NAME == "f32" { 1e-5 } else { 1e-13 }
}

/// The largest magnitude in an array, or 1, which is that of the numbers that it is made of.
fn largest<D: Dimension>(array: ArrayView<'_, f64, D>) -> f64 {
    array.iter().fold(1.0, |largest, value| largest.max(value.abs()))
}

#[track_caller]
fn check<T: Float, D: Dimension>(what: &str, got: &Tensor<T>, expected: ArrayView<'_, f64, D>) {
    check_against(largest(expected.view()), what, got, expected);
}

/// [`check`], with `largest` for the largest value.
#[track_caller]
fn check_against<T: Float, D: Dimension>(
    largest: f64,
    what: &str,
    got: &Tensor<T>,
    expected: ArrayView<'_, f64, D>,
) {
    assert_eq!(&**got.shape(), expected.shape(), "{what}");
    for (&got, &expected) in got.view().iter().zip(&expected) {
        // Written so that NaN fails.
        let close = (got.to_f64() - expected).abs() <= tolerance::<T>() * largest;
        assert!(close, "{what}: {got}, the reference has {expected}");
    }
}

fn batch_normalization<T: Float>(shape: [usize; 4], seed: u64) {
    let eps = 1e-3;
    let (x, dy) = (random::<T>(seed, &shape), random::<T>(seed ^ 1, &shape));
    let [gamma, beta, mean] = [2, 4, 6].map(|other| random::<T>(seed ^ other, &shape[1..2]));
    let variance = mean.map(|mean| mean * mean + T::of(0.5));
    let (x64, dy64) = (array::<T, Ix4>(&x), array::<T, Ix4>(&dy));
    let [gamma64, beta64, mean64, variance64] = [&gamma, &beta, &mean, &variance].map(array::<T, Ix1>);

    let (y, statistics) = batch_norm::forward_train(&x, &gamma, &beta, eps).unwrap();
    let expected = reference::batch_norm::forward_train(x64.view(), gamma64.view(), beta64.view(), eps);
    check("forward_train", &y, expected.unwrap().view());
    let (mean_of_x, variance_of_x) = reference::batch_norm::moments(x64.view()).unwrap();
    check("mean", &statistics.mean.map(T::of), mean_of_x.view());
    check("variance", &statistics.variance.map(T::of), variance_of_x.view());

    let (dx, dgamma, dbeta) = batch_norm::backward_train(&x, dy.clone(), &gamma, &statistics, eps).unwrap();
    let expected = reference::batch_norm::backward_train(x64.view(), dy64.view(), gamma64.view(), eps);
    let (dx64, dgamma64, dbeta64) = expected.unwrap();
    // The mean and the variance take away most of few values' gradient, but not of its rounding.
    let (before, ..) = reference::batch_norm::backward_eval(
        x64.view(),
        dy64.view(),
        gamma64.view(),
        mean_of_x.view(),
        variance_of_x.view(),
        eps,
    )
    .unwrap();
    check_against(largest(before.view()), "backward_train x", &dx, dx64.view());
    check("backward_train gamma", &dgamma, dgamma64.view());
    check("backward_train beta", &dbeta, dbeta64.view());

    let y = batch_norm::forward_eval(&x, &gamma, &beta, &mean, &variance, eps).unwrap();
    let (means, variances) = (mean64.view(), variance64.view());
    let expected =
        reference::batch_norm::forward_eval(x64.view(), gamma64.view(), beta64.view(), means, variances, eps);
    check("forward_eval", &y, expected.unwrap().view());
    let (dx, dgamma, dbeta) = batch_norm::backward_eval(&x, &dy, &gamma, &mean, &variance, eps).unwrap();
    let expected =
        reference::batch_norm::backward_eval(x64.view(), dy64.view(), gamma64.view(), means, variances, eps);
    let (dx64, dgamma64, dbeta64) = expected.unwrap();
    check("backward_eval x", &dx, dx64.view());
    check("backward_eval gamma", &dgamma, dgamma64.view());
    check("backward_eval beta", &dbeta, dbeta64.view());

    let (mut mean, mut variance, mut mean64, mut variance64) =
        (mean.clone(), variance.clone(), mean64.clone(), variance64.clone());
    let BatchStatistics { count, .. } = statistics;
    batch_norm::update_running(&mut mean, &mut variance, &statistics, 0.1).unwrap();
    let (of_batch, running) =
        ((mean_of_x.view(), variance_of_x.view()), (mean64.view_mut(), variance64.view_mut()));
    reference::batch_norm::update_running(running.0, running.1, of_batch.0, of_batch.1, count, 0.1).unwrap();
    check("running_mean", &mean, mean64.view());
    check("running_var", &variance, variance64.view());
}

fn layer_normalization<T: Float>(shape: [usize; 4], seed: u64) {
    let eps = 1e-2; // of two channels that are nearly equal, rounding is all there is
    let (x, dy) = (random::<T>(seed, &shape), random::<T>(seed ^ 1, &shape));
    let [gamma, beta] = [2, 4].map(|other| random::<T>(seed ^ other, &shape[1..2]));
    let (x64, dy64) = (array::<T, Ix4>(&x), array::<T, Ix4>(&dy));
    let [gamma64, beta64] = [&gamma, &beta].map(array::<T, Ix1>);
    let y64 = reference::layer_norm::forward(x64.view(), gamma64.view(), beta64.view(), eps).unwrap();
    check("layer_norm", &layer_norm::forward(&x, &gamma, &beta, eps).unwrap(), y64.view());
    let (dx, dgamma, dbeta) = layer_norm::backward(&x, &dy, &gamma, eps).unwrap();
    let expected = reference::layer_norm::backward(x64.view(), dy64.view(), gamma64.view(), eps).unwrap();
    // A row of one channel has no gradient, but that of its rounding.
    let before = dy64.mapv(|dy| dy / eps.sqrt());
    check_against(largest(before.view()), "layer_norm x", &dx, expected.0.view());
    check_against(largest(before.view()), "layer_norm gamma", &dgamma, expected.1.view());
    check("layer_norm beta", &dbeta, expected.2.view());

    // A matrix is a picture of one pixel.
    let [rows, channels] = [shape[0] * shape[2] * shape[3], shape[1]];
    let flat = x.permute(&[0, 2, 3, 1]).unwrap().reshape([rows, channels]).unwrap();
    let y64 = y64.permuted_axes([0, 2, 3, 1]);
    let y = layer_norm::forward(&flat, &gamma, &beta, eps).unwrap();
    check("layer_norm of rows", &y.reshape(y64.shape()).unwrap(), y64.view());
}

fn pools<T: Float>(shape: [usize; 4], geometry: &Pool2dGeometry, seed: u64) {
    let x = random::<T>(seed, &shape);
    // Rounded, so that many values are equal; and some are not numbers.
    let x = x.map(|x| if x > T::of(2.5) { T::nan() } else { x.round() });
    let x64 = array::<T, Ix4>(&x);
    let (y, indices) = max_pool::forward(&x, geometry).unwrap();
    let (y64, from) = reference::max_pool::forward(x64.view(), geometry).unwrap();
    for (&got, &expected) in y.view().iter().zip(&y64) {
        assert!(got.to_f64() == expected || got.is_nan() && expected.is_nan(), "max: {got}, {expected}");
    }
    let dy = random::<T>(seed ^ 1, y.shape());
    let dy64 = array::<T, Ix4>(&dy);
    let dx = max_pool::backward(&dy, &indices, x.shape()).unwrap();
    check(
        "max backward",
        &dx,
        reference::max_pool::backward(dy64.view(), from.view(), shape).unwrap().view(),
    );

    let x = random::<T>(seed, &shape);
    let x64 = array::<T, Ix4>(&x);
    let y = avg_pool::forward(&x, geometry).unwrap();
    check("average", &y, reference::avg_pool::forward(x64.view(), geometry).unwrap().view());
    let dx = avg_pool::backward(&dy, x.shape(), geometry).unwrap();
    let expected = reference::avg_pool::backward(dy64.view(), shape, geometry).unwrap();
    check("average backward", &dx, expected.view());

    let y = global_avg_pool::forward(&x).unwrap();
    check("global average", &y, reference::global_avg_pool::forward(x64.view()).unwrap().view());
    let dy = random::<T>(seed ^ 2, y.shape());
    let dx = global_avg_pool::backward(&dy, x.shape()).unwrap();
    let expected = reference::global_avg_pool::backward(array::<T, Ix2>(&dy).view(), shape).unwrap();
    check("global average backward", &dx, expected.view());
}

fn blurs<T: Float>(shape: [usize; 4], stride: usize, seed: u64) {
    let x = random::<T>(seed, &shape);
    let y = blur_pool::forward(&x, stride).unwrap();
    let expected = reference::blur_pool::forward(array::<T, Ix4>(&x).view(), stride).unwrap();
    check("blur", &y, expected.view());
    let dy = random::<T>(seed ^ 1, y.shape());
    let dx = blur_pool::backward(&dy, stride, x.shape()).unwrap();
    let expected = reference::blur_pool::backward(array::<T, Ix4>(&dy).view(), stride, shape).unwrap();
    check("blur backward", &dx, expected.view());
}

fn element_wise<T: Float>(shape: [usize; 4], stride: usize, extra: usize, seed: u64) {
    let (a, b) = (random::<T>(seed, &shape), random::<T>(seed ^ 1, &shape));
    let (a64, b64) = (array::<T, Ix4>(&a), array::<T, Ix4>(&b));
    let sum = reference::add::forward(a64.view(), b64.view()).unwrap();
    check("add", &add::forward(&a, &b).unwrap(), sum.view());
    let mut accumulated = a.clone();
    add::accumulate(&mut accumulated, &b).unwrap();
    check("accumulate", &accumulated, sum.view());

    let (y, y64) = (relu::forward(&a).unwrap(), reference::relu::forward(a64.view()));
    check("relu", &y, y64.view());
    let expected = reference::relu::backward(b64.view(), y64.view()).unwrap();
    check("relu backward", &relu::backward(&b, &y).unwrap(), expected.view());

    check("gelu", &elementwise::gelu(&a).unwrap(), reference::gelu::forward(a64.view()).view());
    let expected = reference::gelu::backward(b64.view(), a64.view()).unwrap();
    check("gelu backward", &elementwise::gelu_backward(&b, &a).unwrap(), expected.view());

    let channels = shape[1] + extra;
    let y = subsample_pad::forward(&a, stride, channels).unwrap();
    let y64 = reference::subsample_pad::forward(a64.view(), stride, channels).unwrap();
    check("shortcut", &y, y64.view());
    let dx = subsample_pad::backward(&y, stride, a.shape()).unwrap();
    check(
        "shortcut backward",
        &dx,
        reference::subsample_pad::backward(y64.view(), stride, shape).unwrap().view(),
    );

    for nesterov in [false, true] {
        let rule = SgdRule { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov };
        let (mut parameter, mut velocity) = (a.clone(), b.clone());
        sgd::step(&mut parameter, &b, Some(&mut velocity), &rule).unwrap();
        let (mut parameter64, mut velocity64) = (a64.clone(), b64.clone());
        reference::sgd::step(parameter64.view_mut(), b64.view(), velocity64.view_mut(), &rule).unwrap();
        check("sgd parameter", &parameter, parameter64.view());
        check("sgd velocity", &velocity, velocity64.view());
    }
}

fn classifier<T: Float>([batch, inputs, classes]: [usize; 3], smoothing: f64, seed: u64) {
    let (x, weight) = (random::<T>(seed, &[batch, inputs]), random::<T>(seed ^ 1, &[classes, inputs]));
    let (bias, dy) = (random::<T>(seed ^ 2, &[classes]), random::<T>(seed ^ 3, &[batch, classes]));
    let [x64, weight64, dy64] = [&x, &weight, &dy].map(array::<T, Ix2>);
    let bias64 = array::<T, Ix1>(&bias);
    let expected = reference::linear::forward(x64.view(), weight64.view(), bias64.view()).unwrap();
    check("linear", &linear::forward(&x, &weight, &bias).unwrap(), expected.view());
    let (dx, dweight, dbias) = reference::linear::backward(x64.view(), weight64.view(), dy64.view()).unwrap();
    check("linear backward_data", &linear::backward_data(&dy, &weight).unwrap(), dx.view());
    check("linear backward_weights", &linear::backward_weights(&x, &dy).unwrap(), dweight.view());
    check("linear backward_bias", &linear::backward_bias(&dy).unwrap(), dbias.view());

    let y = softmax::forward(&dy).unwrap();
    check("softmax", &y, reference::softmax::forward(dy64.view()).view());

    let labels: Vec<usize> = (0..batch).map(|n| (n * 7 + seed as usize % classes) % classes).collect();
    let (loss, probabilities) = cross_entropy::forward(&dy, &labels, smoothing).unwrap();
    let expected = reference::cross_entropy::forward(dy64.view(), &labels, smoothing).unwrap();
    assert!((loss.to_f64() - expected).abs() <= tolerance::<T>() * expected, "{loss} {expected}");
    let dlogits = cross_entropy::backward(T::of(2.0), &probabilities, &labels, smoothing).unwrap();
    let expected = reference::cross_entropy::backward(2.0, dy64.view(), &labels, smoothing).unwrap();
    check("cross_entropy backward", &dlogits, expected.view());
}

/// Channels around the widths of vectors, and images of at least two pixels.
fn images() -> impl Strategy<Value = [usize; 4]> {
    let channels = prop_oneof![1usize..6, 15usize..18, 63usize..67];
    (1usize..4, channels, 1usize..9, 2usize..9).prop_map(|(n, c, h, w)| [n, c, h, w])
}

proptest! {
    #[test]
    fn batch_normalization_is_that_of_the_reference(shape in images(), seed in any::<u64>()) {
        batch_normalization::<f64>(shape, seed);
        batch_normalization::<f32>(shape, seed);
    }

    #[test]
    fn layer_normalization_is_that_of_the_reference(shape in images(), seed in any::<u64>()) {
        layer_normalization::<f64>(shape, seed);
        layer_normalization::<f32>(shape, seed);
    }

    #[test]
    fn pools_are_those_of_the_reference(
        shape in images(),
        kernel in [1usize..4, 1usize..4],
        stride in [1usize..4, 1usize..4],
        padding in [0usize..3, 0usize..3],
        ceil_mode in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let padding = [padding[0].min(kernel[0] / 2), padding[1].min(kernel[1] / 2)];
        let geometry = Pool2dGeometry { kernel, stride, padding, ceil_mode };
        prop_assume!(geometry.output_size([shape[2], shape[3]]).is_ok());
        pools::<f64>(shape, &geometry, seed);
        pools::<f32>(shape, &geometry, seed);
    }

    #[test]
    fn blurs_are_those_of_the_reference(
        shape in images(), is_one_column in any::<bool>(), stride in 1usize..4, seed in any::<u64>(),
    ) {
        // Mirroring an axis of one pixel is a case of its own.
        let [n, c, h, w] = shape;
        let shape = [n, c, h, if is_one_column { 1 } else { w }];
        blurs::<f64>(shape, stride, seed);
        blurs::<f32>(shape, stride, seed);
    }

    #[test]
    fn element_wise_operations_are_those_of_the_reference(
        shape in images(), stride in 1usize..4, extra in 0usize..7, seed in any::<u64>(),
    ) {
        element_wise::<f64>(shape, stride, extra, seed);
        element_wise::<f32>(shape, stride, extra, seed);
    }

    #[test]
    fn classifiers_are_those_of_the_reference(
        sizes in [1usize..70, 0usize..40, 1usize..40], smoothing in 0.0..1.0, seed in any::<u64>(),
    ) {
        classifier::<f64>(sizes, smoothing, seed);
        classifier::<f32>(sizes, smoothing, seed);
    }
}
