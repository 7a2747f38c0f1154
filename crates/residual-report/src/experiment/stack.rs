//! The network that experiments on depth, initialisation and normalization are made with: a stem, stages of
//! blocks of two 3×3 convolutions, average pooling, a classifier, as the paper's networks on CIFAR-10
//! (He et al. 2015, section 4.2), in which normalization and shortcuts can be left out. The networks of the
//! papers themselves come from `residual-zoo`.

use residual_nn::{
    BatchNorm2d, BatchNormConfig, Builder, Child, Conv2d, Conv2dConfig, Fan, GlobalAvgPool, Init, Linear,
    Module, Node, SubsamplePad,
};
use residual_tensor::Generator;
use residual_train::Trainable;

use crate::Result;

/// What a stack is made from.
#[derive(Debug, Clone)]
pub(super) struct StackConfig {
    pub(super) input_channels: usize,
    pub(super) classes: usize,
    /// Channels of each stage; every stage but the first halves height and width.
    pub(super) widths: Vec<usize>,
    /// Blocks of each stage.
    pub(super) blocks: usize,
    /// Whether batch normalization follows each convolution.
    pub(super) norm: bool,
    /// Whether there are shortcuts, of option A.
    pub(super) residual: bool,
    /// Deviation of the first weights, as a multiple of He's √(2 / fan_in).
    pub(super) gain: f64,
}

impl StackConfig {
    /// Layers with weights on the longest path: what networks are named by.
    pub(super) fn depth(&self) -> usize {
        2 + 2 * self.blocks * self.widths.len()
    }

    /// The network with new weights.
    pub(super) fn build(&self, generator: &mut Generator) -> Result<Stack> {
        let stem = self.layer([self.input_channels, self.widths[0]], 1, generator)?;
        let mut blocks = Vec::new();
        let mut before = self.widths[0];
        for (stage, &width) in self.widths.iter().enumerate() {
            for block in 0..self.blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let changes = stride > 1 || before != width;
                let shortcut = SubsamplePad { stride, in_channels: before, out_channels: width };
                let block = Block {
                    first: Child::new("1", self.layer([before, width], stride, generator)?),
                    second: Child::new("2", self.layer([width, width], 1, generator)?),
                    shortcut: changes.then_some(shortcut),
                    residual: self.residual,
                };
                blocks.push(Child::new(format!("block{}", blocks.len() + 1), block));
                before = width;
            }
        }
        let fc = Linear::new(before, self.classes, generator)?;
        Ok(Stack { stem: Child::new("stem", stem), blocks, fc: Child::new("fc", fc) })
    }

    fn layer(&self, [from, to]: [usize; 2], stride: usize, generator: &mut Generator) -> Result<Layer> {
        let config = Conv2dConfig::three(from, to).stride(stride).init(Init::He(Fan::In));
        let conv = Conv2d::new(&config, generator)?;
        conv.weight.update(|weight| weight.as_mut_slice().iter_mut().for_each(|w| *w *= self.gain as f32));
        let norm = self.norm.then(|| BatchNorm2d::new(&BatchNormConfig::new(to))).transpose()?;
        Ok(Layer { conv: Child::new("conv", conv), norm: norm.map(|norm| Child::new("bn", norm)) })
    }
}

/// A stem, blocks, a classifier.
pub(super) struct Stack {
    stem: Child<Layer>,
    blocks: Vec<Child<Block>>,
    fc: Child<Linear<f32>>,
}

/// A convolution, and its normalization if there is one.
struct Layer {
    conv: Child<Conv2d<f32>>,
    norm: Option<Child<BatchNorm2d<f32>>>,
}

struct Block {
    first: Child<Layer>,
    second: Child<Layer>,
    /// What the shortcut does where the shape changes.
    shortcut: Option<SubsamplePad>,
    residual: bool,
}

impl Module<f32> for Stack {
    fn build(&self, b: &Builder<f32>, x: Node) -> Node {
        let stem = b.relu(b.call(&self.stem, x));
        let y = self.blocks.iter().fold(stem, |y, block| b.call(block, y));
        b.call(&self.fc, b.apply(GlobalAvgPool::default(), &[y]))
    }
}

impl Module<f32> for Layer {
    fn build(&self, b: &Builder<f32>, x: Node) -> Node {
        b.call_if(&self.norm, b.call(&self.conv, x))
    }
}

impl Module<f32> for Block {
    fn build(&self, b: &Builder<f32>, x: Node) -> Node {
        let y = b.call(&self.second, b.relu(b.call(&self.first, x)));
        if !self.residual {
            return b.relu(y);
        }
        let shortcut = self.shortcut.map_or(x, |shortcut| b.apply(shortcut, &[x]));
        b.relu(b.add(y, shortcut))
    }
}

impl Trainable<f32> for Stack {
    fn module(&self) -> &dyn Module<f32> {
        self
    }
}

#[cfg(test)]
mod tests {
    use residual_zoo::NetworkConfig;

    use super::*;

    #[test]
    fn with_everything_it_is_the_paper_s_network() {
        let widths = vec![16, 32, 64];
        let config = StackConfig {
            input_channels: 3,
            classes: 10,
            widths,
            blocks: 3,
            norm: true,
            residual: true,
            gain: 1.0,
        };
        let stack = config.build(&mut Generator::new(0)).unwrap();
        let paper = NetworkConfig::named("cifar_resnet20").unwrap();
        let paper = paper.build::<f32>(&mut Generator::new(0)).unwrap();
        assert_eq!(config.depth(), 20);
        assert_eq!(stack.parameter_count(), paper.parameter_count());
        let shape = residual_tensor::Shape::new([2, 3, 32, 32]).unwrap();
        let [ours, theirs] = [stack.trace(&shape), paper.trace(&shape)].map(|trace| trace.unwrap());
        assert_eq!(ours.multiply_adds, theirs.multiply_adds);

        let plain = StackConfig { norm: false, residual: false, ..config };
        let without: usize = 2 * (7 * 16 + 6 * 32 + 6 * 64);
        let plain = plain.build(&mut Generator::new(0)).unwrap();
        assert_eq!(plain.parameter_count() + without, paper.parameter_count());
    }
}
