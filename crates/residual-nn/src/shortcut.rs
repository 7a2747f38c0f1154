//! The branch beside the residual: what carries the input to where the two meet.

use residual_autograd::{Result, Var};
use residual_tensor::{Float, Generator, Shape};
use serde::{Deserialize, Serialize};

use crate::{
    BatchNorm2d, BatchNormConfig, Conv2d, Conv2dConfig, GraphBuilder, Init, Mode, Module, NodeId, Op, Trace,
    Visitor, conv_norm,
};

/// How shortcuts deal with a change of shape (He et al. 2015, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ShortcutKind {
    /// Subsample and pad with zero channels: no parameters anywhere.
    A,
    /// A projection (1×1 convolution) where the shape changes, identity elsewhere.
    B,
    /// A projection everywhere.
    C,
}

/// One shortcut.
#[derive(Debug, Clone)]
pub enum Shortcut<T: Float> {
    /// The input as it is: the solid lines of the paper's figure 3.
    Identity,
    /// Option A where the shape changes: a dashed line.
    SubsamplePad {
        /// Every how many pixels one is taken.
        stride: usize,
        /// Channels of the output.
        channels: usize,
    },
    /// Option B where the shape changes, and option C: 1×1 convolution, and normalization
    /// unless the block is pre-activated.
    Projection(Conv2d<T>, Option<BatchNorm2d<T>>),
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
        Ok(match kind {
            ShortcutKind::A if changes => Self::SubsamplePad { stride, channels: out_channels },
            ShortcutKind::A => Self::Identity,
            ShortcutKind::B if !changes => Self::Identity,
            ShortcutKind::B | ShortcutKind::C => {
                let config = Conv2dConfig::one(in_channels, out_channels).stride(stride).init(init);
                let norm = normalized.then(|| BatchNorm2d::new(&BatchNormConfig::new(out_channels)));
                Self::Projection(Conv2d::new(&config, generator)?, norm.transpose()?)
            }
        })
    }
}

impl<T: Float> Module<T> for Shortcut<T> {
    /// # Shapes
    /// `[n, in_channels, h, w]` to `[n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]`.
    fn forward(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::SubsamplePad { stride, channels } => x.subsample_pad(*stride, *channels),
            Self::Projection(conv, Some(norm)) => conv_norm(("0", conv), ("1", norm), x, mode, None, false),
            Self::Projection(conv, None) => conv.call("0", x, mode),
        }
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        match self {
            Self::Identity => Ok(input.clone()),
            Self::SubsamplePad { stride, channels } => {
                let [n, _, h, w] = input.dims("subsample_pad")?;
                let output = Shape::new([n, *channels, h.div_ceil(*stride), w.div_ceil(*stride)])?;
                Ok(trace.layer("subsample_pad", format!("stride {stride}"), [input, &output], 0, 0))
            }
            Self::Projection(conv, norm) => {
                let y = trace.child("0", conv, input)?;
                match norm {
                    Some(norm) => trace.child("1", norm, &y),
                    None => Ok(y),
                }
            }
        }
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        match self {
            Self::Identity => x,
            &Self::SubsamplePad { stride, channels } => {
                graph.push("", Op::SubsamplePad { stride, channels }, &[x])
            }
            Self::Projection(conv, norm) => {
                let y = graph.child("0", conv, x);
                match norm {
                    Some(norm) => graph.child("1", norm, y),
                    None => y,
                }
            }
        }
    }

    fn visit(&self, visitor: &mut Visitor<'_, T>) {
        if let Self::Projection(conv, norm) = self {
            visitor.child("0", conv);
            if let Some(norm) = norm {
                visitor.child("1", norm);
            }
        }
    }
}
