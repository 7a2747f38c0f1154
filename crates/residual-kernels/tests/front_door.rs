//! Operations read tensors, arrays, views and slices, and the results are the same bits.

use ndarray::{Array2, Array4, s};
use residual_kernels::*;
use residual_tensor::{Generator, IntoView, Layout, Tensor, TensorView};

fn random(seed: u64, shape: [usize; 4]) -> Tensor<f32> {
    Generator::new(seed).normal_tensor(shape, 1.0).to_layout(Layout::ChannelsLast)
}

/// The value of an expression with four-dimensional `$x` in every form in which it can be given.
macro_rules! in_every_form {
    ($x:ident, $run:expr) => {{
        let tensor: &Tensor<f32> = &$x.to_layout(Layout::ChannelsLast);
        let array: Array4<f32> = tensor.to_array().into_dimensionality().unwrap();
        let [n, c, h, w]: [usize; 4] = tensor.dims("test").unwrap();
        let (nchw, nhwc) = (tensor.to_layout(Layout::Contiguous), tensor.as_slice());
        let mut sparse = Array4::<f32>::from_elem([n, 2 * c, h, 3 * w], f32::NAN);
        sparse.slice_mut(s![.., ..;2, .., ..;3]).assign(&array);
        let backwards = array.slice(s![.., .., ..;-1, ..]).to_owned();
        let mut results = Vec::new();
        { let $x = tensor; results.push($run.unwrap()); }
        { let $x = &nchw; results.push($run.unwrap()); }
        { let $x = tensor.view(); results.push($run.unwrap()); }
        { let $x = array.view(); results.push($run.unwrap()); }
        { let $x = &array; results.push($run.unwrap()); }
        { let $x = sparse.slice(s![.., ..;2, .., ..;3]); results.push($run.unwrap()); }
        { let $x = backwards.slice(s![.., .., ..;-1, ..]); results.push($run.unwrap()); }
        { let $x = TensorView::nhwc([n, h, w, c], nhwc).unwrap(); results.push($run.unwrap()); }
        { let $x = TensorView::from_slice([n, c, h, w], nchw.as_slice()).unwrap(); results.push($run.unwrap()); }
        results
    }};
}

#[track_caller]
fn assert_same<R: PartialEq + std::fmt::Debug>(results: Vec<R>) {
    for result in &results {
        assert_eq!(result, &results[0]);
    }
}

#[test]
fn convolutions_read_everything() {
    let geometry = Conv2dGeometry::new(3, 3).padding(1).stride(2);
    let (x, weight) = (random(1, [2, 5, 9, 8]), random(2, [6, 5, 3, 3]));
    let (x_shape, weight_shape) = (x.shape().clone(), weight.shape().clone());
    let dy = random(3, [2, 6, 5, 4]);
    assert_same(in_every_form!(x, conv2d(x, &weight, &geometry)));
    assert_same(in_every_form!(weight, conv2d(&x, weight, &geometry)));
    assert_same(in_every_form!(dy, conv2d::backward_data(dy, &weight, &x_shape, &geometry)));
    assert_same(in_every_form!(weight, conv2d::backward_data(&dy, weight, &x_shape, &geometry)));
    assert_same(in_every_form!(x, conv2d::backward_weights(x, &dy, &weight_shape, &geometry)));
    assert_same(in_every_form!(dy, conv2d::backward_weights(&x, dy, &weight_shape, &geometry)));
}

