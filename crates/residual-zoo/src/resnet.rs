//! Residual networks and their plain twins: a stem, stages of blocks, pooling, a classifier.

use residual_autograd::Result;
use residual_nn::{
    BatchNorm2d, BatchNormConfig, BlockConfig, BlockKind, BlockOrder, Builder, Child, GlobalAvgPool, Init,
    Linear, MaxPool2d, Module, Node, Plugin, Pool2dGeometry, Scale, Sequential, ShortcutKind,
};
use residual_tensor::{Float, Generator};

use crate::{
    NetworkConfig, Stem,
    architecture::{Family, Outline},
    config::MOST_HALVINGS,
    stem::StemLayers,
    table,
};

pub(crate) struct ResNets;

impl Family for ResNets {
    fn names() -> Vec<String> {
        table::names()
    }

    fn named(name: &str) -> Option<crate::Result<NetworkConfig>> {
        table::find(name)
    }

    fn check(config: &NetworkConfig) -> std::result::Result<(), String> {
        if config.conv_mlp {
            return Err("conv_mlp is about ConvNeXts; leave it out".into());
        }
        if !config.stem.has_channels(config.stem_channels()) {
            return Err(format!("the stem has too few channels: {}", config.stem_channels()));
        }
        if Plugin::contradict(&config.plugins) {
            return Err("each plugin can be there once, and only one can take over the stride".into());
        }
        if config.block != BlockKind::Bottleneck && (config.groups, config.width_per_group) != (1, 64) {
            return Err("basic blocks have no groups and no width_per_group; use block = 'bottleneck'".into());
        }
        if config.block == BlockKind::Pooled {
            let blocks: usize = config.depths.iter().sum();
            if !config.plugins.is_empty() || config.order == BlockOrder::Pre || config.drop_path_rate > 0.0 {
                return Err(
                    "pooled blocks have no plugins and no drop_path_rate, and are not pre-activated".into()
                );
            }
            if blocks > MOST_HALVINGS {
                return Err(format!("{blocks} pooled blocks halve the picture too often; at most 8"));
            }
        }
        let is_empty = |channels: &usize| channels.saturating_mul(config.width_per_group) / 64 == 0;
        if config.block == BlockKind::Bottleneck && config.widths.iter().any(is_empty) {
            return Err(
                "a bottleneck would have no channels; widths times width_per_group must be at least 64"
                    .into(),
            );
        }
        if !config.residual && config.drop_path_rate > 0.0 {
            return Err("without shortcuts, nothing is left of a block that drop_path_rate leaves out".into());
        }
        let shrinks = |blocks: &[BlockConfig]| blocks.iter().any(|b| b.out_channels < b.in_channels);
        if config.shortcut == ShortcutKind::A
            && config.residual
            && stages(config, config.init).iter().any(|blocks| shrinks(blocks))
        {
            return Err("shortcut A can only add channels, but a stage has fewer than its input".into());
        }
        Ok(())
    }

    fn outline(config: &NetworkConfig) -> Outline {
        let layers = config.block.layers() * config.depths.iter().sum::<usize>();
        Outline {
            native_side: if matches!(config.stem, Stem::Cifar | Stem::Whitening) { 32 } else { 224 },
            smallest_input,
            first_convolution: config.stem.first_convolution(),
            stage: |number| format!("layer{}", number + 1),
            classifier: "fc",
            layers: 2 + layers,
            features: config.widths.last().map_or(0, |width| width * config.block.expansion()),
        }
    }

    /// Of a basic block the second convolution, of a bottleneck the second and the third.
    fn least_parameters_of_block(config: &NetworkConfig, channels: u128) -> u128 {
        let [groups, per_group] = [config.groups, config.width_per_group].map(|n| n as u128);
        let width = (channels.saturating_mul(per_group) / 64).saturating_mul(groups);
        match config.block {
            BlockKind::Basic | BlockKind::Pooled => channels.saturating_mul(channels).saturating_mul(9),
            BlockKind::Bottleneck => {
                let second = (width.saturating_mul(width) / groups.max(1)).saturating_mul(9);
                second.saturating_add(width.saturating_mul(channels).saturating_mul(4))
            }
        }
    }

    fn build<T: Float>(config: &NetworkConfig, init: Init, g: &mut Generator) -> Result<Box<dyn Module<T>>> {
        Ok(Box::new(ResNet::new(config, init, g)?))
    }
}

