//! Which of the fast algorithms a convolution is given to: an estimate of what each costs.
//!
//! The unit is a cycle of one core. The constants were fitted to measurements on a processor with
//! AVX-512, 2 MiB of L2 per core and about 25 GB/s for two cores; what matters is where the
//! estimates cross, and there the algorithms are about equally fast. The number of threads does
//! not enter: it must not change a result.

use residual_tensor::Float;

use super::{
    Algorithm, Conv2dShape,
    correlation::{Correlation, Panel},
    winograd::{self, TileSize},
};
use crate::engine::isa::Isa;

/// Bytes that a core reads from memory per cycle.
const STREAM: f64 = 4.0;

/// What has to be done about the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    /// They have to be packed for this call.
    Given,
    /// They are packed already, but lie in memory.
    Packed,
}

/// The algorithm for a forward pass.
pub(super) fn forward<T: Float>(shape: &Conv2dShape, isa: &Isa<T>) -> Algorithm {
    correlation(&Correlation::forward(shape), Weights::Given, isa)
}

/// The algorithm for many forward passes with the same weights.
pub(super) fn forward_packed<T: Float>(shape: &Conv2dShape, isa: &Isa<T>) -> Algorithm {
    correlation(&Correlation::forward(shape), Weights::Packed, isa)
}

/// The algorithm for the gradient with respect to the data.
pub(super) fn backward_data<T: Float>(shape: &Conv2dShape, isa: &Isa<T>) -> Algorithm {
    match &Correlation::backward_data(shape)[..] {
        [whole] => correlation(whole, Weights::Given, isa),
        _ => Algorithm::Blocked,
    }
}

fn correlation<T: Float>(correlation: &Correlation, weights: Weights, isa: &Isa<T>) -> Algorithm {
    let packing = |elements: f64, cycles: f64| match weights {
        // Written and read again; a line is also read before it is written.
        Weights::Given => elements * (cycles / isa.lanes as f64 + 3.0 * size_of::<T>() as f64 / STREAM),
        Weights::Packed => elements * size_of::<T>() as f64 / STREAM,
    };
    let weights = correlation.terms() as f64 * width(correlation, isa);
    let blocked = products(correlation.pixels() as f64 * weights, 0.9, isa) + packing(weights, 2.0);
    cheapest(correlation, blocked, |tiles| {
        let transformed = tiles.planes * correlation.inputs as f64 * width(correlation, isa);
        let products = products(tiles.count * transformed, 0.8, isa);
        products + tiles.transforms(correlation, isa) + packing(transformed, 3.0)
    })
}

/// The algorithm for the gradient with respect to the weights.
pub(super) fn backward_weights<T: Float>(shape: &Conv2dShape, isa: &Isa<T>) -> Algorithm {
    let correlation = Correlation::forward(shape);
    // Sums are written, read again and transformed back.
    let sums = |elements: f64, cycles: f64| {
        elements * (cycles / isa.lanes as f64 + 2.0 * size_of::<T>() as f64 / STREAM)
    };
    let weights = correlation.terms() as f64 * width(&correlation, isa);
    let blocked = products(correlation.pixels() as f64 * weights, 0.8, isa) + sums(weights, 2.0);
    cheapest(&correlation, blocked, |tiles| {
        let transformed = tiles.planes * correlation.inputs as f64 * width(&correlation, isa);
        let products = products(tiles.count * transformed, 0.75, isa);
        products + tiles.transforms(&correlation, isa) + sums(transformed, 4.0)
    })
}

/// The cheapest algorithm, if `winograd` tells what tiles cost.
fn cheapest(correlation: &Correlation, blocked: f64, winograd: impl Fn(Tiles) -> f64) -> Algorithm {
    let mut best = (Algorithm::Blocked, blocked);
    if winograd::suits(correlation) {
        for (algorithm, size) in
            [(Algorithm::Winograd2, TileSize::Two), (Algorithm::Winograd4, TileSize::Four)]
        {
            let cost = winograd(Tiles::new(correlation, size));
            if cost < best.1 {
                best = (algorithm, cost);
            }
        }
    }
    best.0
}

/// Cycles of so many multiply-adds, at a share of the peak: two registers per cycle.
fn products<T: Float>(multiply_adds: f64, share: f64, isa: &Isa<T>) -> f64 {
    multiply_adds / (2 * isa.lanes) as f64 / share
}

/// Output channels of all groups in whole registers.
fn width<T: Float>(correlation: &Correlation, isa: &Isa<T>) -> f64 {
    let panels = Panel::divide(correlation.outputs, isa);
    (correlation.groups * panels.iter().map(|panel| panel.width).sum::<usize>()) as f64
}

/// The tiles of a Winograd convolution.
struct Tiles {
    count: f64,
    /// Points, N².
    planes: f64,
}

impl Tiles {
    fn new(correlation: &Correlation, size: TileSize) -> Self {
        let [rows, columns] = correlation.output.map(|length| length.div_ceil(size.outputs()));
        Self { count: (correlation.batch * rows * columns) as f64, planes: size.planes() as f64 }
    }

    /// Cycles of transforming inputs and outputs: about four for each register of each point.
    fn transforms<T: Float>(&self, correlation: &Correlation, isa: &Isa<T>) -> f64 {
        let registers = (correlation.inputs + correlation.outputs).div_ceil(isa.lanes);
        self.count * self.planes * 4.0 * registers as f64
    }
}