#[test]
fn convolutions_write_where_they_are_told_to() {
    let three = Conv2dGeometry::new(3, 3).padding(1);
    let cases = [
        (three, [2, 5, 9, 8], [6, 5, 3, 3]),
        (three.stride(2), [2, 5, 9, 8], [6, 5, 3, 3]),
        (three.groups(3), [1, 6, 5, 7], [9, 2, 3, 3]),
        (three, [0, 5, 9, 8], [6, 5, 3, 3]),
        (three, [2, 0, 9, 8], [6, 0, 3, 3]),
    ];
    for (geometry, x, weight) in cases {
        let (x, weight) = (random(1, x), random(2, weight));
        let shape = geometry.resolve(x.shape(), weight.shape()).unwrap();
        let dy = random(3, shape.y().dims("test").unwrap());
        let nan = |like: &Tensor<f32>| vec![f32::NAN; like.len()];

        let mut y = nan(&dy);
        conv2d::forward_into(x.as_slice(), weight.as_slice(), &mut y, &shape).unwrap();
        assert_eq!(y, conv2d(&x, &weight, &geometry).unwrap().as_slice());
        let mut dx = nan(&x);
        conv2d::backward_data_into(dy.as_slice(), weight.as_slice(), &mut dx, &shape).unwrap();
        assert_eq!(dx, conv2d::backward_data(&dy, &weight, x.shape(), &geometry).unwrap().as_slice());
        let mut dw = nan(&weight);
        conv2d::backward_weights_into(x.as_slice(), dy.as_slice(), &mut dw, &shape).unwrap();
        assert_eq!(dw, conv2d::backward_weights(&x, &dy, weight.shape(), &geometry).unwrap().as_slice());

        let (x, weight, dy, more) = (x.as_slice(), weight.as_slice(), dy.as_slice(), [0.0; 1000]);
        for error in [
            conv2d::forward_into(&more, weight, &mut y, &shape),
            conv2d::forward_into(x, &more, &mut y, &shape),
            conv2d::forward_into(x, weight, &mut more.clone(), &shape),
            conv2d::backward_data_into(&more, weight, &mut dx, &shape),
            conv2d::backward_data_into(dy, &more, &mut dx, &shape),
            conv2d::backward_data_into(dy, weight, &mut more.clone(), &shape),
            conv2d::backward_weights_into(&more, dy, &mut dw, &shape),
            conv2d::backward_weights_into(x, &more, &mut dw, &shape),
            conv2d::backward_weights_into(x, dy, &mut more.clone(), &shape),
        ] {
            assert!(error.unwrap_err().to_string().contains("elements, but 1000"), "{shape:?}");
        }
    }
}

#[test]
fn the_other_operations_read_everything() {
    let (x, other) = (random(1, [2, 5, 6, 8]), random(2, [2, 5, 6, 8]));
    let x_shape = x.shape().clone();
    assert_same(in_every_form!(x, relu(x)));
    assert_same(in_every_form!(x, relu::backward(x, &other)));
    assert_same(in_every_form!(x, relu::backward(&other, x)));
    assert_same(in_every_form!(x, add(x, &other)));
    assert_same(in_every_form!(x, add(&other, x)));
    assert_same(in_every_form!(x, subsample_pad(x, 2, 9)));
    let dy = random(3, [2, 9, 3, 4]);
    assert_same(in_every_form!(dy, subsample_pad::backward(dy, 2, &x_shape)));

    let geometry = Pool2dGeometry::new(3, 2).stride(2).padding(1);
    let (y, indices) = max_pool(&x, &geometry).unwrap();
    assert_same(in_every_form!(x, max_pool(x, &geometry).map(|(y, _)| y)));
    assert_same(in_every_form!(y, max_pool::backward(y, &indices, &x_shape)));
    assert_same(in_every_form!(x, avg_pool(x, &geometry)));
    assert_same(in_every_form!(y, avg_pool::backward(y, &x_shape, &geometry)));
    assert_same(in_every_form!(x, global_avg_pool(x)));

    let [gamma, beta, mean] = [4, 5, 6].map(|seed| random(seed, [1, 5, 1, 1]).reshape([5]).unwrap());
    let variance = mean.map(|mean| mean * mean + 0.5);
    let (_, statistics) = batch_norm::forward_train(&x, &gamma, &beta, 1e-5).unwrap();
    assert_same(in_every_form!(x, batch_norm::forward_train(x, &gamma, &beta, 1e-5)));
    assert_same(in_every_form!(x, batch_norm::backward_train(x, &other, &gamma, &statistics, 1e-5)));
    assert_same(in_every_form!(x, batch_norm::backward_train(&other, x, &gamma, &statistics, 1e-5)));
    assert_same(in_every_form!(x, batch_norm::forward_eval(x, &gamma, &beta, &mean, &variance, 1e-5)));
    assert_same(in_every_form!(x, batch_norm::backward_eval(x, &other, &gamma, &mean, &variance, 1e-5)));
    assert_same(in_every_form!(x, batch_norm::backward_eval(&other, x, &gamma, &mean, &variance, 1e-5)));
}

