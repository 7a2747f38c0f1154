//! Which of the fast algorithms a convolution is given to: an estimate of what each costs.
//!
//! The unit is a cycle of one core. The constants were fitted to measurements on a processor with
//! AVX-512, 2 MiB of L2 per core and about 25 GB/s for two cores; what matters is where the
//! estimates cross, and there the algorithms are about equally fast. The number of threads does
//! not enter: it must not change a result.

use residual_macros::compiled_here;
use residual_tensor::Float;

use super::{
    Algorithm, Conv2dShape,
    correlation::{Correlation, Panel},
    grouped,
    winograd::{self, TileSize},
};
use crate::engine::isa::Isa;

/// Bytes that a core reads from memory per cycle.
const STREAM: f64 = 4.0;

/// The share of the peak that the kernels of lanes reach: they also rearrange their inputs.
const LANES_SHARE: f64 = 0.6;
/// That of blocks, where outputs fill wide panels, and where one narrow panel holds them all: each input is
/// then read for one register of outputs instead of for several.
const BLOCKED_SHARE: [f64; 2] = [0.9, 0.7];
/// Inputs for which a product of tiles and filters takes as long as for beginning and ending it.
const TILE_OVERHEAD: f64 = 3.0;

/// What has to be done about the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    /// They have to be packed for this call.
    Given,
    /// They are packed already, but lie in memory.
    Packed,
}

impl Weights {
    /// What they cost, if packing a register of them costs so many cycles.
    fn packing<T: Float>(self, elements: f64, cycles: f64, isa: &Isa<T>) -> f64 {
        match self {
            // Written and read again; a line is also read before it is written.
            Self::Given => elements * (cycles / isa.lanes as f64 + 3.0 * size_of::<T>() as f64 / STREAM),
            Self::Packed => elements * size_of::<T>() as f64 / STREAM,
        }
    }
}

/// The algorithm for a forward pass.
#[compiled_here]
pub(crate) fn forward<T: Float>(shape: &Conv2dShape, isa: &Isa<T>) -> Algorithm {
    correlation(&Correlation::forward(shape), Weights::Given, isa)
}

/// The algorithm for many forward passes with the same weights.
#[compiled_here]
pub(super) fn forward_packed<T: Float>(shape: &Conv2dShape, isa: &Isa<T>) -> Algorithm {
    correlation(&Correlation::forward(shape), Weights::Packed, isa)
}

/// The algorithm for the gradient with respect to the data.
#[compiled_here]
pub(crate) fn backward_data<T: Float>(shape: &Conv2dShape, isa: &Isa<T>) -> Algorithm {
    let parts = Correlation::backward_data(shape);
    if let [whole] = &parts[..] {
        return correlation(whole, Weights::Given, isa);
    }
    let direct = parts.iter().map(|part| without_tiles(part, Weights::Given, isa));
    let [blocked, grouped] = direct.fold([0.0; 2], |sums, part| [sums[0] + part[0], sums[1] + part[1]]);
    if grouped < blocked { Algorithm::Grouped } else { Algorithm::Blocked }
}

fn correlation<T: Float>(correlation: &Correlation, weights: Weights, isa: &Isa<T>) -> Algorithm {
    cheapest(correlation, without_tiles(correlation, weights, isa), |tiles| {
        let transformed = tiles.planes * correlation.inputs as f64 * width(correlation, isa);
        let products = products(tiles.count * transformed, 0.8 * tile_share(correlation), isa);
        products + tiles.transforms(correlation, isa) + weights.packing(transformed, 3.0, isa)
    })
}

/// The costs of [`Algorithm::Blocked`] and [`Algorithm::Grouped`].
fn without_tiles<T: Float>(correlation: &Correlation, weights: Weights, isa: &Isa<T>) -> [f64; 2] {
    let (pixels, terms) = (correlation.pixels() as f64, correlation.terms() as f64);
    let [blocked, grouped] =
        [width(correlation, isa), width_of_lanes(correlation, isa)].map(|width| terms * width);
    [
        products(pixels * blocked, blocked_share(correlation, isa), isa) + weights.packing(blocked, 2.0, isa),
        products(pixels * grouped, LANES_SHARE, isa) + weights.packing(grouped, isa.lanes as f64, isa),
    ]
}

/// The algorithm for the gradient with respect to the weights.
#[compiled_here]
pub(crate) fn backward_weights<T: Float>(shape: &Conv2dShape, isa: &Isa<T>) -> Algorithm {
    let correlation = Correlation::forward(shape);
    // Sums are written, read again and transformed back.
    let sums = |elements: f64, cycles: f64| {
        elements * (cycles / isa.lanes as f64 + 2.0 * size_of::<T>() as f64 / STREAM)
    };
    let (pixels, terms) = (correlation.pixels() as f64, correlation.terms() as f64);
    let [blocked, grouped] =
        [width(&correlation, isa), width_of_lanes(&correlation, isa)].map(|width| terms * width);
    let without_tiles = [
        products(pixels * blocked, 0.8, isa) + sums(blocked, 2.0),
        products(pixels * grouped, LANES_SHARE, isa) + sums(grouped, isa.lanes as f64),
    ];
    cheapest(&correlation, without_tiles, |tiles| {
        let transformed = tiles.planes * correlation.inputs as f64 * width(&correlation, isa);
        let products = products(tiles.count * transformed, 0.75, isa);
        products + tiles.transforms(&correlation, isa) + sums(transformed, 4.0)
    })
}

/// The cheapest algorithm, if `winograd` tells what tiles cost.
fn cheapest(
    correlation: &Correlation,
    [blocked, grouped]: [f64; 2],
    winograd: impl Fn(Tiles) -> f64,
) -> Algorithm {
    let mut best = (Algorithm::Blocked, blocked);
    if grouped < best.1 {
        best = (Algorithm::Grouped, grouped);
    }
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

/// The share of the peak that products of blocks reach.
fn blocked_share<T: Float>(correlation: &Correlation, isa: &Isa<T>) -> f64 {
    BLOCKED_SHARE[usize::from(correlation.outputs <= isa.narrow.vectors * isa.lanes)]
}

/// The share of their time that products of tiles and filters spend on sums.
fn tile_share(correlation: &Correlation) -> f64 {
    let inputs = correlation.inputs as f64;
    inputs / (inputs + TILE_OVERHEAD)
}

/// Output channels of all groups in whole registers.
fn width<T: Float>(correlation: &Correlation, isa: &Isa<T>) -> f64 {
    let panels = Panel::divide(correlation.outputs, isa);
    (correlation.groups * panels.iter().map(|panel| panel.width).sum::<usize>()) as f64
}

/// Output channels of all groups in whole registers, if groups share them.
fn width_of_lanes<T: Float>(correlation: &Correlation, isa: &Isa<T>) -> f64 {
    (grouped::Blocks::new(correlation, isa).count * isa.lanes) as f64
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
        let registers = correlation.in_channels().div_ceil(isa.lanes)
            + correlation.groups * correlation.outputs.div_ceil(isa.lanes);
        self.count * self.planes * 4.0 * registers as f64
    }
}
