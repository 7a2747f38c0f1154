//! The building block: two or three convolutions and a shortcut around them.

use residual_autograd::{Result, Var};
use residual_kernels::KernelError;
use residual_tensor::{Float, Generator, Shape};
use serde::{Deserialize, Serialize};

use crate::{
    BatchNorm2d, BatchNormConfig, Conv2d, Conv2dConfig, Fan, GraphBuilder, Init, Mode, Module, NodeId, Op,
    Shortcut, ShortcutKind, Trace, Visitor, conv_norm, norm_relu,
};

/// The main branch of a block (He et al. 2015, figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1 that reduces, 3×3, 1×1 that expands.
    Bottleneck,
}

impl BlockKind {
    /// Output channels over the channels that the stage is named by.
    pub fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    /// Convolutions of the main branch.
    pub fn layers(self) -> usize {
        match self {
            Self::Basic => 2,
            Self::Bottleneck => 3,
        }
    }
}

/// Which convolution of a bottleneck has the stride. Shapes and keys agree, results do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BottleneckStride {
    /// The first 1×1, as in the paper.
    V1,
    /// The 3×3, as in torchvision ("ResNet v1.5").
    #[serde(rename = "v1.5")]
    V1_5,
}

/// Where normalization and activation stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockOrder {
    /// After the convolutions; the sum is activated (He et al. 2015).
    Post,
    /// Before them; the sum goes on as it is (He et al. 2016, "Identity Mappings").
    Pre,
}

/// What a [`Block`] is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The convolutions of the main branch.
    fn convolutions(&self) -> Vec<Conv2dConfig> {
        let &Self { in_channels, width, out_channels, stride, groups, .. } = self;
        let (first, second) = match self.bottleneck_stride {
            BottleneckStride::V1 => (stride, 1),
            BottleneckStride::V1_5 => (1, stride),
        };
        let branch = match self.kind {
            BlockKind::Basic => vec![
                Conv2dConfig::three(in_channels, width).stride(stride),
                Conv2dConfig::three(width, out_channels),
            ],
            BlockKind::Bottleneck => vec![
                Conv2dConfig::one(in_channels, width).stride(first),
                Conv2dConfig::three(width, width).stride(second).groups(groups),
                Conv2dConfig::one(width, out_channels),
            ],
        };
        branch.into_iter().map(|convolution| convolution.init(self.init)).collect()
    }
}

/// A residual block, or a plain one.
#[derive(Debug, Clone)]
pub struct Block<T: Float> {
    /// The main branch: `conv1`, `bn1`, `conv2`, …
    branch: Vec<(Conv2d<T>, BatchNorm2d<T>)>,
    /// `downsample`; none in a plain block.
    shortcut: Option<Shortcut<T>>,
    order: BlockOrder,
}

impl<T: Float> Block<T> {
    /// A block with new weights.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(config: &BlockConfig, generator: &mut Generator) -> Result<Self> {
        let convolutions = config.convolutions();
        let last = convolutions.len() - 1;
        let branch = convolutions.iter().enumerate().map(|(i, convolution)| {
            let channels = match config.order {
                BlockOrder::Post => convolution.out_channels,
                BlockOrder::Pre => convolution.in_channels,
            };
            let gamma = if config.zero_init && i == last { 0.0 } else { 1.0 };
            let norm = BatchNorm2d::new(&BatchNormConfig::new(channels).gamma(gamma))?;
            Ok((Conv2d::new(convolution, generator)?, norm))
        });
        let branch = branch.collect::<Result<_>>()?;
        let shortcut = config.residual.then(|| {
            let channels = [config.in_channels, config.out_channels];
            let normalized = config.order == BlockOrder::Post;
            Shortcut::new(config.shortcut, channels, config.stride, normalized, config.init, generator)
        });
        Ok(Self { branch, shortcut: shortcut.transpose()?, order: config.order })
    }

    /// The shortcut, if this is not a plain block.
    pub fn shortcut(&self) -> Option<&Shortcut<T>> {
        self.shortcut.as_ref()
    }

    fn forward_post(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        let mut y = x.clone();
        for (i, ((conv, norm), (conv_name, norm_name))) in self.branch.iter().zip(self.names()).enumerate() {
            let shortcut = self.shortcut.as_ref().filter(|_| i + 1 == self.branch.len());
            let addend = shortcut.map(|shortcut| shortcut.call("downsample", x, mode)).transpose()?;
            y = conv_norm((&conv_name, conv), (&norm_name, norm), &y, mode, addend.as_ref(), true)?;
        }
        Ok(y)
    }

    fn forward_pre(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        let mut y = x.clone();
        let mut shortcut_input = x.clone();
        for (i, ((conv, norm), (conv_name, norm_name))) in self.branch.iter().zip(self.names()).enumerate() {
            y = norm_relu((&norm_name, norm), &y, mode)?;
            // A projection sees the activated input, identity the input itself.
            if i == 0 && matches!(self.shortcut, Some(Shortcut::Projection(..))) {
                shortcut_input = y.clone();
            }
            y = conv.call(&conv_name, &y, mode)?;
        }
        match &self.shortcut {
            Some(shortcut) => y.add(&shortcut.call("downsample", &shortcut_input, mode)?),
            None => Ok(y),
        }
    }

    fn names(&self) -> impl Iterator<Item = (String, String)> {
        (1..=self.branch.len()).map(|i| (format!("conv{i}"), format!("bn{i}")))
    }
}

