//! The building block: two or three convolutions and a shortcut around them.

use residual_autograd::Result;
use residual_tensor::{Float, Generator, Shape};
use serde::{Deserialize, Serialize};

use crate::{
    BatchNorm2d, BatchNormConfig, Builder, Child, Conv2d, Conv2dConfig, Fan, Init, Module, Node, PooledBlock,
    Shortcut, ShortcutKind,
    plugin::{Plugin, Plugins},
    registry::{Sample, draw},
};

/// The main branch of a block (He et al. 2015, figure 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    #[default]
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1 that reduces, 3×3, 1×1 that expands.
    Bottleneck,
    /// A 3×3 and the maximum of 2×2 pixels, which does not belong to the branch; then a 3×3, and a shortcut
    /// around it alone: [`PooledBlock`](crate::PooledBlock).
    Pooled,
}

impl BlockKind {
    /// Output channels over the channels that the stage is named by.
    pub fn expansion(self) -> usize {
        match self {
            Self::Basic | Self::Pooled => 1,
            Self::Bottleneck => 4,
        }
    }

    /// Convolutions of the main branch.
    pub fn layers(self) -> usize {
        match self {
            Self::Basic | Self::Pooled => 2,
            Self::Bottleneck => 3,
        }
    }
}

/// Which convolution of a bottleneck has the stride. Shapes and keys agree, results do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BottleneckStride {
    /// The first 1×1, as in the paper.
    V1,
    /// The 3×3, as in torchvision ("ResNet v1.5").
    #[default]
    #[serde(rename = "v1.5")]
    V1_5,
}

/// Where normalization and activation stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockOrder {
    #[default]
    /// After the convolutions; the sum is activated (He et al. 2015).
    Post,
    /// Before them; the sum goes on as it is (He et al. 2016, "Identity Mappings").
    Pre,
}

/// What a block is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockConfig {
    /// The main branch.
    pub kind: BlockKind,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels between the convolutions.
    pub width: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// How much height and width shrink.
    pub stride: usize,
    /// Which convolution of a bottleneck shrinks them.
    pub bottleneck_stride: BottleneckStride,
    /// Groups of the bottleneck's 3×3 (Xie et al. 2017, "ResNeXt").
    pub groups: usize,
    /// Where normalization and activation stand.
    pub order: BlockOrder,
    /// The shortcut.
    pub shortcut: ShortcutKind,
    /// Whether there is a shortcut at all; without, this is a plain net's block.
    pub residual: bool,
    /// Whether the last γ starts at 0, so that the block starts as its shortcut
    /// (Goyal et al. 2017).
    pub zero_init: bool,
    /// First weights of the convolutions.
    pub init: Init,
    /// What else there is in the branch.
    pub plugins: Vec<Plugin>,
    /// How often training leaves out the branch of a sample ([`DropPath`](crate::DropPath)).
    pub drop_path_rate: f64,
}

impl BlockConfig {
    /// Two 3×3 convolutions with a shortcut of kind B.
    pub fn basic(in_channels: usize, out_channels: usize) -> Self {
        Self {
            kind: BlockKind::Basic,
            in_channels,
            width: out_channels,
            out_channels,
            stride: 1,
            bottleneck_stride: BottleneckStride::V1_5,
            groups: 1,
            order: BlockOrder::Post,
            shortcut: ShortcutKind::B,
            residual: true,
            zero_init: false,
            init: Init::He(Fan::Out),
            plugins: Vec::new(),
            drop_path_rate: 0.0,
        }
    }

    /// 1×1 to `width`, 3×3, 1×1 to `4·width`, with a shortcut of kind B and the stride in the 3×3.
    pub fn bottleneck(in_channels: usize, width: usize) -> Self {
        let out_channels = width * BlockKind::Bottleneck.expansion();
        Self { kind: BlockKind::Bottleneck, width, ..Self::basic(in_channels, out_channels) }
    }