#[test]
fn arithmetic_reads_everything() {
    // Whole numbers: sums follow the order of memory, and others would round differently in another.
    let [x, other] = [1, 2].map(|seed| random(seed, [2, 5, 6, 8]).map(|x| (4.0 * x).round() + 0.5));
    let (shape, channel) = (x.shape().clone(), random(3, [1, 5, 1, 1]).map(f32::ceil));
    assert_same(in_every_form!(x, elementwise::add(x, &channel)));
    assert_same(in_every_form!(x, elementwise::sub(&channel, x)));
    assert_same(in_every_form!(x, elementwise::mul(x, &other)));
    assert_same(in_every_form!(x, elementwise::div(&other, x)));
    assert_same(in_every_form!(x, elementwise::add_backward(x, channel.shape())));
    assert_same(in_every_form!(x, elementwise::sub_backward_b(x, &shape)));
    assert_same(in_every_form!(x, elementwise::mul_backward(x, &other, channel.shape())));
    assert_same(in_every_form!(x, elementwise::div_backward_a(&other, x, &shape)));
    assert_same(in_every_form!(x, elementwise::div_backward_b(&other, x, &other)));
    assert_same(in_every_form!(x, elementwise::add_scalar(x, 2.0)));
    assert_same(in_every_form!(x, elementwise::mul_scalar(x, 2.0)));
    assert_same(in_every_form!(x, elementwise::neg(x)));
    let exp = elementwise::exp(&x).unwrap();
    assert_same(in_every_form!(x, elementwise::exp(x)));
    assert_same(in_every_form!(exp, elementwise::log(exp)));
    assert_same(in_every_form!(exp, elementwise::sqrt(exp)));
    assert_same(in_every_form!(exp, elementwise::powf(exp, 1.5)));
    assert_same(in_every_form!(x, elementwise::sigmoid(x)));
    assert_same(in_every_form!(x, elementwise::tanh(x)));
    assert_same(in_every_form!(x, elementwise::exp_backward(x, &exp)));
    assert_same(in_every_form!(exp, elementwise::log_backward(&x, exp)));
    assert_same(in_every_form!(x, elementwise::sqrt_backward(x, &exp)));
    assert_same(in_every_form!(exp, elementwise::powf_backward(&x, exp, 1.5)));
    assert_same(in_every_form!(x, elementwise::sigmoid_backward(x, &other)));
    assert_same(in_every_form!(x, elementwise::tanh_backward(&other, x)));
}

#[test]
fn reductions_and_products_read_everything() {
    let (x, other) = (random(1, [2, 5, 6, 8]), random(2, [2, 5, 6, 8]));
    let shape = x.shape().clone();
    // Whole numbers, as above.
    let x = x.map(f32::round);
    assert_same(in_every_form!(x, reduce::sum(x, [0, 2])));
    assert_same(in_every_form!(x, reduce::mean(x, ..)));
    assert_same(in_every_form!(x, reduce::max(x, 1)));
    assert_same(in_every_form!(x, reduce::sum(x, Axes::from(vec![]))));
    let axes = || Axes::from(1).kept();
    let reduction = reduce::Reduction::new("test", &shape, axes()).unwrap();
    let y = reduce::max(&x, axes()).unwrap();
    let dy = random(3, [2, 1, 6, 8]);
    let back = |dy| reduce::sum_backward(dy, &reduction, &shape, Layout::ChannelsLast);
    assert_eq!(back(&dy).unwrap(), elementwise::add(&dy, Tensor::zeros(&shape)).unwrap());
    assert_same(in_every_form!(dy, reduce::sum_backward(dy, &reduction, &shape, Layout::ChannelsLast)));
    assert_same(in_every_form!(dy, reduce::mean_backward(dy, &reduction, &shape, Layout::ChannelsLast)));
    assert_same(in_every_form!(dy, reduce::max_backward(dy, &x, &y, &reduction)));
    assert_same(in_every_form!(x, reduce::max_backward(&dy, x, &y, &reduction)));
    assert_same(in_every_form!(y, reduce::max_backward(&dy, &x, y, &reduction)));
    assert_same(in_every_form!(x, broadcast::reduce_to(x, &[5, 1, 1])));
    assert_same(in_every_form!(dy, broadcast::expand(dy, &shape, Layout::ChannelsLast)));

    let matrix = random(4, [1, 1, 8, 3]);
    let product = matmul(&x, &matrix).unwrap();
    assert_same(in_every_form!(x, matmul(x, &matrix)));
    assert_same(in_every_form!(matrix, matmul(&x, matrix)));
    assert_same(in_every_form!(product, matmul::backward_a(product, &matrix, &shape)));
    assert_same(in_every_form!(matrix, matmul::backward_a(&product, matrix, &shape)));
    assert_same(in_every_form!(x, matmul::backward_b(x, &product, &[8, 3])));
    assert_same(in_every_form!(product, matmul::backward_b(&x, product, matrix.shape())));

    assert_same(in_every_form!(x, concatenate([x.into_view().unwrap(), (&other).into()], 1)));
    assert_same(in_every_form!(x, concatenate::slice_backward(x, 2, 1, &[2, 5, 9, 8])));
}

