//! Arithmetic with broadcasting, reductions, products and softmax on shapes that are large and odd
//! enough for every path (rows that begin inside a chunk, sums in pieces, stacks of matrices),
//! against plain loops over indices in f64; and the same bits for any number of threads.
//!
//! Small shapes, NaN and infinities are compared with PyTorch in `residual-autograd`.

use residual_kernels::{
    Axes, broadcast, concatenate, elementwise, matmul,
    reduce::{self, Reduction},
    softmax,
};
use residual_tensor::{Float, Generator, Layout, Shape, Tensor};

fn random<T: Float>(seed: u64, shape: &[usize], layout: Layout) -> Tensor<T> {
    let x = Generator::new(seed).normal_tensor::<f64>(shape, 1.0).map(T::of);
    if shape.len() == 4 { x.to_layout(layout) } else { x }
}

/// All indices of a shape in row-major order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let index = |mut number: usize| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            (number, index[axis]) = (number / shape[axis], number % shape[axis]);
        }
        index
    };
    (0..shape.iter().product()).map(index).collect()
}

/// Elements in row-major order, which repeat to larger shapes.
struct Plain {
    values: Vec<f64>,
    /// 0 for an axis of length 1.
    strides: Vec<usize>,
}

impl Plain {
    fn of<T: Float>(x: &Tensor<T>) -> Self {
        Self { values: x.to_vec().into_iter().map(Float::to_f64).collect(), strides: strides(x.shape()) }
    }