    /// Sets the stride.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The block with new weights.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn build<T: Float>(&self, g: &mut Generator) -> Result<Box<dyn Module<T>>> {
        Ok(match (self.kind, self.order) {
            (BlockKind::Pooled, _) => Box::new(PooledBlock::new(self, g)?),
            (BlockKind::Basic, BlockOrder::Post) => Box::new(BasicBlock::new(self, g)?),
            (BlockKind::Bottleneck, BlockOrder::Post) => Box::new(Bottleneck::new(self, g)?),
            (BlockKind::Basic, BlockOrder::Pre) => Box::new(PreBasicBlock::new(self, g)?),
            (BlockKind::Bottleneck, BlockOrder::Pre) => Box::new(PreBottleneck::new(self, g)?),
        })
    }

    /// The strides of the branch's convolutions. One that a plugin takes over is 1.
    fn strides(&self) -> [usize; 2] {
        let stride = if self.plugins.iter().any(|plugin| plugin.strides()) { 1 } else { self.stride };
        match (self.kind, self.bottleneck_stride) {
            (BlockKind::Bottleneck, BottleneckStride::V1_5) => [1, stride],
            (BlockKind::Basic | BlockKind::Pooled, _) | (BlockKind::Bottleneck, BottleneckStride::V1) => {
                [stride, 1]
            }
        }
    }

    pub(crate) fn conv<T: Float>(
        &self,
        name: &'static str,
        conv: Conv2dConfig,
        g: &mut Generator,
    ) -> Named<Conv2d<T>> {
        Ok(Child::new(name, Conv2d::new(&conv.init(self.init), g)?))
    }

    pub(crate) fn norm<T: Float>(&self, name: &'static str, channels: usize) -> Named<BatchNorm2d<T>> {
        Ok(Child::new(name, BatchNorm2d::new(&BatchNormConfig::new(channels))?))
    }

    /// The last normalization of a branch, whose γ may start at 0.
    pub(crate) fn last_norm<T: Float>(&self, name: &'static str, channels: usize) -> Named<BatchNorm2d<T>> {
        let gamma = if self.zero_init { 0.0 } else { 1.0 };
        Ok(Child::new(name, BatchNorm2d::new(&BatchNormConfig::new(channels).gamma(gamma))?))
    }

    /// The shortcut, unless the block is plain.
    fn shortcut<T: Float>(&self, g: &mut Generator) -> Result<Option<Child<Shortcut<T>>>> {
        let channels = [self.in_channels, self.out_channels];
        let normalized = self.order == BlockOrder::Post;
        let new = |()| Shortcut::new(self.shortcut, channels, self.stride, normalized, self.init, g);
        let shortcut = self.residual.then_some(()).map(new).transpose()?;
        Ok(shortcut.map(|shortcut| Child::new("downsample", shortcut)))
    }
}

/// A new layer with its name.
pub(crate) type Named<M> = Result<Child<M>>;

/// The branch `y` plus the shortcut around it; the branch alone in a plain block.
fn join<T: Float>(b: &Builder<T>, y: Node, shortcut: &Option<Child<Shortcut<T>>>, x: Node) -> Node {
    match shortcut {
        Some(shortcut) => b.add(y, b.call(shortcut, x)),
        None => y,
    }
}

fn kind<T: Float>(shortcut: &Option<Child<Shortcut<T>>>) -> &'static str {
    if shortcut.is_some() { "residual block" } else { "plain block" }
}

/// Two 3×3 convolutions (He et al. 2015, figure 5, left): `[n, in_channels, h, w]` to
/// `[n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]`, as every block.
pub struct BasicBlock<T: Float> {
    conv1: Child<Conv2d<T>>,
    bn1: Child<BatchNorm2d<T>>,
    conv2: Child<Conv2d<T>>,
    bn2: Child<BatchNorm2d<T>>,
    shortcut: Option<Child<Shortcut<T>>>,
    plugins: Plugins<T>,
}

impl<T: Float> BasicBlock<T> {
    /// A block with new weights.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(config: &BlockConfig, g: &mut Generator) -> Result<Self> {
        let &BlockConfig { in_channels, width, out_channels, .. } = config;
        let [first, second] = config.strides();
        Ok(Self {
            conv1: config.conv("conv1", Conv2dConfig::three(in_channels, width).stride(first), g)?,
            bn1: config.norm("bn1", width)?,
            conv2: config.conv("conv2", Conv2dConfig::three(width, out_channels).stride(second), g)?,
            bn2: config.last_norm("bn2", out_channels)?,
            shortcut: config.shortcut(g)?,
            plugins: Plugins::new(config, g)?,
        })
    }
}

