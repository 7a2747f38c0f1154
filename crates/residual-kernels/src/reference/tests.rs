//! Each gradient of the reference against differences of its forward pass, so that what all other
//! tests compare with rests on nothing but the definitions.

use ndarray::{Array, Array1, Array2, Array4, Dimension, IntoDimension};
use residual_tensor::Generator;

use super::*;
use crate::{Conv2dGeometry, Pool2dGeometry, SgdRule};

fn random<I: IntoDimension>(seed: u64, shape: I) -> Array<f64, I::Dim> {
    let mut generator = Generator::new(seed);
    Array::from_shape_simple_fn(shape, || generator.normal())
}

fn dot<D: Dimension>(a: &Array<f64, D>, b: &Array<f64, D>) -> f64 {
    (a * b).sum()
}

/// Holds the gradient of `loss` at `x` against central differences, element by element.
#[track_caller]
fn check<D: Dimension>(x: &Array<f64, D>, dx: &Array<f64, D>, loss: impl Fn(&Array<f64, D>) -> f64) {
    const STEP: f64 = 1e-5;
    let largest = dx.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.01, "a gradient of zeros would prove nothing");
    for (index, &dx) in dx.iter().enumerate() {
        let at = |step: f64| {
            let mut moved = x.clone();
            *moved.iter_mut().nth(index).unwrap() += step;
            loss(&moved)
        };
        let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        assert!(
            (difference - dx).abs() < 1e-8 * largest,
            "element {index}: {dx}, by difference {difference}"
        );
    }
}

#[test]
fn convolution() {
    let kernel = Conv2dGeometry::new;
    for (geometry, inputs, outputs) in [
        (kernel(3, 3).padding(1), 2, 3),
        (kernel(2, 3).stride([3, 1]).padding([2, 0]).dilation([2, 1]), 2, 3),
        (kernel(3, 2).stride(2).groups(2), 4, 6),
    ] {
        let x = random(1, [2, inputs, 5, 6]);
        let weight = random(2, [outputs, inputs / geometry.groups, geometry.kernel[0], geometry.kernel[1]]);
        let forward =
            |x: &Array4<f64>, w: &Array4<f64>| conv2d::forward(x.view(), w.view(), &geometry).unwrap();
        let dy = random(3, forward(&x, &weight).dim());
        let dx = conv2d::backward_data(dy.view(), weight.view(), [2, inputs, 5, 6], &geometry).unwrap();
        check(&x, &dx, |x| dot(&forward(x, &weight), &dy));
        let weight_shape = weight.dim().into();
        let dweight = conv2d::backward_weights(x.view(), dy.view(), weight_shape, &geometry).unwrap();
        check(&weight, &dweight, |weight| dot(&forward(&x, weight), &dy));
    }
}

#[test]
fn batch_normalization() {
    let (x, dy) = (random(1, [2, 3, 2, 4]), random(2, [2, 3, 2, 4]));
    let [gamma, beta, mean] = [3, 4, 5].map(|seed| random(seed, [3]));
    let (variance, eps) = (mean.mapv(|mean| mean * mean + 0.5), 0.1);

    let train = |x: &Array4<f64>, gamma: &Array1<f64>, beta: &Array1<f64>| {
        batch_norm::forward_train(x.view(), gamma.view(), beta.view(), eps).unwrap()
    };
    let (dx, dgamma, dbeta) = batch_norm::backward_train(x.view(), dy.view(), gamma.view(), eps).unwrap();
    check(&x, &dx, |x| dot(&train(x, &gamma, &beta), &dy));
    check(&gamma, &dgamma, |gamma| dot(&train(&x, gamma, &beta), &dy));
    check(&beta, &dbeta, |beta| dot(&train(&x, &gamma, beta), &dy));

    let eval = |x: &Array4<f64>, gamma: &Array1<f64>, beta: &Array1<f64>| {
        let (mean, variance) = (mean.view(), variance.view());
        batch_norm::forward_eval(x.view(), gamma.view(), beta.view(), mean, variance, eps).unwrap()
    };
    let (dx, dgamma, dbeta) =
        batch_norm::backward_eval(x.view(), dy.view(), gamma.view(), mean.view(), variance.view(), eps)
            .unwrap();
    check(&x, &dx, |x| dot(&eval(x, &gamma, &beta), &dy));
    check(&gamma, &dgamma, |gamma| dot(&eval(&x, gamma, &beta), &dy));
    check(&beta, &dbeta, |beta| dot(&eval(&x, &gamma, beta), &dy));
}

