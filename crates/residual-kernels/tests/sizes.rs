//! Geometries from ordinary to absurd: each gives an error or the values of the definition, in
//! debug and release builds alike, and none panics.

use proptest::{prelude::*, sample::select};
use residual_kernels::{conv2d::Algorithm, *};
use residual_tensor::{Float, Generator, Layout, Shape, Tensor, TensorError};

/// More elements than this are not computed.
const MOST: usize = 20_000;

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0usize..5,
        1 => select(vec![1 << 10, 1 << 20, (1 << 30) - 1, 1 << 30]),
        1 => select(vec![(1 << 30) + 1, 1 << 31, 1 << 32, 1 << 62, 1 << 63, usize::MAX]),
    ]
}

fn pair() -> impl Strategy<Value = [usize; 2]> {
    [lengths(), lengths()]
}

/// Mostly what a tensor can have.
fn axes() -> impl Strategy<Value = [usize; 4]> {
    let axis = || prop_oneof![20 => 0usize..6, 1 => select(vec![17, 1 << 20, 1 << 59, usize::MAX])];
    [axis(), axis(), axis(), axis()]
}

fn random<T: Float>(shape: &Shape, seed: u64) -> Tensor<T> {
    Generator::new(seed).normal_tensor(shape, 1.0)
}

/// Operands into which what is not written would show.
fn poison() {
    drop(Tensor::full([1 << 18], f64::NAN));
}

fn assert_close<T: Float>(got: &Tensor<T>, want: &Tensor<f64>, what: &dyn Fn() -> String) {
    assert_eq!(got.shape(), want.shape());
    let largest = want.as_slice().iter().fold(1.0, |largest, value| value.abs().max(largest));
    let bound = 34.0 * T::epsilon().to_f64() * largest;
    for (&got, &want) in got.to_vec().iter().zip(&want.to_vec()) {
        assert!((got.to_f64() - want).abs() <= bound, "{}: {got} for {want}", what());
    }
}