impl<T: Float> Module<T> for Block<T> {
    /// `relu(residual(x) + shortcut(x))`, or, pre-activated, `residual(x) + shortcut(x)`.
    ///
    /// # Shapes
    /// `[n, in_channels, h, w]` to `[n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]`.
    fn forward(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        match self.order {
            BlockOrder::Post => self.forward_post(x, mode),
            BlockOrder::Pre => self.forward_pre(x, mode),
        }
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        let mut shape = input.clone();
        for ((conv, norm), (conv_name, norm_name)) in self.branch.iter().zip(self.names()) {
            match self.order {
                BlockOrder::Post => {
                    shape = trace.child(&conv_name, conv, &shape)?;
                    shape = trace.child(&norm_name, norm, &shape)?;
                }
                BlockOrder::Pre => {
                    shape = trace.child(&norm_name, norm, &shape)?;
                    shape = trace.child(&conv_name, conv, &shape)?;
                }
            }
        }
        let Some(shortcut) = &self.shortcut else {
            return Ok(trace.layer("plain block", "", [input, &shape], 0, 0));
        };
        let other = trace.child("downsample", shortcut, input)?;
        KernelError::unless_same("add", ("residual", &shape), ("shortcut", &other))?;
        Ok(trace.layer("residual block", "", [input, &shape], 0, 0))
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        let (mut y, mut shortcut_input) = (x, x);
        let last = self.branch.len() - 1;
        let relu = |i: usize| format!("relu{}", i + 1);
        for (i, ((conv, norm), (conv_name, norm_name))) in self.branch.iter().zip(self.names()).enumerate() {
            match self.order {
                BlockOrder::Post => {
                    y = graph.child(&conv_name, conv, y);
                    y = graph.child(&norm_name, norm, y);
                    if i < last {
                        y = graph.push(&relu(i), Op::Relu, &[y]);
                    }
                }
                BlockOrder::Pre => {
                    y = graph.child(&norm_name, norm, y);
                    y = graph.push(&relu(i), Op::Relu, &[y]);
                    if i == 0 && matches!(self.shortcut, Some(Shortcut::Projection(..))) {
                        shortcut_input = y;
                    }
                    y = graph.child(&conv_name, conv, y);
                }
            }
        }
        if let Some(shortcut) = &self.shortcut {
            let other = graph.child("downsample", shortcut, shortcut_input);
            y = graph.push("add", Op::Add, &[y, other]);
        }
        match self.order {
            BlockOrder::Post => graph.push(&relu(last), Op::Relu, &[y]),
            BlockOrder::Pre => y,
        }
    }

    fn visit(&self, visitor: &mut Visitor<'_, T>) {
        for ((conv, norm), (conv_name, norm_name)) in self.branch.iter().zip(self.names()) {
            visitor.child(&conv_name, conv);
            visitor.child(&norm_name, norm);
        }
        if let Some(shortcut) = &self.shortcut {
            visitor.child("downsample", shortcut);
        }
    }
}