#[test]
fn layer_normalization() {
    let (x, dy) = (random(1, [2, 5, 2, 3]), random(2, [2, 5, 2, 3]));
    let ([gamma, beta], eps) = ([3, 4].map(|seed| random(seed, [5])), 0.1);
    let forward = |x: &Array4<f64>, gamma: &Array1<f64>, beta: &Array1<f64>| {
        layer_norm::forward(x.view(), gamma.view(), beta.view(), eps).unwrap()
    };
    let (dx, dgamma, dbeta) = layer_norm::backward(x.view(), dy.view(), gamma.view(), eps).unwrap();
    check(&x, &dx, |x| dot(&forward(x, &gamma, &beta), &dy));
    check(&gamma, &dgamma, |gamma| dot(&forward(&x, gamma, &beta), &dy));
    check(&beta, &dbeta, |beta| dot(&forward(&x, &gamma, beta), &dy));
}

#[test]
fn pools_and_shortcut() {
    let x = random(1, [2, 3, 5, 6]);
    let shape = [2, 3, 5, 6];
    for geometry in [Pool2dGeometry::new(3, 2).stride([2, 1]).padding(1), Pool2dGeometry::new(2, 2)] {
        let max = |x: &Array4<f64>| max_pool::forward(x.view(), &geometry).unwrap();
        let (y, from) = max(&x);
        let dy = random(2, y.dim());
        let dx = max_pool::backward(dy.view(), from.view(), shape).unwrap();
        check(&x, &dx, |x| dot(&max(x).0, &dy));

        let dx = avg_pool::backward(dy.view(), shape, &geometry).unwrap();
        check(&x, &dx, |x| dot(&avg_pool::forward(x.view(), &geometry).unwrap(), &dy));
    }
    let dy = random(3, [2, 3]);
    let dx = global_avg_pool::backward(dy.view(), shape).unwrap();
    check(&x, &dx, |x| dot(&global_avg_pool::forward(x.view()).unwrap(), &dy));

    let dy = random(4, [2, 6, 3, 3]);
    let dx = subsample_pad::backward(dy.view(), 2, shape).unwrap();
    check(&x, &dx, |x| dot(&subsample_pad::forward(x.view(), 2, 6).unwrap(), &dy));
}

#[test]
fn matrices() {
    let (a, b, dy) = (random(1, [3, 4]), random(2, [4, 2]), random(3, [3, 2]));
    let product = |a: &Array2<f64>, b: &Array2<f64>| matmul::forward(a.view(), b.view()).unwrap();
    let (da, db) = matmul::backward(a.view(), b.view(), dy.view()).unwrap();
    check(&a, &da, |a| dot(&product(a, &b), &dy));
    check(&b, &db, |b| dot(&product(&a, b), &dy));

    let (weight, bias) = (random(4, [2, 4]), random(5, [2]));
    let layer = |x: &Array2<f64>, weight: &Array2<f64>, bias: &Array1<f64>| {
        linear::forward(x.view(), weight.view(), bias.view()).unwrap()
    };
    let (dx, dweight, dbias) = linear::backward(a.view(), weight.view(), dy.view()).unwrap();
    check(&a, &dx, |x| dot(&layer(x, &weight, &bias), &dy));
    check(&weight, &dweight, |weight| dot(&layer(&a, weight, &bias), &dy));
    check(&bias, &dbias, |bias| dot(&layer(&a, &weight, bias), &dy));
}