impl<T: Float> Module<T> for BasicBlock<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let y = b.relu(b.call(&self.bn1, b.call(&self.conv1, x)));
        let y = b.call(&self.plugins.stride, y);
        let y = b.call(&self.bn2, b.call(&self.conv2, y));
        let y = b.call(&self.plugins.end, y);
        b.relu(join(b, y, &self.shortcut, x))
    }

    fn kind(&self) -> &'static str {
        kind(&self.shortcut)
    }
}

/// 1×1 that reduces, 3×3, 1×1 that expands (He et al. 2015, figure 5, right).
pub struct Bottleneck<T: Float> {
    conv1: Child<Conv2d<T>>,
    bn1: Child<BatchNorm2d<T>>,
    conv2: Child<Conv2d<T>>,
    bn2: Child<BatchNorm2d<T>>,
    conv3: Child<Conv2d<T>>,
    bn3: Child<BatchNorm2d<T>>,
    shortcut: Option<Child<Shortcut<T>>>,
    plugins: Plugins<T>,
}

impl<T: Float> Bottleneck<T> {
    /// A block with new weights.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(config: &BlockConfig, g: &mut Generator) -> Result<Self> {
        let &BlockConfig { in_channels, width, out_channels, groups, .. } = config;
        let [first, second] = config.strides();
        let three = Conv2dConfig::three(width, width).stride(second).groups(groups);
        Ok(Self {
            conv1: config.conv("conv1", Conv2dConfig::one(in_channels, width).stride(first), g)?,
            bn1: config.norm("bn1", width)?,
            conv2: config.conv("conv2", three, g)?,
            bn2: config.norm("bn2", width)?,
            conv3: config.conv("conv3", Conv2dConfig::one(width, out_channels), g)?,
            bn3: config.last_norm("bn3", out_channels)?,
            shortcut: config.shortcut(g)?,
            plugins: Plugins::new(config, g)?,
        })
    }
}

impl<T: Float> Module<T> for Bottleneck<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let y = b.relu(b.call(&self.bn1, b.call(&self.conv1, x)));
        let y = b.relu(b.call(&self.bn2, b.call(&self.conv2, y)));
        let y = b.call(&self.plugins.stride, y);
        let y = b.call(&self.bn3, b.call(&self.conv3, y));
        let y = b.call(&self.plugins.end, y);
        b.relu(join(b, y, &self.shortcut, x))
    }

    fn kind(&self) -> &'static str {
        kind(&self.shortcut)
    }
}

/// Two 3×3 convolutions, each behind its normalization and ReLU (He et al. 2016, figure 1, right). A
/// projection sees the activated input, identity the input itself.
pub struct PreBasicBlock<T: Float> {
    bn1: Child<BatchNorm2d<T>>,
    conv1: Child<Conv2d<T>>,
    bn2: Child<BatchNorm2d<T>>,
    conv2: Child<Conv2d<T>>,
    shortcut: Option<Child<Shortcut<T>>>,
    plugins: Plugins<T>,
}

impl<T: Float> PreBasicBlock<T> {
    /// A block with new weights.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(config: &BlockConfig, g: &mut Generator) -> Result<Self> {
        let &BlockConfig { in_channels, width, out_channels, .. } = config;
        let [first, second] = config.strides();
        Ok(Self {
            bn1: config.norm("bn1", in_channels)?,
            conv1: config.conv("conv1", Conv2dConfig::three(in_channels, width).stride(first), g)?,
            bn2: config.last_norm("bn2", width)?,
            conv2: config.conv("conv2", Conv2dConfig::three(width, out_channels).stride(second), g)?,
            shortcut: config.shortcut(g)?,
            plugins: Plugins::new(config, g)?,
        })
    }
}