    /// The element that stands for `index` of a larger shape.
    fn at(&self, index: &[usize]) -> f64 {
        self.values[place(&self.strides, index)]
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let strides = Layout::Contiguous.strides(&self::shape(shape)).unwrap();
    strides.iter().zip(shape).map(|(&stride, &n)| if n == 1 { 0 } else { stride }).collect()
}

fn shape(axes: &[usize]) -> Shape {
    Shape::new(axes).unwrap()
}

fn place(strides: &[usize], index: &[usize]) -> usize {
    strides.iter().rev().zip(index.iter().rev()).map(|(stride, i)| stride * i).sum()
}

fn assert_close<T: Float>(what: &str, got: &Tensor<T>, shape: &[usize], expected: &[f64], tolerance: f64) {
    assert_eq!(**got.shape(), *shape, "{what}");
    for (i, (got, &expected)) in got.to_vec().iter().zip(expected).enumerate() {
        let error = (Float::to_f64(*got) - expected).abs();
        assert!(error <= tolerance * (1.0 + expected.abs()), "{what} [{i}]: {got:?}, expected {expected}");
    }
}

const BROADCASTS: [(&[usize], &[usize]); 10] = [
    (&[130, 257], &[257]),
    (&[130, 257], &[130, 1]),
    (&[257], &[130, 257]),
    (&[1, 301], &[173, 1]),
    (&[20_000, 3], &[3]),
    (&[3, 7, 20, 60], &[7, 1, 1]),
    (&[3, 7, 20, 60], &[3, 7, 1, 1]),
    (&[3, 7, 20, 60], &[20, 60]),
    (&[3, 1, 20, 60], &[1, 7, 20, 1]),
    (&[2, 1, 40, 1, 11], &[30, 1, 9, 1]),
];

fn broadcasts<T: Float>(tolerance: f64) {
    for (a_shape, b_shape) in BROADCASTS {
        for [a_layout, b_layout] in [
            [Layout::Contiguous, Layout::Contiguous],
            [Layout::ChannelsLast, Layout::Contiguous],
            [Layout::ChannelsLast, Layout::ChannelsLast],
        ] {
            let (a, b) = (random::<T>(1, a_shape, a_layout), random::<T>(2, b_shape, b_layout));
            let shape = broadcast::shape("test", a.shape(), b.shape()).unwrap();
            let what = format!("{a_shape:?} {a_layout:?} with {b_shape:?} {b_layout:?}");
            let all = indices(&shape);
            let [plain_a, plain_b] = [&a, &b].map(Plain::of);
            let expected: Vec<f64> = all.iter().map(|i| plain_a.at(i) - plain_b.at(i)).collect();
            assert_close(&what, &elementwise::sub(&a, &b).unwrap(), &shape, &expected, tolerance);

            let dy = random::<T>(3, &shape, a_layout);
            let plain_dy = Plain::of(&dy);
            for operand in [&a, &b] {
                let (mut expected, strides) = (vec![0.0; operand.len()], strides(operand.shape()));
                all.iter().for_each(|index| expected[place(&strides, index)] += plain_dy.at(index));
                let got = broadcast::reduce_to(&dy, operand.shape()).unwrap();
                assert_close(&what, &got, operand.shape(), &expected, 10.0 * tolerance);
                let back = broadcast::expand(&got, &shape, a_layout).unwrap();
                let got = Plain::of(&got);
                let expected: Vec<f64> = all.iter().map(|i| got.at(i)).collect();
                assert_close(&what, &back, &shape, &expected, tolerance);
            }
        }
    }
}

#[test]
fn operands_repeat() {
    broadcasts::<f32>(1e-6);
    broadcasts::<f64>(1e-14);
}

const REDUCTIONS: [(&[usize], &[usize]); 12] = [
    (&[100_003], &[0]),
    (&[70_001, 3], &[0]),
    (&[70_001, 3], &[1]),
    (&[3, 70_001], &[1]),
    (&[301, 700], &[0]),
    (&[301, 700], &[1]),
    (&[301, 700], &[0, 1]),
    (&[5, 37, 23, 41], &[0, 2, 3]),
    (&[5, 37, 23, 41], &[1]),
    (&[5, 37, 23, 41], &[2]),
    (&[5, 37, 23, 41], &[0, 3]),
    (&[5, 37, 23, 41], &[]),
];

fn reductions<T: Float>(tolerance: f64) {
    for (shape, axes) in REDUCTIONS {
        for layout in [Layout::Contiguous, Layout::ChannelsLast] {
            let x = random::<T>(4, shape, layout);
            let kept: Vec<usize> =
                (0..shape.len()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
            let (strides, plain) = (strides(&kept), Plain::of(&x));
            let mut sums = vec![0.0; kept.iter().product()];
            let mut largest = vec![f64::NEG_INFINITY; sums.len()];
            for index in indices(shape) {
                let (place, value) = (place(&strides, &index), plain.at(&index));
                sums[place] += value;
                largest[place] = largest[place].max(value);
            }
            let what = format!("{shape:?} {layout:?} over {axes:?}");
            let kept_axes = || Axes::from(axes).kept();
            // Errors of a sum of n numbers around 1 are relative to √n.
            let count = (x.len() / sums.len()) as f64;
            let sum = reduce::sum(&x, kept_axes()).unwrap();
            assert_close(&what, &sum, &kept, &sums, tolerance * count.sqrt());
            let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
            assert_close(&what, &reduce::mean(&x, kept_axes()).unwrap(), &kept, &means, tolerance);
            assert_close(&what, &reduce::max(&x, kept_axes()).unwrap(), &kept, &largest, 0.0);

            let without: Vec<usize> =
                (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
            assert_eq!(reduce::sum(&x, axes).unwrap(), sum.reshape(without).unwrap(), "{what}");
        }
    }
}

#[test]
fn axes_are_reduced() {
    reductions::<f32>(1e-6);
    reductions::<f64>(1e-14);
}

#[test]
fn long_sums_round_little() {
    // One by one, a sum in f32 stands still at 2²⁴.
    let x = Tensor::<f32>::full([1 << 25], 1.0);
    assert_eq!(reduce::sum(&x, ..).unwrap().item().unwrap(), (1 << 25) as f32);
    let x = x.reshape([1 << 23, 4]).unwrap();
    assert_eq!(reduce::sum(&x, 0).unwrap().to_vec(), [(1 << 23) as f32; 4]);
}

const PRODUCTS: [(&[usize], &[usize]); 9] = [
    (&[150, 70], &[70, 90]),
    (&[20, 33, 17], &[17, 65]),
    (&[33, 17], &[20, 17, 5]),
    (&[20, 33, 17], &[20, 17, 5]),
    (&[3, 80, 60], &[3, 60, 70]),
    (&[4, 1, 33, 17], &[3, 17, 5]),
    (&[4, 3, 33, 17], &[1, 17, 5]),
    (&[2, 3, 0], &[2, 0, 5]),
    (&[5, 0, 3], &[3, 2]),
];

fn products<T: Float>(tolerance: f64) {
    for (a_shape, b_shape) in PRODUCTS {
        for layout in [Layout::Contiguous, Layout::ChannelsLast] {
            let (a, b) = (random::<T>(5, a_shape, layout), random::<T>(6, b_shape, layout));
            let what = format!("{a_shape:?} · {b_shape:?} {layout:?}");
            let (a_stack, b_stack) = (&a_shape[..a_shape.len() - 2], &b_shape[..b_shape.len() - 2]);
            let (m, k) = (a_shape[a_shape.len() - 2], a_shape[a_shape.len() - 1]);
            let n = b_shape[b_shape.len() - 1];
            let stack = broadcast::shape("test", &shape(a_stack), &shape(b_stack)).unwrap();
            // Σ over p of x[.., i, p] · y[.., p, j], where either may be transposed.
            let product = |(x, x_turned): (&Plain, bool),
                           (y, y_turned): (&Plain, bool),
                           sizes: [usize; 3]| {
                let [rows, inner, columns] = sizes;
                let entry = |index: &Vec<usize>| {
                    let (mut x_index, mut y_index, front) = (index.clone(), index.clone(), index.len() - 2);
                    let set = |at: &mut Vec<usize>, [i, j]: [usize; 2], turned: bool| {
                        (at[front], at[front + 1]) = if turned { (j, i) } else { (i, j) };
                    };
                    let term = |p| {
                        set(&mut x_index, [index[front], p], x_turned);
                        set(&mut y_index, [p, index[front + 1]], y_turned);
                        x.at(&x_index) * y.at(&y_index)
                    };
                    (0..inner).map(term).sum::<f64>()
                };
                indices(&[&*stack, &[rows, columns]].concat()).iter().map(entry).collect::<Vec<_>>()
            };
            let full = |rows, columns| [&*stack, &[rows, columns]].concat();
            let [plain_a, plain_b] = [&a, &b].map(Plain::of);
            let expected = product((&plain_a, false), (&plain_b, false), [m, k, n]);
            let y = matmul::forward(&a, &b).unwrap();
            assert_close(&what, &y, &full(m, n), &expected, tolerance * (1.0 + k as f64).sqrt());

            let dy = random::<T>(7, &full(m, n), layout);
            let plain_dy = Plain::of(&dy);
            let da = product((&plain_dy, false), (&plain_b, true), [m, n, k]);
            let db = product((&plain_a, true), (&plain_dy, false), [k, m, n]);
            for (got, full, all) in [
                (matmul::backward_a(&dy, &b, a.shape()).unwrap(), full(m, k), da),
                (matmul::backward_b(&a, &dy, b.shape()).unwrap(), full(k, n), db),
            ] {
                let all = Tensor::from_vec(full, all).unwrap();
                let expected = broadcast::reduce_to(&all, got.shape()).unwrap();
                let shape = got.shape().clone();
                assert_close(
                    &what,
                    &got,
                    &shape,
                    &expected.to_vec(),
                    10.0 * tolerance * (1.0 + m as f64 + n as f64),
                );
            }
        }
    }
}

#[test]
fn stacks_of_matrices_are_multiplied() {
    products::<f32>(1e-6);
    products::<f64>(1e-14);
}

#[test]
fn softmax_is_taken_along_any_axis() {
    for (shape, axis) in [(&[300, 70][..], 1), (&[300, 70], 0), (&[4, 10, 30, 15], 1), (&[4, 10, 30, 15], 2)]
    {
        for layout in [Layout::Contiguous, Layout::ChannelsLast] {
            let what = format!("{shape:?} {layout:?} along {axis}");
            let (x, dy) = (random::<f32>(8, shape, layout), random::<f32>(9, shape, layout));
            let all = indices(shape);
            let line = |index: &[usize], f: &dyn Fn(&[usize]) -> f64| -> f64 {
                let mut index = index.to_vec();
                (0..shape[axis])
                    .map(|i| {
                        index[axis] = i;
                        f(&index)
                    })
                    .sum()
            };
            let (plain_x, plain_dy) = (Plain::of(&x), Plain::of(&dy));
            let exp = |i: &[usize]| plain_x.at(i).exp();
            let expected: Vec<f64> = all.iter().map(|i| exp(i) / line(i, &exp)).collect();
            let y = softmax::forward_along(&x, axis).unwrap();
            assert_close(&what, &y, shape, &expected, 1e-6);
            let logs: Vec<f64> = expected.iter().map(|y| y.ln()).collect();
            let log_y = softmax::log_forward_along(&x, axis).unwrap();
            assert_close(&what, &log_y, shape, &logs, 1e-6);
            let plain_y = Plain::of(&y);
            let weighted = |i: &[usize]| plain_dy.at(i) * plain_y.at(i);
            let back = |i: &Vec<usize>| plain_y.at(i) * (plain_dy.at(i) - line(i, &weighted));
            let expected: Vec<f64> = all.iter().map(back).collect();
            assert_close(&what, &softmax::backward_along(&dy, &y, axis).unwrap(), shape, &expected, 1e-6);
            let back = |i: &Vec<usize>| plain_dy.at(i) - plain_y.at(i) * line(i, &|i| plain_dy.at(i));
            let expected: Vec<f64> = all.iter().map(back).collect();
            let got = softmax::log_backward_along(&dy, &log_y, axis).unwrap();
            assert_close(&what, &got, shape, &expected, 1e-5);
        }
    }
}

#[test]
fn parts_put_together_are_taken_apart_again() {
    for layout in [Layout::Contiguous, Layout::ChannelsLast] {
        for axis in 0..4 {
            let parts: Vec<Tensor<f32>> = [2, 0, 1, 3]
                .iter()
                .map(|&length| {
                    let mut shape = [3, 4, 5, 2];
                    shape[axis] = length;
                    random(length as u64, &shape, layout)
                })
                .collect();
            let whole = concatenate::forward(&parts, axis).unwrap();
            let mut start = 0;
            let mut sum = Tensor::zeros(whole.shape());
            for part in &parts {
                let end = start + part.shape()[axis];
                assert_eq!(whole.slice(axis, start..end).unwrap(), *part, "{layout:?} axis {axis}");
                let back = concatenate::slice_backward(part, axis, start, whole.shape()).unwrap();
                sum = elementwise::add(&sum, &back).unwrap();
                start = end;
            }
            assert_eq!(sum, whole, "{layout:?} axis {axis}");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let compute = || {
        let x = random::<f32>(1, &[5, 37, 23, 41], Layout::ChannelsLast);
        let (a, b) =
            (random::<f32>(2, &[40, 130, 60], Layout::Contiguous), random(3, &[60, 33], Layout::Contiguous));
        let mut results = vec![
            elementwise::mul(&x, random(4, &[37, 1, 1], Layout::Contiguous)).unwrap(),
            elementwise::exp(&x).unwrap(),
            matmul::forward(&a, &b).unwrap(),
            softmax::forward_along(&x, 1).unwrap(),
        ];
        for (shape, axes) in REDUCTIONS {
            results.push(reduce::sum(random::<f32>(5, shape, Layout::Contiguous), axes).unwrap());
        }
        results
            .iter()
            .flat_map(|y| y.as_slice().iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let on = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(compute);
    let expected = on(1);
    for threads in [2, 3] {
        assert!(on(threads) == expected, "{threads} threads differ from one");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let x = |shape: &[usize]| Tensor::<f32>::zeros(shape);
    let reduction = Reduction::new("sum", &shape(&[2, 3]), 1).unwrap();
    for (error, expected) in [
        (
            elementwise::add(x(&[2, 3]), x(&[2])).unwrap_err(),
            "add: a [2, 3] does not fit b [2]: axes, counted from the last, must be equal, or one of them 1",
        ),
        (reduce::sum(x(&[2, 3]), 2).unwrap_err(), "sum: axes [2] must be different axes of [2, 3]"),
        (reduce::mean(x(&[2, 3]), [1, 1]).unwrap_err(), "mean: axes [1, 1] must be different axes of [2, 3]"),
        (reduce::max(x(&[2, 0]), 1).unwrap_err(), "max: [2, 0] has 0 values, but needs at least 1"),
        (
            reduce::sum_backward(x(&[3]), &reduction, &shape(&[2, 3]), Layout::Contiguous).unwrap_err(),
            "sum backward: dy [3] does not fit the output [2]: both must have the same shape",
        ),
        (
            matmul::forward(x(&[3]), x(&[3, 2])).unwrap_err(),
            "matmul: a [3] is not a matrix; it needs two axes or more",
        ),
        (
            matmul::forward(x(&[2, 3]), x(&[2, 3])).unwrap_err(),
            "matmul: a [2, 3] does not fit b [2, 3]: the columns of the one must be as many as the rows of the other",
        ),
        (
            matmul::forward(x(&[2, 2, 3]), x(&[3, 3, 2])).unwrap_err(),
            "matmul: a [2, 2, 3] does not fit b [3, 3, 2]: axes before the last two must be equal, counted from \
             the last, or one of them 1",
        ),
        (softmax::forward_along(x(&[2]), 1).unwrap_err(), "softmax: axes [1] must be different axes of [2]"),
        (
            concatenate::forward(&[] as &[Tensor<f32>], 0).unwrap_err(),
            "concatenate: needs at least one tensor",
        ),
        (
            concatenate::forward([x(&[2, 3]), x(&[2, 4])], 0).unwrap_err(),
            "concatenate: tensor [2, 4] does not fit the first [2, 3]: all axes but that along which they are \
             joined must be equal",
        ),
        (
            concatenate::slice_backward(x(&[2]), 0, usize::MAX, &shape(&[3])).unwrap_err(),
            "slice backward: dy [2] does not fit x [3]: dy must be a slice of x",
        ),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}
