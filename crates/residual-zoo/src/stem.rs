//! How networks begin: the table of stems. A new stem is a row, not a module.

use residual_autograd::Result;
use residual_nn::{
    BatchNorm2d, BatchNormConfig, BlockOrder, Builder, Child, Conv2d, Conv2dConfig, Conv2dGeometry, Init,
    MaxPool2d, Module, Node, Pool2dGeometry, Relu, Sequential,
};
use residual_tensor::{Float, Generator};
use serde::{Deserialize, Serialize};

use crate::NetworkConfig;

/// How a network begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    #[default]
    /// 7×7 convolution with stride 2, then 3×3 max pooling with stride 2: for pictures of 224².
    ImageNet,
    /// 3×3 convolution: for pictures of about 32².
    Cifar,
    /// Three 3×3 convolutions in place of the 7×7, the first two with half of the channels (He et al. 2019,
    /// "Bag of Tricks", figure 2b).
    Deep,
    /// The same with ⅜, ½ and all of the channels.
    Tiered,
    /// 2×2 convolution without padding or normalization, of two channels for each value of its window: for
    /// filters that whiten pictures of about 32², each with both signs (Page 2019; Jordan 2024). Training
    /// computes them from the pictures.
    Whitening,
}

/// What a stem consists of.
struct Row {
    /// Its convolutions, between which stand normalization and ReLU.
    convolutions: Vec<Convolution>,
    /// Whether 3×3 max pooling with stride 2 follows.
    pools: bool,
    /// Whether convolutions are padded by half of their window, and normalized.
    is_usual: bool,
}

impl Row {
    /// Three convolutions of 3×3 with these channels, of which the first has the stride.
    fn deep(first: usize, second: usize, third: usize) -> Self {
        let convolutions =
            vec![convolution(3, 2, first), convolution(3, 1, second), convolution(3, 1, third)];
        Self { convolutions, pools: true, is_usual: true }
    }
}

/// A convolution of a stem.
struct Convolution {
    kernel: usize,
    stride: usize,
    channels: usize,
}

fn convolution(kernel: usize, stride: usize, channels: usize) -> Convolution {
    Convolution { kernel, stride, channels }
}

impl Stem {
    /// The stem that ends with so many channels.
    fn row(self, channels: usize) -> Row {
        match self {
            Self::ImageNet => {
                Row { convolutions: vec![convolution(7, 2, channels)], pools: true, is_usual: true }
            }
            Self::Cifar => {
                Row { convolutions: vec![convolution(3, 1, channels)], pools: false, is_usual: true }
            }
            Self::Whitening => {
                Row { convolutions: vec![convolution(2, 1, channels)], pools: false, is_usual: false }
            }
            Self::Deep => Row::deep(channels / 2, channels / 2, channels),
            Self::Tiered => Row::deep(channels / 8 * 3, channels / 2, channels),
        }
    }

    /// How much height and width shrink.
    pub(crate) fn reduction(self) -> usize {
        let Row { convolutions, pools, .. } = self.row(1);
        let strides: usize = convolutions.iter().map(|convolution| convolution.stride).product();
        if pools { 2 * strides } else { strides }
    }

    /// Pixels that a row or column of the picture loses before it shrinks.
    pub(crate) fn margin(self) -> usize {
        match self {
            Self::Whitening => 1,
            Self::ImageNet | Self::Cifar | Self::Deep | Self::Tiered => 0,
        }
    }

    /// The number of channels at the end that follows from those of the input, if it does.
    pub(crate) fn channels_for(self, input_channels: usize) -> Option<usize> {
        (self == Self::Whitening).then_some(8 * input_channels)
    }

    /// Whether each convolution has channels, if there are so many at the end.
    pub(crate) fn has_channels(self, channels: usize) -> bool {
        self.row(channels).convolutions.iter().all(|convolution| convolution.channels > 0)
    }

    /// The path of the first convolution.
    pub(crate) fn first_convolution(self) -> &'static str {
        if self.row(1).convolutions.len() == 1 { "conv1" } else { "conv1.0" }
    }
}

/// The layers of a stem: `[n, input_channels, h, w]` to `[n, stem_channels, h / reduction, …]`.
pub(crate) struct StemLayers<T: Float> {
    conv1: Child<Box<dyn Module<T>>>,
    bn1: Option<Child<BatchNorm2d<T>>>,
    relu: bool,
    maxpool: Option<Child<Box<dyn Module<T>>>>,
}

impl<T: Float> StemLayers<T> {
    pub(crate) fn new(config: &NetworkConfig, init: Init, g: &mut Generator) -> Result<Self> {
        let channels = config.stem_channels();
        let Row { convolutions, pools, is_usual } = config.stem.row(channels);
        let norm = |channels: usize| BatchNorm2d::new(&BatchNormConfig::new(channels));
        let mut layers: Vec<Box<dyn Module<T>>> = Vec::new();
        let mut before = config.input_channels;
        for Convolution { kernel, stride, channels } in convolutions {
            if !layers.is_empty() {
                layers.push(Box::new(norm(before)?));
                layers.push(Box::new(Relu));
            }
            let padding = if is_usual { kernel / 2 } else { 0 };
            let geometry = Conv2dGeometry::new(kernel, kernel).stride(stride).padding(padding);
            let convolution = Conv2dConfig::new(before, channels, geometry).init(init);
            layers.push(Box::new(Conv2d::new(&convolution, g)?));
            before = channels;
        }
        let conv1: Box<dyn Module<T>> = match layers.len() {
            1 => layers.remove(0),
            _ => Box::new(Sequential::numbered(layers)),
        };
        let has_norm = config.order == BlockOrder::Post && is_usual;
        let norm = has_norm.then(|| norm(channels)).transpose()?;
        let maxpool = || {
            let changed = config.plugins.iter().find_map(|plugin| plugin.stem_pool(channels));
            let pool = MaxPool2d(Pool2dGeometry::new(3, 3).stride(2).padding(1));
            Child::new("maxpool", changed.unwrap_or(Box::new(pool)))
        };
        Ok(Self {
            conv1: Child::new("conv1", conv1),
            bn1: norm.map(|norm| Child::new("bn1", norm)),
            relu: config.order == BlockOrder::Post,
            maxpool: pools.then(maxpool),
        })
    }
}

impl<T: Float> Module<T> for StemLayers<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let mut y = b.call(&self.conv1, x);
        y = b.call_if(&self.bn1, y);
        if self.relu {
            y = b.relu(y);
        }
        b.call_if(&self.maxpool, y)
    }
}
