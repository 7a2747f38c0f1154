//! The block of networks made to learn CIFAR-10 fast: it halves the picture by a maximum, which a
//! strided convolution does not do as well in so few epochs.

use residual_autograd::Result;
use residual_kernels::Pool2dGeometry;
use residual_tensor::{Float, Generator};

use crate::{BatchNorm2d, BlockConfig, Builder, Child, Conv2d, Conv2dConfig, Init, MaxPool2d, Module, Node};

/// 3×3, the maximum of 2×2 pixels, normalization, ReLU; then 3×3, normalization, the shortcut around these
/// two, ReLU: `[n, in_channels, h, w]` to `[n, out_channels, h / 2, w / 2]`, rounded down.
///
/// The layers of Jordan 2024 ("94 % on CIFAR-10 in 3.29 seconds on a single GPU", section 3.1) with an
/// identity around the second convolution, as the residual networks of the same author have it.
pub struct PooledBlock<T: Float> {
    conv1: Child<Conv2d<T>>,
    pool: Child<MaxPool2d>,
    bn1: Child<BatchNorm2d<T>>,
    conv2: Child<Conv2d<T>>,
    bn2: Child<BatchNorm2d<T>>,
    residual: bool,
}

impl<T: Float> PooledBlock<T> {
    /// A block with new weights. A convolution without a shortcut begins as one, if the others are uniform.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(config: &BlockConfig, g: &mut Generator) -> Result<Self> {
        let &BlockConfig { in_channels, out_channels, residual, init, .. } = config;
        let alone = if init == Init::Uniform { Init::Dirac } else { init };
        let alone = BlockConfig { init: alone, ..config.clone() };
        let second = if residual { config } else { &alone };
        Ok(Self {
            conv1: alone.conv("conv1", Conv2dConfig::three(in_channels, out_channels), g)?,
            pool: Child::new("pool", MaxPool2d(Pool2dGeometry::new(2, 2).stride(2))),
            bn1: config.norm("bn1", out_channels)?,
            conv2: second.conv("conv2", Conv2dConfig::three(out_channels, out_channels), g)?,
            bn2: config.last_norm("bn2", out_channels)?,
            residual,
        })
    }
}

impl<T: Float> Module<T> for PooledBlock<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let x = b.call(&self.pool, b.call(&self.conv1, x));
        let x = b.relu(b.call(&self.bn1, x));
        let y = b.call(&self.bn2, b.call(&self.conv2, x));
        b.relu(if self.residual { b.add(y, x) } else { y })
    }

    fn kind(&self) -> &'static str {
        if self.residual { "residual block" } else { "plain block" }
    }
}
