//! Times convolutions by geometry and direction: `cargo bench -p residual-kernels`.
//!
//! Prints the median of several rounds in milliseconds and in effective GFLOPS, 2 per
//! multiply-add of the forward pass in each direction, whatever the algorithm really executes.
//! Arguments are matched against the names of the rows: `cargo bench -p residual-kernels -- cifar`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use residual_kernels::{Conv2dGeometry, batch_norm, conv2d};
use residual_tensor::{Generator, Layout, Tensor};

const ROUNDS: usize = 15;

/// Name, batch, channels in and out, size of the input, kernel, stride, groups.
type Row = (&'static str, usize, usize, usize, usize, usize, usize, usize);

const ROWS: [Row; 16] = [
    ("cifar 16@32", 128, 16, 16, 32, 3, 1, 1),
    ("cifar 32@16", 128, 32, 32, 16, 3, 1, 1),
    ("cifar 64@8", 128, 64, 64, 8, 3, 1, 1),
    ("cifar 16→32@32/2", 128, 16, 32, 32, 3, 2, 1),
    ("cifar stem 3→16@32", 128, 3, 16, 32, 3, 1, 1),
    ("imagenet stem 3→64@224", 8, 3, 64, 224, 7, 2, 1),
    ("imagenet 64@56", 16, 64, 64, 56, 3, 1, 1),
    ("imagenet 256@14", 16, 256, 256, 14, 3, 1, 1),
    ("imagenet 512@7", 16, 512, 512, 7, 3, 1, 1),
    ("imagenet 64→256@56 1×1", 16, 64, 256, 56, 1, 1, 1),
    ("imagenet 256→512@56/2 1×1", 16, 256, 512, 56, 1, 2, 1),
    ("resnext 128@56 in 32 groups", 4, 128, 128, 56, 3, 1, 32),
    ("resnext 256@56/2 in 32 groups", 4, 256, 256, 56, 3, 2, 32),
    ("resnext 256@28 in 32 groups", 4, 256, 256, 28, 3, 1, 32),
    ("resnext 512@14 in 32 groups", 4, 512, 512, 14, 3, 1, 32),
    ("depth-wise 128@56", 4, 128, 128, 56, 3, 1, 128),
];

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!(
        "{:<28} {:>22} {:>22} {:>22} {:>22}",
        "ms (GFLOPS)", "forward", "backward data", "backward weights", "batch norm (GB/s)"
    );
    for (name, batch, inputs, outputs, size, kernel, stride, groups) in ROWS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let geometry = Conv2dGeometry::new(kernel, kernel).stride(stride).padding(kernel / 2).groups(groups);
        let mut generator = Generator::new(1);
        let mut random = |shape: [usize; 4]| -> Tensor<f32> {
            generator.normal_tensor(shape, 1.0).to_layout(Layout::ChannelsLast)
        };
        let x = random([batch, inputs, size, size]);
        let weight = random([outputs, inputs / groups, kernel, kernel]);
        let shape = geometry.resolve(x.shape(), weight.shape()).expect("a row that fits");
        let dy = random(std::array::from_fn(|axis| shape.y()[axis]));
        let (gamma, flops) = (Tensor::full([outputs], 1.0), 2.0 * shape.multiply_adds() as f64);

        let show = |time: Duration, per_run: f64| {
            let seconds = time.as_secs_f64();
            format!("{:.2} ({:.0})", seconds * 1e3, per_run / seconds / 1e9)
        };
        let forward = median(|| conv2d::forward(&x, &weight, &geometry));
        let data = median(|| conv2d::backward_data(&dy, &weight, x.shape(), &geometry));
        let weights = median(|| conv2d::backward_weights(&x, &dy, weight.shape(), &geometry));
        // Forward and backward go through memory eight times in all.
        let normalization = median(|| {
            let (y, statistics) = batch_norm::forward_train(&dy, &gamma, &gamma, 1e-5)?;
            batch_norm::backward_train(&dy, y.clone(), &gamma, &statistics, 1e-5)
        });
        println!(
            "{name:<28} {:>22} {:>22} {:>22} {:>22}",
            show(forward, flops),
            show(data, flops),
            show(weights, flops),
            show(normalization, 8.0 * size_of::<f32>() as f64 * dy.len() as f64)
        );
    }
}

/// The median time of a run, after one that fills the tensors' memory.
fn median<R>(run: impl Fn() -> R) -> Duration {
    black_box(run());
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}