/// The smallest picture that has a pixel in every stage.
fn smallest_input(config: &NetworkConfig) -> usize {
    let halvings = match config.block {
        BlockKind::Pooled => config.depths.iter().sum(),
        BlockKind::Basic | BlockKind::Bottleneck => config.depths.len() - 1,
    };
    config.head_pool * (config.stem.reduction() << halvings) + config.stem.margin()
}

/// The blocks of each stage, in order, with these first weights.
fn stages(config: &NetworkConfig, init: Init) -> Vec<Vec<BlockConfig>> {
    let mut in_channels = config.stem_channels();
    let mut rates = config.drop_path_rates();
    let stages = config.widths.iter().zip(&config.depths).enumerate();
    let stages = stages.map(|(stage, (&channels, &depth))| {
        let out_channels = channels * config.block.expansion();
        let width = match config.block {
            BlockKind::Basic | BlockKind::Pooled => channels,
            BlockKind::Bottleneck => channels * config.width_per_group / 64 * config.groups,
        };
        let block = |(i, drop_path_rate)| BlockConfig {
            kind: config.block,
            in_channels: std::mem::replace(&mut in_channels, out_channels),
            width,
            out_channels,
            stride: if stage > 0 && i == 0 { 2 } else { 1 },
            bottleneck_stride: config.bottleneck_stride,
            groups: config.groups,
            order: config.order,
            shortcut: config.shortcut,
            residual: config.residual,
            zero_init: config.zero_init_residual,
            init,
            plugins: config.plugins.clone(),
            drop_path_rate,
        };
        rates.by_ref().take(depth).enumerate().map(block).collect()
    });
    stages.collect()
}

/// A residual network, or its plain twin.
///
/// Paths are torchvision's: `conv1`, `bn1`, `layer1.0.conv1`, …, `fc`. A pre-activated network has
/// no `bn1`, but a last normalization `norm` before pooling.
struct ResNet<T: Float> {
    stem: Child<StemLayers<T>>,
    /// `layer1`, `layer2`, …
    stages: Vec<Child<Sequential<Box<dyn Module<T>>>>>,
    norm: Option<Child<BatchNorm2d<T>>>,
    maxpool: Option<Child<MaxPool2d>>,
    avgpool: Child<GlobalAvgPool>,
    fc: Child<Linear<T>>,
    scale: Option<Child<Scale>>,
}

impl<T: Float> ResNet<T> {
    fn new(config: &NetworkConfig, init: Init, g: &mut Generator) -> Result<Self> {
        let stem = Child::new("", StemLayers::new(config, init, g)?);
        let stage = |(number, blocks): (usize, Vec<BlockConfig>)| -> Result<_> {
            let blocks = blocks.iter().map(|block| block.build(g)).collect::<Result<Vec<_>>>()?;
            Ok(Child::new(format!("layer{}", number + 1), Sequential::blocks(blocks)))
        };
        let stages = stages(config, init).into_iter().enumerate().map(stage).collect::<Result<_>>()?;
        let norm = || BatchNorm2d::new(&BatchNormConfig::new(config.features()));
        let norm = (config.order == BlockOrder::Pre).then(norm).transpose()?;
        Ok(Self {
            stem,
            stages,
            norm: norm.map(|norm| Child::new("norm", norm)),
            maxpool: (config.head_pool > 1).then(|| {
                let window = Pool2dGeometry::new(config.head_pool, config.head_pool);
                Child::new("head_pool", MaxPool2d(window.stride(config.head_pool)))
            }),
            avgpool: Child::new("avgpool", GlobalAvgPool::default()),
            fc: Child::new("fc", classifier([config.features(), config.classes], init, g)?),
            scale: (config.logit_scale != 1.0).then(|| Child::new("scale", Scale(config.logit_scale))),
        })
    }
}

/// With PyTorch's usual weights, unless there are to be none.
fn classifier<T: Float>(features: [usize; 2], init: Init, g: &mut Generator) -> Result<Linear<T>> {
    let [inputs, outputs] = features;
    match init {
        Init::Blank => Linear::with_init(features, init, g),
        _ => Linear::new(inputs, outputs, g),
    }
}

impl<T: Float> Module<T> for ResNet<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let mut y = b.call(&self.stem, x);
        for stage in &self.stages {
            y = b.call(stage, y);
        }
        if let Some(norm) = &self.norm {
            y = b.relu(b.call(norm, y));
        }
        let features = b.call(&self.avgpool, b.call_if(&self.maxpool, y));
        b.call_if(&self.scale, b.call(&self.fc, features))
    }
}