#[test]
fn activation_sum_and_loss() {
    let (x, dy) = (random(1, [3, 4]), random(2, [3, 4]));
    let dx = relu::backward(dy.view(), relu::forward(x.view()).view()).unwrap();
    check(&x, &dx, |x| dot(&relu::forward(x.view()), &dy));

    let dx = gelu::backward(dy.view(), x.view()).unwrap();
    check(&x, &dx, |x| dot(&gelu::forward(x.view()), &dy));

    let (da, db) = add::backward(dy.view());
    for (operand, gradient) in [(&x, da), (&dy, db)] {
        check(operand, &gradient, |a| dot(&add::forward(a.view(), x.view()).unwrap(), &dy));
    }

    let y = softmax::forward(x.view());
    let dx = softmax::backward(dy.view(), y.view()).unwrap();
    check(&x, &dx, |x| dot(&softmax::forward(x.view()), &dy));

    let labels = [3, 0, 1];
    for smoothing in [0.0, 0.2] {
        let dx = cross_entropy::backward(2.0, x.view(), &labels, smoothing).unwrap();
        check(&x, &dx, |x| 2.0 * cross_entropy::forward(x.view(), &labels, smoothing).unwrap());
    }
}

/// The velocity after two steps as a sum over all gradients so far, which the recursion hides.
#[test]
fn descent() {
    for nesterov in [false, true] {
        let rule = SgdRule { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.0, nesterov };
        let (mut parameter, mut velocity) = (random(1, [5]), Array1::zeros(5));
        let (start, [first, second]) = (parameter.clone(), [2, 3].map(|seed| random(seed, [5])));
        for gradient in [&first, &second] {
            sgd::step(parameter.view_mut(), gradient.view(), velocity.view_mut(), &rule).unwrap();
        }
        let (of_first, of_second) = if nesterov { (1.9 + 0.81, 1.9) } else { (1.0 + 0.9, 1.0) };
        let expected = start - 0.1 * (of_first * first + of_second * second);
        assert!((parameter - expected).iter().all(|error| error.abs() < 1e-15));
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let [x, y] = [[1, 2, 4, 4], [1, 2, 3, 3]].map(Array4::<f64>::zeros);
    let [two, three] = [2, 3].map(Array1::<f64>::zeros);
    let (flat, geometry) = (Array2::<f64>::zeros([2, 3]), Conv2dGeometry::new(3, 3));
    let max = max_pool::backward(y.view(), Array4::from_elem(y.dim(), [0, 4]).view(), [1, 2, 4, 4]);
    let errors = [
        (
            conv2d::backward_weights(x.view(), y.view(), [2, 2, 3, 3], &geometry).unwrap_err(),
            "conv2d backward: dy [1, 2, 3, 3] does not fit the output [1, 2, 2, 2]: both must have the same shape",
        ),
        (
            batch_norm::forward_train(x.view(), three.view(), two.view(), 0.1).unwrap_err(),
            "batch_norm: gamma [3] does not fit the channels [2]: both must have the same shape",
        ),
        (
            max.unwrap_err(),
            "max_pool backward: from [0, 4] does not fit height and width of x [4, 4]: \
             an index must lie within the image",
        ),
        (
            subsample_pad::forward(x.view(), 2, 1).unwrap_err(),
            "subsample_pad: x [2] does not fit the output [1]: channels can be added, but not taken away",
        ),
        (
            linear::forward(flat.view(), flat.view(), three.view()).unwrap_err(),
            "linear: bias [3] does not fit the outputs [2]: both must have the same shape",
        ),
        (
            cross_entropy::forward(flat.view(), &[0], 0.0).unwrap_err(),
            "cross_entropy: labels [1] does not fit rows of logits [2]: both must have the same shape",
        ),
    ];
    for (error, expected) in errors {
        assert_eq!(error.to_string(), expected);
    }
    assert!(matmul::forward(flat.view(), flat.view()).is_err());
    assert!(global_avg_pool::forward(Array4::zeros([1, 2, 0, 3]).view()).is_err());
    assert!(avg_pool::backward(y.view(), [1, 2, 4, 4], &Pool2dGeometry::new(3, 3)).is_err());
}
