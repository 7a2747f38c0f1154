//! ConvNeXt (Liu et al. 2022, "A ConvNet for the 2020s"): residual networks with the choices of transformers.
//!
//! Paths and numbers are timm's: `stem.0`, `stages.0.blocks.0.conv_dw`, …, `head.fc`.

use residual_autograd::Result;
use residual_nn::{
    Builder, Child, Conv2d, Conv2dConfig, Conv2dGeometry, DropPath, GlobalAvgPool, Init, LayerNorm,
    LayerScale, Linear, Module, Node, Sequential,
};
use residual_tensor::{Float, Generator};

use crate::{
    Architecture, NetworkConfig,
    architecture::{Family, Outline},
};

/// The table: names, depths, widths, and whether layers of pixels are written as convolutions.
const NETWORKS: &[(&str, [usize; 4], [usize; 4], bool)] = &[
    ("convnext_atto", [2, 2, 6, 2], [40, 80, 160, 320], true),
    ("convnext_femto", [2, 2, 6, 2], [48, 96, 192, 384], true),
    ("convnext_pico", [2, 2, 6, 2], [64, 128, 256, 512], true),
    ("convnext_nano", [2, 2, 8, 2], [80, 160, 320, 640], true),
    ("convnext_tiny", [3, 3, 9, 3], [96, 192, 384, 768], false),
    ("convnext_small", [3, 3, 27, 3], [96, 192, 384, 768], false),
    ("convnext_base", [3, 3, 27, 3], [128, 256, 512, 1024], false),
    ("convnext_large", [3, 3, 27, 3], [192, 384, 768, 1536], false),
    ("convnext_xlarge", [3, 3, 27, 3], [256, 512, 1024, 2048], false),
];

/// Added to variances.
const EPS: f64 = 1e-6;
/// The first value of a branch's factors.
const LAYER_SCALE: f64 = 1e-6;
/// How many times as many channels there are inside of a branch.
const EXPANSION: usize = 4;

pub(crate) struct ConvNeXts;

impl Family for ConvNeXts {
    fn names() -> Vec<String> {
        NETWORKS.iter().map(|(name, ..)| (*name).to_owned()).collect()
    }

    fn named(name: &str) -> Option<crate::Result<NetworkConfig>> {
        let (_, depths, widths, conv_mlp) = NETWORKS.iter().find(|(known, ..)| *known == name)?;
        let row = NetworkConfig::row(name, Architecture::ConvNeXt, depths, widths);
        Some(Ok(NetworkConfig { conv_mlp: *conv_mlp, ..row }))
    }

    fn check(config: &NetworkConfig) -> std::result::Result<(), String> {
        let &NetworkConfig { conv_mlp, drop_path_rate, input_channels, classes, .. } = config;
        let row = NetworkConfig::row(&config.name, Architecture::ConvNeXt, &config.depths, &config.widths);
        if *config == (NetworkConfig { conv_mlp, drop_path_rate, input_channels, classes, ..row }) {
            return Ok(());
        }
        Err("a ConvNeXt is described by depths, widths, conv_mlp and drop_path_rate alone".into())
    }

    fn outline(config: &NetworkConfig) -> Outline {
        Outline {
            native_side: 224,
            smallest_input: |config| 4 << (config.depths.len() - 1),
            first_convolution: "stem.0",
            stage: |number| format!("stages.{number}"),
            classifier: "head.fc",
            // A stem, a downsampling before all stages but the first, the classifier.
            layers: 3 * config.depths.iter().sum::<usize>() + config.depths.len() + 1,
            features: config.widths.last().copied().unwrap_or(0),
        }
    }

    fn least_parameters_of_block(_config: &NetworkConfig, channels: u128) -> u128 {
        channels.saturating_mul(channels).saturating_mul(2 * EXPANSION as u128)
    }

    fn build<T: Float>(config: &NetworkConfig, init: Init, g: &mut Generator) -> Result<Box<dyn Module<T>>> {
        Ok(Box::new(ConvNeXt::new(config, if init == Init::Blank { init } else { Init::Narrow }, g)?))
    }
}

/// Layers of any kind, one after the other.
type Layers<T> = Sequential<Box<dyn Module<T>>>;

/// `[n, input_channels, h, w]` to `[n, classes]`.
struct ConvNeXt<T: Float> {
    stem: Child<Layers<T>>,
    /// `0`, `1`, …
    stages: Child<Sequential<Stage<T>>>,
    global_pool: Child<GlobalAvgPool>,
    norm: Child<LayerNorm<T>>,
    fc: Child<Linear<T>>,
}

