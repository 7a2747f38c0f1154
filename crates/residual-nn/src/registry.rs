//! Every layer and block with sample configurations: what generic checks go over.

use residual_autograd::{Result, State, Tape, Var};
use residual_kernels::{Conv2dGeometry, Pool2dGeometry};
use residual_tensor::{Generator, Shape, Tensor};

use crate::{
    AvgPool2d, BatchNorm2d, BatchNormConfig, Block, BlockConfig, BlockOrder, BottleneckStride, Conv2d,
    Conv2dConfig, GlobalAvgPool, Init, Linear, MaxPool2d, Mode, Module, Relu, Shortcut, ShortcutKind,
};

/// A layer or block that can be sampled.
#[derive(Debug, Clone, Copy)]
pub struct LayerEntry {
    /// Its name.
    pub name: &'static str,
    draw: fn(&mut Generator) -> Result<Drawn>,
}

/// A layer, and the shape of an input that fits it.
type Drawn = (Box<dyn Module<f64>>, Shape);

/// One configuration of a layer, with an input.
pub struct LayerSample {
    /// The layer.
    pub module: Box<dyn Module<f64>>,
    /// An input that fits it.
    pub input: Tensor<f64>,
}

impl LayerEntry {
    /// A random configuration with random states and input.
    pub fn sample(&self, generator: &mut Generator) -> LayerSample {
        let (module, shape) = (self.draw)(generator).expect("a layer of a few channels");
        let input = generator.normal_tensor(shape, 1.0);
        LayerSample { module, input }
    }
}

impl LayerSample {
    /// The input and all parameters: what gradients are checked for.
    pub fn differentiable(&self) -> Vec<Tensor<f64>> {
        let parameters = self.module.parameters().into_iter().map(|(_, state)| state.value());
        std::iter::once(self.input.clone()).chain(parameters).collect()
    }

    /// Runs the layer with the given values in place of the input and the parameters.
    ///
    /// # Errors
    /// What the layer reports.
    pub fn apply(&self, values: &[Var<f64>], mode: Mode) -> Result<Var<f64>> {
        let (x, parameters) = values.split_first().expect("the input and the parameters");
        let states: Vec<(String, State<f64>)> = self.module.parameters();
        for ((_, state), value) in states.iter().zip(parameters) {
            x.tape().substitute(state, value)?;
        }
        self.module.forward(x, mode)
    }

    /// The output's shape after a real run, and as propagated.
    ///
    /// # Errors
    /// What either reports.
    pub fn shapes(&self, mode: Mode) -> Result<[Shape; 2]> {
        let tape = Tape::without_recording();
        let executed = self.module.forward(&tape.input(self.input.clone()), mode)?.shape().clone();
        let propagated = self.module.propagate(self.input.shape(), &mut crate::Trace::new())?;
        Ok([executed, propagated])
    }
}

/// All layers and blocks.
pub fn layers() -> Vec<LayerEntry> {
    let entry = |name, draw| LayerEntry { name, draw };
    vec![
        entry("AvgPool2d", |g| Ok((Box::new(AvgPool2d(window(g))), shape(g, 2)?))),
        entry("BatchNorm2d", |g| {
            let shape = shape(g, 2)?;
            Ok((Box::new(BatchNorm2d::new(&BatchNormConfig::new(shape[1]))?), shape))
        }),
        entry("Block", block),
        entry("Conv2d", |g| {
            let shape = shape(g, 1)?;
            let geometry = Conv2dGeometry::new(3, 3).padding(1).stride(1 + g.below(2));
            let config = Conv2dConfig::new(shape[1], 1 + g.below(4), geometry);
            Ok((Box::new(Conv2d::new(&config, g)?), shape))
        }),
        entry("GlobalAvgPool", |g| Ok((Box::new(GlobalAvgPool), shape(g, 1)?))),
        entry("Linear", |g| {
            let [n, inputs, outputs] = [1 + g.below(3), 1 + g.below(5), 1 + g.below(5)];
            Ok((Box::new(Linear::new(inputs, outputs, g)?), Shape::new([n, inputs])?))
        }),
        entry("MaxPool2d", |g| Ok((Box::new(MaxPool2d(window(g))), shape(g, 1)?))),
        entry("Relu", |g| Ok((Box::new(Relu), shape(g, 1)?))),
        entry("Shortcut", |g| {
            let shape = shape(g, 2)?;
            let kind = [ShortcutKind::A, ShortcutKind::B, ShortcutKind::C][g.below(3)];
            let channels = [shape[1], shape[1] + g.below(3)];
            let (stride, normalized) = (1 + g.below(2), g.chance(0.5));
            Ok((Box::new(Shortcut::new(kind, channels, stride, normalized, Init::Uniform, g)?), shape))
        }),
    ]
}

/// Blocks of every kind, order, shortcut, stride placement, plain and residual.
fn block(g: &mut Generator) -> Result<Drawn> {
    let shape = shape(g, 2)?;
    let channels = 1 + g.below(3);
    let groups = 1 + g.below(2);
    let base = match g.below(2) {
        0 => BlockConfig::basic(shape[1], shape[1] + channels),
        _ => BlockConfig { groups, ..BlockConfig::bottleneck(shape[1], groups * channels) },
    };
    // Option A only adds channels.
    let kinds = if base.out_channels >= shape[1] { 3 } else { 2 };
    let config = BlockConfig {
        stride: 1 + g.below(2),
        bottleneck_stride: [BottleneckStride::V1_5, BottleneckStride::V1][g.below(2)],
        order: [BlockOrder::Post, BlockOrder::Pre][g.below(2)],
        shortcut: [ShortcutKind::B, ShortcutKind::C, ShortcutKind::A][g.below(kinds)],
        residual: g.chance(0.8),
        ..base
    };
    Ok((Box::new(Block::new(&config, g)?), shape))
}

fn window(g: &mut Generator) -> Pool2dGeometry {
    Pool2dGeometry::new(2, 3).stride(1 + g.below(2)).padding([g.below(2), g.below(2)])
}

/// `[n, c, h, w]`, small, odd, even and not square.
fn shape(g: &mut Generator, least_batch: usize) -> Result<Shape> {
    Ok(Shape::new([least_batch + g.below(2), 1 + g.below(4), 4 + g.below(3), 4 + g.below(3)])?)
}
