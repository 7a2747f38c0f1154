//! Squeeze-and-excitation (Hu et al. 2018, figure 3): what all channels hold on average says by how much each
//! is scaled.

use residual_autograd::Result;
use residual_tensor::{Float, Generator};

use crate::{
    BlockConfig, Builder, Child, Conv2d, Conv2dConfig, GlobalAvgPool, Module, Node,
    plugin::{InBranch, Position},
};

/// The mean of each channel, two 1×1 convolutions with fewer channels between them, and a factor from 0 to 1
/// for each channel: `[n, c, h, w]`, unchanged.
pub struct SqueezeExcite<T: Float> {
    squeeze: GlobalAvgPool,
    fc1: Child<Conv2d<T>>,
    fc2: Child<Conv2d<T>>,
}

impl<T: Float> Module<T> for SqueezeExcite<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let s = b.apply(self.squeeze, &[x]);
        let s = b.relu(b.call(&self.fc1, s));
        let s = b.sigmoid(b.call(&self.fc2, s));
        b.mul(x, s)
    }
}

impl<T: Float> InBranch<T> for SqueezeExcite<T> {
    const NAME: &'static str = "se";
    const POSITION: Position = Position::End;

    fn new(block: &BlockConfig, g: &mut Generator) -> Result<Self> {
        let channels = block.out_channels;
        let reduced = reduced(channels);
        let mut layer = |name: &'static str, from, to| -> Result<_> {
            let config = Conv2dConfig::one(from, to).bias().init(block.init);
            Ok(Child::new(name, Conv2d::new(&config, g)?))
        };
        let squeeze = GlobalAvgPool::kept();
        Ok(Self { squeeze, fc1: layer("fc1", channels, reduced)?, fc2: layer("fc2", reduced, channels)? })
    }
}

/// A sixteenth, in eights as timm rounds it.
fn reduced(channels: usize) -> usize {
    ((channels / 16 + 4) / 8 * 8).max(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_reduced_as_in_timm() {
        // timm.layers.make_divisible(channels / 16, 8, round_limit=0)
        for (channels, expected) in
            [(64, 8), (128, 8), (192, 16), (256, 16), (320, 24), (512, 32), (2048, 128)]
        {
            assert_eq!(reduced(channels), expected, "{channels}");
        }
    }
}
