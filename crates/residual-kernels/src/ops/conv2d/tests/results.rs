//! What every fast algorithm computes, for every element on every instruction set of this processor, against
//! the definition.

use super::*;

#[test]
fn algorithms_agree_with_the_definition_in_f32() {
    check_algorithms::<f32>();
}

#[test]
fn algorithms_agree_with_the_definition_in_f64() {
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
                let (mean, variance) = moments(&got, channel);
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

/// Mean and biased variance of a channel in double precision.
fn moments<T: Float>(y: &Tensor<T>, channel: usize) -> (f64, f64) {
    let channels = y.shape()[1];
    let values = || y.as_slice()[channel..].iter().step_by(channels).map(|&y| y.to_f64());
    let pixels = (y.len() / channels) as f64;
    // Summed about one of them: f64 has no digits to spare here.
    let first = y.as_slice()[channel].to_f64();
    let mean = first + values().map(|y| y - first).sum::<f64>() / pixels;
    (mean, values().map(|y| (y - mean).powi(2)).sum::<f64>() / pixels)
}

/// Sums around a pixel that is far from the others lose a digit or two, and the first pixel may be such a one.
#[test]
fn statistics_keep_their_digits_where_the_first_pixel_is_far_from_the_others() {
    let geometry = Conv2dGeometry::new(3, 3).padding(1);
    for groups in [1, 4] {
        let mut case = Case::<f32>::new((geometry.groups(groups), [1, 32, 32, 32], 64));
        case.x.as_mut_slice()[..32].iter_mut().for_each(|x| *x *= 12.0);
        for (isa, algorithm) in ways::<f32>(&case.shape) {
            let plan = Plan::forward(&case.shape, algorithm, false, &Caches::FITTED, isa);
            let packed = plan.pack(case.weight.as_slice());
            let mut y = unwritten(case.shape.y());
            let x = case.x.as_slice().into();
            let statistics = plan.run(x, &packed, y.as_mut_slice(), &Epilogue::default(), true).unwrap();
            for (channel, got) in statistics.variance.as_slice().iter().enumerate() {
                let (_, want) = moments(&y, channel);
                // Measured: at most 60 ε; 490 ε around the first pixel alone.
                let close = (got / want - 1.0).abs() <= 90.0 * f64::from(f32::EPSILON);
                assert!(close, "{algorithm:?} {isa:?} groups {groups}: {got} for {want}");
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
    // Larger cases have more units, but no other ways from an input to an output.
    let is_quick = |case: &Case<T>| !case.x.is_empty() && case.shape.multiply_adds() < 8 << 20;
    for case in cases().into_iter().map(Case::<T>::new).filter(is_quick) {
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