#[test]
fn matrices_of_any_strides_are_multiplied() {
    let mut generator = Generator::new(1);
    let mut random =
        |rows, columns| Array2::from_shape_simple_fn([rows, columns], || generator.normal() as f32);
    let (a, b) = (random(4, 6), random(6, 3));
    let [a_f, b_f] = [&a, &b].map(|matrix| matrix.t().as_standard_layout().into_owned());
    let y = matmul(&a, &b).unwrap();
    assert_eq!(y, matmul(a_f.t(), b_f.t()).unwrap());
    for (got, expected) in y.to_vec().into_iter().zip(a.dot(&b)) {
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
    assert_eq!(matmul::backward_a(&y, &b, a.shape()), matmul::backward_a(y.view(), b_f.t(), a.shape()));
    assert_eq!(matmul::backward_b(&a, &y, b.shape()), matmul::backward_b(a_f.t(), y.view(), b.shape()));
    assert_eq!(elementwise::mul(&a, a_f.t()), elementwise::mul(&a, &a));
    assert_eq!(concatenate([a.view(), a_f.t()], 0), concatenate([&a, &a], 0));
}

#[test]
fn what_is_handed_over_and_fits_comes_back_without_a_copy() {
    let x = random(1, [2, 5, 6, 8]);
    assert!(elementwise::add_backward(x.clone(), x.shape()).unwrap().shares_memory_with(&x));
    let expanded = broadcast::expand(x.clone(), x.shape(), Layout::ChannelsLast).unwrap();
    assert!(expanded.shares_memory_with(&x));
    assert!(!elementwise::add_backward(&x, x.shape()).unwrap().shares_memory_with(&x));
}

#[test]
fn classifiers_read_matrices_of_any_strides() {
    let mut generator = Generator::new(1);
    let mut random =
        |rows, columns| Array2::from_shape_simple_fn([rows, columns], || generator.normal() as f32);
    let (x, weight, dy) = (random(4, 6), random(3, 6), random(4, 3));
    let bias = dy.row(0).to_owned();
    // Fortran's order: the same matrices, column by column.
    let [x_f, weight_f, dy_f] = [&x, &weight, &dy].map(|matrix| matrix.t().as_standard_layout().into_owned());

    let y = linear(&x, &weight, &bias).unwrap();
    assert_eq!(y, linear(x_f.t(), weight_f.t(), bias.view()).unwrap());
    assert_eq!(
        linear::backward_data(&dy, &weight).unwrap(),
        linear::backward_data(dy_f.t(), weight_f.t()).unwrap()
    );
    assert_eq!(
        linear::backward_weights(&x, &dy).unwrap(),
        linear::backward_weights(x_f.t(), dy_f.t()).unwrap()
    );
    assert_eq!(linear::backward_bias(&dy).unwrap(), linear::backward_bias(dy_f.t()).unwrap());
    assert_eq!(softmax(&dy).unwrap(), softmax(dy_f.t()).unwrap());
    let labels = [0, 2, 1, 1];
    assert_eq!(cross_entropy(&dy, &labels, 0.1).unwrap(), cross_entropy(dy_f.t(), &labels, 0.1).unwrap());
    let (_, probabilities) = cross_entropy(&dy, &labels, 0.1).unwrap();
    assert_eq!(
        cross_entropy::backward(1.0, &probabilities, &labels, 0.1).unwrap(),
        cross_entropy::backward(1.0, probabilities.view(), &labels, 0.1).unwrap()
    );
}
