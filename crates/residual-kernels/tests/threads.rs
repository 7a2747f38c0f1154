//! The same bits for any number of threads, for every kernel that divides its work.

use residual_kernels::{conv2d::Algorithm, *};
use residual_tensor::{Generator, Layout, Shape, Tensor};

/// Runs a computation on 1, 2 and 3 threads and compares all tensors bit by bit.
fn check(what: &str, compute: impl Fn() -> Vec<Tensor<f32>> + Sync) {
    let bits = |threads: usize| -> Vec<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let tensors = pool.install(&compute);
        tensors.iter().map(|tensor| tensor.as_slice().iter().map(|x| x.to_bits()).collect()).collect()
    };
    let expected = bits(1);
    for threads in [2, 3] {
        assert!(bits(threads) == expected, "{what} on {threads} threads differs from one");
    }
}

fn random(seed: u64, shape: &[usize]) -> Tensor<f32> {
    let tensor = Generator::new(seed).normal_tensor(shape, 1.0);
    if shape.len() == 4 { tensor.to_layout(Layout::ChannelsLast) } else { tensor }
}

#[test]
fn convolutions() {
    let geometries = [
        (Conv2dGeometry::new(3, 3).padding(1), [8, 16, 24, 24], [16, 16, 3, 3]),
        (Conv2dGeometry::new(3, 3).padding(1).stride(2), [9, 8, 23, 21], [12, 8, 3, 3]),
        (Conv2dGeometry::new(3, 3).padding(1), [5, 96, 14, 14], [80, 96, 3, 3]),
        (Conv2dGeometry::new(3, 3).padding(1), [1, 40, 23, 23], [40, 40, 3, 3]),
        (Conv2dGeometry::new(1, 1), [5, 20, 30, 30], [7, 20, 1, 1]),
        (Conv2dGeometry::new(3, 3).padding(1).groups(4), [4, 8, 40, 40], [8, 2, 3, 3]),
        (Conv2dGeometry::new(3, 3).padding(1).groups(96), [1, 96, 9, 9], [96, 1, 3, 3]),
    ];
    for (geometry, x, weight) in geometries {
        let shape = geometry.resolve(&Shape::new(x).unwrap(), &Shape::new(weight).unwrap()).unwrap();
        let (x, weight, dy) = (random(1, &x), random(2, &weight), random(3, &shape.y()));
        let fast =
            |algorithm: &Algorithm| *algorithm != Algorithm::Reference && algorithm.check(&shape).is_ok();
        for algorithm in Algorithm::ALL.into_iter().filter(fast) {
            check(&format!("{algorithm:?} {geometry:?}"), || {
                vec![
                    conv2d::forward_with(algorithm, &x, &weight, &geometry).unwrap(),
                    conv2d::backward_data_with(algorithm, &dy, &weight, x.shape(), &geometry).unwrap(),
                    conv2d::backward_weights_with(algorithm, &x, &dy, weight.shape(), &geometry).unwrap(),
                ]
            });
        }
        check(&format!("statistics of {geometry:?}"), || {
            let (y, statistics) = fused::conv2d::forward_with_statistics(&x, &weight, &geometry).unwrap();
            vec![y, statistics.mean.map(|x| x as f32), statistics.variance.map(|x| x as f32)]
        });
    }
}

#[test]
fn batch_normalization() {
    for shape in [[16, 16, 40, 40], [8, 37, 30, 30], [64, 512, 4, 4]] {
        let (x, dy) = (random(1, &shape), random(2, &shape));
        let [gamma, beta, mean] = [3, 4, 5].map(|seed| random(seed, &shape[1..2]));
        let variance = mean.map(|mean| mean * mean + 0.5);
        check(&format!("batch_norm {shape:?}"), || {
            let (y, statistics) = batch_norm::forward_train(&x, &gamma, &beta, 1e-5).unwrap();
            let train = batch_norm::backward_train(&x, dy.clone(), &gamma, &statistics, 1e-5).unwrap();
            let (mut new_mean, mut new_variance) = (mean.clone(), variance.clone());
            batch_norm::update_running(&mut new_mean, &mut new_variance, &statistics, 0.1).unwrap();
            let evaluated = batch_norm::forward_eval(&x, &gamma, &beta, &mean, &variance, 1e-5).unwrap();
            let eval = batch_norm::backward_eval(&x, &dy, &gamma, &mean, &variance, 1e-5).unwrap();
            vec![y, train.0, train.1, train.2, new_mean, new_variance, evaluated, eval.0, eval.1, eval.2]
        });
        check(&format!("fused batch_norm {shape:?}"), || {
            let (y, statistics) =
                fused::batch_norm::forward(&x, None, &gamma, &beta, 1e-5, Some(&dy), true).unwrap();
            let followed = fused::Followed::new(true, Some(&y));
            let [x, gamma, beta] = [&x, &gamma, &beta].map(Tensor::clone);
            let fused = fused::Fused { x, gamma, beta, statistics, eps: 1e-5, followed };
            let gradients = fused.backward(dy.clone()).unwrap();
            vec![y, gradients.x, gradients.gamma, gradients.beta, gradients.addend.unwrap()]
        });
    }
}

#[test]
fn everything_else() {
    let (x, other) = (random(1, &[8, 20, 33, 33]), random(2, &[8, 20, 33, 33]));
    check("element-wise", || {
        let y = relu::forward(&x).unwrap();
        let mut sum = add::forward(&x, &other).unwrap();
        add::accumulate(&mut sum, &y).unwrap();
        vec![relu::backward(&other, &y).unwrap(), y, sum]
    });
    check("pools", || {
        let geometry = Pool2dGeometry::new(3, 3).stride(2).padding(1);
        let (largest, indices) = max_pool::forward(&x, &geometry).unwrap();
        let average = avg_pool::forward(&x, &geometry).unwrap();
        let global = global_avg_pool::forward(&x).unwrap();
        vec![
            max_pool::backward(&average, &indices, x.shape()).unwrap(),
            avg_pool::backward(&largest, x.shape(), &geometry).unwrap(),
            global_avg_pool::backward(&global, x.shape()).unwrap(),
            largest,
            average,
            global,
        ]
    });
    check("shortcut", || {
        let y = subsample_pad::forward(&x, 2, 50).unwrap();
        vec![subsample_pad::backward(&y, 2, x.shape()).unwrap(), y]
    });
    let (x, weight, dy) = (random(1, &[200, 300]), random(2, &[170, 300]), random(3, &[200, 170]));
    let (bias, labels) = (random(4, &[170]), Generator::new(5).permutation(200));
    let labels: Vec<usize> = labels.into_iter().map(|label| label % 170).collect();
    check("classifier", || {
        let logits = linear::forward(&x, &weight, &bias).unwrap();
        let (loss, probabilities) = cross_entropy::forward(&logits, &labels, 0.1).unwrap();
        vec![
            linear::backward_data(&dy, &weight).unwrap(),
            linear::backward_weights(&x, &dy).unwrap(),
            linear::backward_bias(&dy).unwrap(),
            cross_entropy::backward(1.0, &probabilities, &labels, 0.1).unwrap(),
            Tensor::scalar(loss),
            logits,
            probabilities,
        ]
    });
    let (parameter, gradient) = (random(1, &[300, 301]), random(2, &[300, 301]));
    check("sgd", || {
        let rule = SgdRule { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4, nesterov: true };
        let (mut parameter, mut velocity) = (parameter.clone(), gradient.clone());
        sgd::step(&mut parameter, &gradient, Some(&mut velocity), &rule).unwrap();
        vec![parameter, velocity]
    });
}
