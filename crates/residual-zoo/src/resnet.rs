//! The network that all configurations build.

use std::fmt;

use residual_autograd::Result;
use residual_nn::{
    BatchNorm2d, BatchNormConfig, BlockConfig, BlockOrder, Builder, Child, Conv2d, Conv2dConfig,
    Conv2dGeometry, GlobalAvgPool, Graph, Init, Linear, MaxPool2d, Module, Node, Pool2dGeometry, Sequential,
};
use residual_tensor::{Float, Generator};

use crate::{ResNetConfig, Stem, ZooError};

/// A residual network, or its plain twin: `[n, input_channels, h, w]` to logits `[n, classes]`.
///
/// Paths are torchvision's: `conv1`, `bn1`, `layer1.0.conv1`, …, `fc`. A pre-activated network has
/// no `bn1`, but a last normalization `norm` before pooling.
pub struct ResNet<T: Float> {
    config: ResNetConfig,
    layers: Layers<T>,
    graph: Graph<T>,
}

/// The parts of the network.
struct Layers<T: Float> {
    conv1: Child<Conv2d<T>>,
    bn1: Option<Child<BatchNorm2d<T>>>,
    maxpool: Option<Child<MaxPool2d>>,
    /// `layer1`, `layer2`, …
    stages: Vec<Child<Sequential<Box<dyn Module<T>>>>>,
    norm: Option<Child<BatchNorm2d<T>>>,
    avgpool: Child<GlobalAvgPool>,
    fc: Child<Linear<T>>,
}

impl<T: Float> Module<T> for Layers<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let mut y = b.call(&self.conv1, x);
        if let Some(bn1) = &self.bn1 {
            y = b.relu(b.call(bn1, y));
        }
        y = b.call_if(&self.maxpool, y);
        for stage in &self.stages {
            y = b.call(stage, y);
        }
        if let Some(norm) = &self.norm {
            y = b.relu(b.call(norm, y));
        }
        b.call(&self.fc, b.call(&self.avgpool, y))
    }
}

impl<T: Float> Layers<T> {
    fn new(config: &ResNetConfig, init: Init, generator: &mut Generator) -> Result<Self> {
        let geometry = match config.stem {
            Stem::ImageNet => Conv2dGeometry::new(7, 7).stride(2).padding(3),
            Stem::Cifar => Conv2dGeometry::new(3, 3).padding(1),
        };
        let stem = Conv2dConfig::new(config.input_channels, config.stem_channels(), geometry);
        let norm = |name: &'static str, channels| -> Result<_> {
            Ok(Child::new(name, BatchNorm2d::new(&BatchNormConfig::new(channels))?))
        };
        let post = config.order == BlockOrder::Post;
        let pool = MaxPool2d(Pool2dGeometry::new(3, 3).stride(2).padding(1));
        let conv1 = Child::new("conv1", Conv2d::new(&stem.init(init), generator)?);
        let stage = |(number, blocks): (usize, Vec<BlockConfig>)| -> Result<_> {
            let blocks = blocks.iter().map(|block| block.build(generator)).collect::<Result<Vec<_>>>()?;
            Ok(Child::new(format!("layer{}", number + 1), Sequential::blocks(blocks)))
        };
        let stages = config.stages(init).into_iter().enumerate().map(stage).collect::<Result<_>>()?;
        Ok(Self {
            conv1,
            bn1: post.then(|| norm("bn1", config.stem_channels())).transpose()?,
            maxpool: (config.stem == Stem::ImageNet).then(|| Child::new("maxpool", pool)),
            stages,
            norm: (!post).then(|| norm("norm", config.features())).transpose()?,
            avgpool: Child::new("avgpool", GlobalAvgPool),
            fc: Child::new("fc", Linear::new(config.features(), config.classes, generator)?),
        })
    }
}

impl<T: Float> Module<T> for ResNet<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        self.layers.build(b, x)
    }

    fn graph(&self) -> Graph<T> {
        self.graph.clone()
    }
}

impl<T: Float> fmt::Debug for ResNet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResNet").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<T: Float> ResNet<T> {
    /// From a checked configuration, with these first weights.
    pub(crate) fn new(config: &ResNetConfig, init: Init, generator: &mut Generator) -> Result<Self> {
        let layers = Layers::new(config, init, generator)?;
        let graph = Graph::of(&layers);
        Ok(Self { config: config.clone(), layers, graph })
    }

    /// What it was built from.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// Freezes what comes before a stage (`layer1`, `layer2`, …, or `fc` for all but the
    /// classifier) and thaws the stage and what follows it. Frozen batch normalizations keep
    /// their running statistics and use them.
    ///
    /// # Errors
    /// [`ZooError::Stage`] if there is no such stage, with the closest.
    pub fn freeze_until(&self, stage: &str) -> crate::Result<()> {
        let mut stages: Vec<String> = (1..=self.config.depths.len()).map(|n| format!("layer{n}")).collect();
        stages.push("fc".to_owned());
        if !stages.iter().any(|known| known == stage) {
            return Err(ZooError::stage(stage, stages));
        }
        let mut before = true;
        for (path, state) in self.states() {
            before &= path.split('.').next() != Some(stage);
            state.set_frozen(before);
        }
        Ok(())
    }
}