impl<T: Float> ConvNeXt<T> {
    fn new(config: &NetworkConfig, init: Init, g: &mut Generator) -> Result<Self> {
        let widths = &config.widths;
        let squares = patches([config.input_channels, widths[0]], 4, init, g)?;
        let norm = LayerNorm::new(widths[0], EPS)?.of_pixels();
        let stem: [Box<dyn Module<T>>; 2] = [Box::new(squares), Box::new(norm)];
        let mut rates = config.drop_path_rates();
        let mut before = widths[0];
        let mut stages = Vec::new();
        for (&channels, &depth) in widths.iter().zip(&config.depths) {
            let block = |rate| Block::new(channels, config.conv_mlp, rate, init, g);
            let blocks = rates.by_ref().take(depth).map(block).collect::<Result<Vec<_>>>()?;
            let downsample = if stages.is_empty() {
                None
            } else {
                let norm = LayerNorm::new(before, EPS)?.of_pixels();
                let layers: [Box<dyn Module<T>>; 2] =
                    [Box::new(norm), Box::new(patches([before, channels], 2, init, g)?)];
                Some(Child::new("downsample", Sequential::numbered(layers)))
            };
            stages.push(Stage { downsample, blocks: Child::new("blocks", Sequential::blocks(blocks)) });
            before = channels;
        }
        Ok(Self {
            stem: Child::new("stem", Sequential::numbered(stem)),
            stages: Child::new("stages", Sequential::numbered(stages)),
            global_pool: Child::new("head.global_pool", GlobalAvgPool::default()),
            norm: Child::new("head.norm", LayerNorm::new(before, EPS)?),
            fc: Child::new("head.fc", Linear::with_init([before, config.classes], init, g)?),
        })
    }
}

impl<T: Float> Module<T> for ConvNeXt<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let y = b.call(&self.stages, b.call(&self.stem, x));
        let y = b.call(&self.norm, b.call(&self.global_pool, y));
        b.call(&self.fc, y)
    }
}

/// A convolution that sees each square of so many pixels once.
fn patches<T: Float>(
    [from, to]: [usize; 2],
    side: usize,
    init: Init,
    g: &mut Generator,
) -> Result<Conv2d<T>> {
    let geometry = Conv2dGeometry::new(side, side).stride(side);
    Conv2d::new(&Conv2dConfig::new(from, to, geometry).bias().init(init), g)
}

/// Half of the height and width, but for the first stage; then blocks.
struct Stage<T: Float> {
    downsample: Option<Child<Layers<T>>>,
    blocks: Child<Sequential<Block<T>>>,
}

impl<T: Float> Module<T> for Stage<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        b.call(&self.blocks, b.call_if(&self.downsample, x))
    }
}

/// A depth-wise 7×7 convolution, and two layers that treat each pixel by itself (figure 4, right):
/// `[n, c, h, w]`, unchanged.
struct Block<T: Float> {
    conv_dw: Child<Conv2d<T>>,
    norm: Child<LayerNorm<T>>,
    fc1: Child<Box<dyn Module<T>>>,
    fc2: Child<Box<dyn Module<T>>>,
    gamma: LayerScale<T>,
    drop_path: Option<Child<DropPath>>,
}

impl<T: Float> Block<T> {
    fn new(channels: usize, conv_mlp: bool, rate: f64, init: Init, g: &mut Generator) -> Result<Self> {
        let depth_wise = Conv2dGeometry::new(7, 7).padding(3).groups(channels);
        let depth_wise = Conv2dConfig::new(channels, channels, depth_wise).bias().init(init);
        let conv_dw = Child::new("conv_dw", Conv2d::new(&depth_wise, g)?);
        let mut layer = |name: &'static str, from: usize, to: usize| -> Result<_> {
            let layer: Box<dyn Module<T>> = if conv_mlp {
                Box::new(Conv2d::new(&Conv2dConfig::one(from, to).bias().init(init), g)?)
            } else {
                Box::new(Linear::with_init([from, to], init, g)?.of_pixels())
            };
            Ok(Child::new(name, layer))
        };
        Ok(Self {
            conv_dw,
            norm: Child::new("norm", LayerNorm::new(channels, EPS)?.of_pixels()),
            fc1: layer("mlp.fc1", channels, EXPANSION * channels)?,
            fc2: layer("mlp.fc2", EXPANSION * channels, channels)?,
            gamma: LayerScale::new(channels, LAYER_SCALE)?,
            drop_path: (rate > 0.0).then(|| Child::new("drop_path", DropPath { rate })),
        })
    }
}

impl<T: Float> Module<T> for Block<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let y = b.call(&self.norm, b.call(&self.conv_dw, x));
        let y = b.call(&self.fc2, b.gelu(b.call(&self.fc1, y)));
        let y = b.apply(self.gamma.clone(), &[y]);
        b.add(b.call_if(&self.drop_path, y), x)
    }

    fn kind(&self) -> &'static str {
        "residual block"
    }
}