impl<T: Float> Module<T> for PreBasicBlock<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let activated = b.relu(b.call(&self.bn1, x));
        let y = b.call(&self.conv1, activated);
        let y = b.call(&self.plugins.stride, b.relu(b.call(&self.bn2, y)));
        let y = b.call(&self.plugins.end, b.call(&self.conv2, y));
        join(b, y, &self.shortcut, Shortcut::pre_activated(&self.shortcut, x, activated))
    }

    fn kind(&self) -> &'static str {
        kind(&self.shortcut)
    }
}

/// 1×1, 3×3, 1×1, each behind its normalization and ReLU (He et al. 2016). A projection sees the activated
/// input, identity the input itself.
pub struct PreBottleneck<T: Float> {
    bn1: Child<BatchNorm2d<T>>,
    conv1: Child<Conv2d<T>>,
    bn2: Child<BatchNorm2d<T>>,
    conv2: Child<Conv2d<T>>,
    bn3: Child<BatchNorm2d<T>>,
    conv3: Child<Conv2d<T>>,
    shortcut: Option<Child<Shortcut<T>>>,
    plugins: Plugins<T>,
}

impl<T: Float> PreBottleneck<T> {
    /// A block with new weights.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(config: &BlockConfig, g: &mut Generator) -> Result<Self> {
        let &BlockConfig { in_channels, width, out_channels, groups, .. } = config;
        let [first, second] = config.strides();
        let three = Conv2dConfig::three(width, width).stride(second).groups(groups);
        Ok(Self {
            bn1: config.norm("bn1", in_channels)?,
            conv1: config.conv("conv1", Conv2dConfig::one(in_channels, width).stride(first), g)?,
            bn2: config.norm("bn2", width)?,
            conv2: config.conv("conv2", three, g)?,
            bn3: config.last_norm("bn3", width)?,
            conv3: config.conv("conv3", Conv2dConfig::one(width, out_channels), g)?,
            shortcut: config.shortcut(g)?,
            plugins: Plugins::new(config, g)?,
        })
    }
}

impl<T: Float> Module<T> for PreBottleneck<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let activated = b.relu(b.call(&self.bn1, x));
        let y = b.call(&self.conv1, activated);
        let y = b.call(&self.conv2, b.relu(b.call(&self.bn2, y)));
        let y = b.call(&self.plugins.stride, b.relu(b.call(&self.bn3, y)));
        let y = b.call(&self.plugins.end, b.call(&self.conv3, y));
        join(b, y, &self.shortcut, Shortcut::pre_activated(&self.shortcut, x, activated))
    }

    fn kind(&self) -> &'static str {
        kind(&self.shortcut)
    }
}

/// Of every kind, order, shortcut, stride placement and plugin, plain and residual.
impl Sample for Box<dyn Module<f64>> {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let shape = draw::shape(g, 2)?;
        let channels = 1 + g.below(3);
        let groups = 1 + g.below(2);
        let base = match g.below(3) {
            0 => BlockConfig { kind: BlockKind::Pooled, ..BlockConfig::basic(shape[1], shape[1] + channels) },
            1 => BlockConfig::basic(shape[1], shape[1] + channels),
            _ => BlockConfig { groups, ..BlockConfig::bottleneck(shape[1], groups * channels) },
        };
        let residual = g.chance(0.8);
        // Option A only adds channels.
        let kinds = if base.out_channels >= shape[1] { 4 } else { 3 };
        let config = BlockConfig {
            stride: 1 + g.below(2),
            bottleneck_stride: [BottleneckStride::V1_5, BottleneckStride::V1][g.below(2)],
            order: [BlockOrder::Post, BlockOrder::Pre][g.below(2)],
            shortcut: [ShortcutKind::B, ShortcutKind::C, ShortcutKind::D, ShortcutKind::A][g.below(kinds)],
            residual,
            plugins: Plugin::sample(g),
            drop_path_rate: if residual && g.chance(0.3) { 0.2 } else { 0.0 },
            // Small, so that difference quotients see little of what bends.
            init: Init::Uniform,
            ..base
        };
        Ok((config.build(g)?, shape))
    }
}
