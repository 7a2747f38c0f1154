//! The branch beside the residual: what carries the input to where the two meet.

use residual_autograd::Result;
use residual_tensor::{Float, Generator, Shape};
use serde::{Deserialize, Serialize};

use crate::{
    AvgPool2d, BatchNorm2d, BatchNormConfig, Builder, Child, Conv2d, Conv2dConfig, Init, Module, Node,
    Sequential, SubsamplePad,
    registry::{Sample, draw},
};

/// How shortcuts deal with a change of shape (He et al. 2015, section 4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ShortcutKind {
    /// Subsample and pad with zero channels: no parameters anywhere.
    A,
    /// A projection (1×1 convolution) where the shape changes, identity elsewhere.
    #[default]
    B,
    /// A projection everywhere.
    C,
    /// As B, but the projection has no stride: it sees the mean of the pixels that the stride would skip
    /// (He et al. 2019, "Bag of Tricks", figure 2c, "ResNet-D").
    D,
}

/// One shortcut.
pub enum Shortcut<T: Float> {
    /// The input as it is: the solid lines of the paper's figure 3.
    Identity,
    /// Option A where the shape changes: a dashed line.
    SubsamplePad(Child<SubsamplePad>),
    /// Options B and D where the shape changes, and option C: 1×1 convolution, and normalization
    /// unless the block is pre-activated.
    Projection(Sequential<Box<dyn Module<T>>>),
}

impl<T: Float> Shortcut<T> {
    /// The shortcut of this kind from `in_channels` to `out_channels`.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(
        kind: ShortcutKind,
        [in_channels, out_channels]: [usize; 2],
        stride: usize,
        normalized: bool,
        init: Init,
        generator: &mut Generator,
    ) -> Result<Self> {
        let changes = stride != 1 || in_channels != out_channels;
        if !changes && kind != ShortcutKind::C {
            return Ok(Self::Identity);
        }
        if kind == ShortcutKind::A {
            return Ok(Self::SubsamplePad(Child::new(
                "",
                SubsamplePad { stride, in_channels, out_channels },
            )));
        }
        let convolution = Conv2dConfig::one(in_channels, out_channels).init(init);
        // In D the pool is number 0, also where there is nothing to pool.
        let (convolution, first, pool) = match kind {
            ShortcutKind::D => (convolution, 1, (stride > 1).then(|| AvgPool2d::shrinking(stride))),
            _ => (convolution.stride(stride), 0, None),
        };
        let mut layers: Vec<Child<Box<dyn Module<T>>>> = Vec::new();
        layers.extend(pool.map(|pool| -> Child<Box<dyn Module<T>>> { Child::new("0", Box::new(pool)) }));
        layers.push(Child::new(first.to_string(), Box::new(Conv2d::new(&convolution, generator)?)));
        if normalized {
            let norm = BatchNorm2d::new(&BatchNormConfig::new(out_channels))?;
            layers.push(Child::new((first + 1).to_string(), Box::new(norm)));
        }
        Ok(Self::Projection(Sequential::named(layers)))
    }

    /// What the shortcut of a pre-activated block is applied to: a projection sees the activated input,
    /// anything else the input itself (He et al. 2016).
    pub(crate) fn pre_activated(shortcut: &Option<Child<Self>>, x: Node, activated: Node) -> Node {
        match shortcut.as_deref() {
            Some(Self::Projection(_)) => activated,
            _ => x,
        }
    }
}

impl<T: Float> Module<T> for Shortcut<T> {
    /// # Shapes
    /// `[n, in_channels, h, w]` to `[n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]`.
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        match self {
            Self::Identity => x,
            Self::SubsamplePad(pad) => b.call(pad, x),
            Self::Projection(layers) => layers.build(b, x),
        }
    }
}

impl<T: Float> Sample for Shortcut<T> {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let shape = draw::shape(g, 2)?;
        let kind = [ShortcutKind::A, ShortcutKind::B, ShortcutKind::C, ShortcutKind::D][g.below(4)];
        let channels = [shape[1], shape[1] + g.below(3)];
        let (stride, normalized) = (1 + g.below(2), g.chance(0.5));
        Ok((Self::new(kind, channels, stride, normalized, Init::Uniform, g)?, shape))
    }
}