/// All that is not an error is what the definition says.
fn check_convolution<T: Float>(geometry: &Conv2dGeometry, x: &Shape, weight: &Shape) {
    let Ok(shape) = geometry.resolve(x, weight) else { return };
    let [y] = [shape.y()];
    if [x, weight, &y].iter().any(|shape| shape.elements() > MOST) {
        return;
    }
    let [x, weight, dy] = [(x, 1), (weight, 2), (&y, 3)].map(|(shape, seed)| random::<T>(shape, seed));
    let [x64, weight64, dy64] = [&x, &weight, &dy].map(|tensor| tensor.map(Float::to_f64));
    let exact = [
        conv2d::forward_with(Algorithm::Reference, &x64, &weight64, geometry).unwrap(),
        conv2d::backward_data_with(Algorithm::Reference, &dy64, &weight64, x.shape(), geometry).unwrap(),
        conv2d::backward_weights_with(Algorithm::Reference, &x64, &dy64, weight.shape(), geometry).unwrap(),
    ];
    poison();
    let check = |results: [Result<Tensor<T>>; 3], name: &str| {
        for (result, exact) in results.into_iter().zip(&exact) {
            assert_close(&result.unwrap(), exact, &|| format!("{name} {geometry} {:?}", x.shape()));
        }
    };
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.check(&shape).is_ok()) {
        let results = [
            conv2d::forward_with(algorithm, &x, &weight, geometry),
            conv2d::backward_data_with(algorithm, &dy, &weight, x.shape(), geometry),
            conv2d::backward_weights_with(algorithm, &x, &dy, weight.shape(), geometry),
        ];
        check(results, algorithm.name());
    }
    let results = [
        conv2d::forward(&x, &weight, geometry),
        conv2d::backward_data(&dy, &weight, x.shape(), geometry),
        conv2d::backward_weights(&x, &dy, weight.shape(), geometry),
    ];
    check(results, "the cheapest");
    if let Ok(packed) = fused::PackedConv2d::new(&weight, &shape) {
        let mut y = Tensor::full(shape.y(), T::nan()).to_layout(Layout::ChannelsLast);
        let x = x.to_layout(Layout::ChannelsLast);
        packed.run(x.as_slice(), y.as_mut_slice(), &fused::Epilogue::default()).unwrap();
        assert_close(&y, &exact[0], &|| format!("packed {geometry} {:?}", x.shape()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn convolutions_of_any_size_are_errors_or_right(
        kernel in pair(), stride in pair(), padding in pair(), dilation in pair(),
        groups in lengths(), x in axes(), outputs in 0usize..20,
    ) {
        let geometry = Conv2dGeometry { kernel, stride, padding, dilation, groups };
        let weight = [outputs * groups.min(20), x[1] / groups.max(1), kernel[0], kernel[1]];
        if let (Ok(x), Ok(weight)) = (Shape::new(x), Shape::new(weight)) {
            check_convolution::<f32>(&geometry, &x, &weight);
            check_convolution::<f64>(&geometry, &x, &weight);
        }
    }

    /// Of these most are ordinary, so that they are computed.
    #[test]
    fn convolutions_with_few_oddities_are_right(
        kernel in [1usize..4, 1usize..4], x in [0usize..3, 0usize..20, 0usize..7, 0usize..7],
        outputs in 0usize..40, which in 0usize..4, odd in pair(), even in [1usize..3, 1usize..3],
    ) {
        let mut geometry = Conv2dGeometry::new(kernel[0], kernel[1]).padding(even);
        match which {
            0 => geometry.stride = odd,
            1 => geometry.padding = odd,
            2 => (geometry.dilation, geometry.padding) = (odd, odd),
            _ => (geometry.stride, geometry.padding, geometry.dilation) = (odd, odd, odd),
        }
        let weight = Shape::new([outputs, x[1], kernel[0], kernel[1]]).unwrap();
        check_convolution::<f32>(&geometry, &Shape::new(x).unwrap(), &weight);
        check_convolution::<f64>(&geometry, &Shape::new(x).unwrap(), &weight);
    }

    #[test]
    fn pools_of_any_size_are_errors_or_right(
        kernel in pair(), stride in pair(), padding in pair(), ceil_mode in any::<bool>(), x in axes(),
    ) {
        let geometry = Pool2dGeometry { kernel, stride, padding, ceil_mode };
        let Ok(x_shape) = Shape::new(x) else { return Ok(()) };
        let Ok(shape) = geometry.resolve(&x_shape) else { return Ok(()) };
        if [&x_shape, &shape.y()].iter().any(|shape| shape.elements() > MOST) {
            return Ok(());
        }
        let x = random::<f32>(&x_shape, 1).to_layout(Layout::ChannelsLast);
        if x_shape[2] * x_shape[3] > i32::MAX as usize {
            // More than indices can number, also where there are no such images.
            let refused = matches!(max_pool::forward(&x, &geometry), Err(KernelError::Tensor(_)));
            prop_assert!(refused);
            return Ok(());
        }
        let (y, indices) = max_pool::forward(&x, &geometry).unwrap();
        let mut without = Tensor::full(shape.y(), f32::NAN).to_layout(Layout::ChannelsLast);
        max_pool::forward_into(x.as_slice(), without.as_mut_slice(), &shape).unwrap();
        prop_assert_eq!(&without, &y);
        prop_assert!(y.as_slice().iter().all(|y| x.as_slice().contains(y)));
        max_pool::backward(&y, &indices, x.shape()).unwrap();
        avg_pool::forward(&x, &geometry).unwrap();
        avg_pool::backward(&y, x.shape(), &geometry).unwrap();
    }
}

#[test]
fn what_is_too_large_says_what() {
    let shape = |axes: [usize; 4]| Shape::new(axes).unwrap();
    let message = |geometry: Conv2dGeometry, x: [usize; 4]| {
        let [height, width] = geometry.kernel;
        geometry.resolve(&shape(x), &shape([1, 1, height, width])).unwrap_err().to_string()
    };
    let geometry = Conv2dGeometry::new(3, 3);
    let x = [1, 1, 4, 4];
    assert_eq!(
        message(geometry.padding(1 << 62), x),
        "conv2d: padding may be at most 1073741824, but is [4611686018427387904, 4611686018427387904]"
    );
    assert!(message(geometry.stride(usize::MAX), x).starts_with("conv2d: stride may be at most"));
    assert!(message(geometry.dilation(1 << 31), x).starts_with("conv2d: dilation may be at most"));
    // Allowed one by one, but the output would have 2⁶² elements.
    assert_eq!(
        message(geometry.padding(1 << 30), x),
        "a tensor of shape [1, 1, 2147483650, 2147483650] would have more elements than memory can address"
    );
    let numbered =
        max_pool::forward(Tensor::<f32>::zeros([0, 0, 1 << 20, 1 << 20]), &Pool2dGeometry::new(1, 1));
    assert!(matches!(numbered, Err(KernelError::Tensor(TensorError::TooLarge { .. }))));
    let pool = Pool2dGeometry::new(2, 2).padding(1).resolve(&shape([1, 1, 0, 4])).unwrap_err();
    assert_eq!(pool.to_string(), "pool2d: [1, 1, 0, 4] has 0 values, but needs at least 1");
    // Padding adds a row to what memory could just address.
    let taller = Shape::new([1 << 30, 1 << 29, 1, 1]).unwrap();
    let padded = Pool2dGeometry::new(1 << 30, 1).padding([1 << 29, 0]).stride(1).resolve(&taller);
    assert!(matches!(padded, Err(KernelError::Tensor(TensorError::TooLarge { .. }))), "{padded:?}");
    assert!(global_avg_pool::forward_into::<f32>(&[], &mut [0.0; 6], [2, 3, 0, 4]).is_err());
}

#[test]
fn gradients_of_an_empty_batch_are_zeros_whatever_memory_held() {
    let geometry = Conv2dGeometry::new(3, 3).padding(1);
    fn check<T: Float>(geometry: &Conv2dGeometry) {
        let (x, dy) = (Tensor::<T>::zeros([0, 64, 8, 8]), Tensor::<T>::zeros([0, 64, 8, 8]));
        let shape = Shape::new([64, 64, 3, 3]).unwrap();
        for algorithm in Algorithm::ALL {
            poison();
            let dw = conv2d::backward_weights_with(algorithm, &x, &dy, &shape, geometry).unwrap();
            assert!(dw.as_slice().iter().all(|&dw| dw == T::zero()), "{algorithm:?}");
        }
        poison();
        let dw = conv2d::backward_weights(&x, &dy, &shape, geometry).unwrap();
        assert!(dw.as_slice().iter().all(|&dw| dw == T::zero()));
    }
    check::<f32>(&geometry);
    check::<f64>(&geometry);
}

/// Nothing is computed, so nothing may be prepared by the size of the axes that are not empty.
#[test]
fn empty_operands_cost_nothing_whatever_the_other_axes_are() {
    let shape = |axes: [usize; 4]| Shape::new(axes).unwrap();
    let (x, geometry) = (shape([0, 1, 1 << 20, 1 << 20]), Conv2dGeometry::new(1, 1).stride(1 << 20));
    let (dy, weight) = (Tensor::<f32>::zeros([0, 1, 1, 1]), Tensor::zeros([1, 1, 1, 1]));
    assert_eq!(conv2d::backward_data(&dy, &weight, &x, &geometry).unwrap().shape(), &x);
    assert_eq!(conv2d::forward(Tensor::zeros(&x), &weight, &geometry).unwrap().shape(), dy.shape());

    let geometry = Conv2dGeometry::new(1 << 30, 1);
    let (x, weight) = (Tensor::<f32>::zeros([0, 1, 1 << 30, 1]), Tensor::zeros([0, 1, 1 << 30, 1]));
    assert_eq!(**conv2d::forward(&x, &weight, &geometry).unwrap().shape(), [0, 0, 1, 1]);

    let nothing = shape([0, 0, 1, 1]);
    check_convolution::<f32>(&Conv2dGeometry::new(1, 1).groups(usize::MAX), &nothing, &nothing);
}

/// A part of the gradient for each of 2²⁰ phases would take gigabytes; one of them has a tap.
#[test]
fn strides_of_thousands_are_computed() {
    let (side, geometry) = (1024, Conv2dGeometry::new(1, 1).stride(1024));
    let (dy, weight) = (Tensor::<f32>::full([1, 1, 1, 1], 3.0), Tensor::full([1, 1, 1, 1], 2.0));
    let dx = conv2d::backward_data(&dy, &weight, &[1, 1, side, side], &geometry).unwrap().to_vec();
    assert!(dx[0] == 6.0 && dx[1..].iter().all(|&dx| dx == 0.0));
}

/// One by one, single precision stops counting at 2²⁴.
#[test]
fn long_sums_do_not_stop() {
    let side = 4097;
    let mean = global_avg_pool::forward(Tensor::<f32>::full([1, 1, side, side], 1.0)).unwrap();
    assert!((mean.to_vec()[0] - 1.0).abs() < 1e-6, "{mean:?}");
    let rows = (1 << 24) + 4096;
    let db = linear::backward_bias(Tensor::<f32>::full([rows, 1], 1.0)).unwrap();
    assert_eq!(db.to_vec(), [rows as f32]);
    // Runs end within a picture, and blocks within its channels.
    let x = random::<f32>(&Shape::new([2, 70, 9, 11]).unwrap(), 1);
    let exact = global_avg_pool::forward(x.map(f64::from)).unwrap();
    assert_close(&global_avg_pool::forward(&x).unwrap(), &exact, &|| "means".into());
}

#[test]
fn statistics_and_outputs_that_are_not_those_of_x_are_errors() {
    let x = random::<f32>(&Shape::new([2, 3, 4, 4]).unwrap(), 1);
    let (gamma, beta) = (Tensor::full([3], 1.0), Tensor::zeros([3]));
    let (_, statistics) = batch_norm::forward_train(&x, &gamma, &beta, 0.1).unwrap();
    let others = BatchStatistics { count: 31, ..statistics.clone() };
    let is_refused =
        |error: KernelError| error.to_string().contains("31 values of each channel, but x has 32");
    assert!(is_refused(batch_norm::backward_train(&x, &x, &gamma, &others, 0.1).unwrap_err()));
    assert!(is_refused(
        fused::batch_norm::statistics_for(&x, Some(others.clone()), &gamma, &beta).unwrap_err()
    ));
    let fused = |statistics, followed| fused::Fused {
        x: x.clone(),
        gamma: gamma.clone(),
        beta: beta.clone(),
        statistics,
        eps: 0.1,
        followed,
    };
    assert!(is_refused(fused(others, fused::Followed::Nothing).backward(x.clone()).unwrap_err()));
    let added = fused(statistics, fused::Followed::Addend);
    assert!(matches!(added.forward(), Err(KernelError::AddendGone)));
    let (weight, geometry) = (Tensor::zeros([1, 3, 1, 1]), Conv2dGeometry::new(1, 1));
    assert!(matches!(fused::conv2d::forward(&added, &weight, &geometry), Err(KernelError::AddendGone)));
}
