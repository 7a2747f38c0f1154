//! The network that all configurations build.

use residual_autograd::{Result, Var};
use residual_nn::{
    BatchNorm2d, BatchNormConfig, Block, BlockOrder, Conv2d, Conv2dConfig, Conv2dGeometry, GlobalAvgPool,
    GraphBuilder, Init, Linear, MaxPool2d, Mode, Module, NodeId, Op, Pool2dGeometry, Trace, Visitor,
    call_checkpointed, conv_norm, norm_relu,
};
use residual_tensor::{Float, Generator, Shape};

use crate::{ResNetConfig, Stem, ZooError};

/// A residual network, or its plain twin.
///
/// Paths are torchvision's: `conv1`, `bn1`, `layer1.0.conv1`, …, `fc`. A pre-activated network has
/// no `bn1`, but a last normalization `norm` before pooling.
#[derive(Debug)]
pub struct ResNet<T: Float> {
    config: ResNetConfig,
    conv1: Conv2d<T>,
    bn1: Option<BatchNorm2d<T>>,
    maxpool: Option<MaxPool2d>,
    /// `layer1`, `layer2`, …
    stages: Vec<Vec<Block<T>>>,
    norm: Option<BatchNorm2d<T>>,
    fc: Linear<T>,
}

impl<T: Float> ResNet<T> {
    /// From a checked configuration, with these first weights.
    pub(crate) fn new(config: &ResNetConfig, init: Init, generator: &mut Generator) -> Result<Self> {
        let geometry = match config.stem {
            Stem::ImageNet => Conv2dGeometry::new(7, 7).stride(2).padding(3),
            Stem::Cifar => Conv2dGeometry::new(3, 3).padding(1),
        };
        let stem = Conv2dConfig::new(config.input_channels, config.stem_channels(), geometry);
        let norm = |channels| BatchNorm2d::new(&BatchNormConfig::new(channels));
        let post = config.order == BlockOrder::Post;
        let stages = config.stages(init);
        Ok(Self {
            conv1: Conv2d::new(&stem.init(init), generator)?,
            bn1: post.then(|| norm(config.stem_channels())).transpose()?,
            maxpool: (config.stem == Stem::ImageNet)
                .then(|| MaxPool2d(Pool2dGeometry::new(3, 3).stride(2).padding(1))),
            stages: stages
                .iter()
                .map(|blocks| blocks.iter().map(|block| Block::new(block, generator)).collect())
                .collect::<Result<_>>()?,
            norm: (!post).then(|| norm(config.features())).transpose()?,
            fc: Linear::new(config.features(), config.classes, generator)?,
            config: config.clone(),
        })
    }

    /// What it was built from.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// The blocks of each stage.
    pub fn stages(&self) -> &[Vec<Block<T>>] {
        &self.stages
    }

    /// Freezes what comes before a stage (`layer1`, `layer2`, …, or `fc` for all but the
    /// classifier) and thaws the stage and what follows it. Frozen batch normalizations keep
    /// their running statistics and use them.
    ///
    /// # Errors
    /// [`ZooError::Stage`] if there is no such stage, with the closest.
    pub fn freeze_until(&self, stage: &str) -> crate::Result<()> {
        let mut stages: Vec<String> = (1..=self.stages.len()).map(|n| format!("layer{n}")).collect();
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

impl<T: Float> Module<T> for ResNet<T> {
    /// # Shapes
    /// `[n, input_channels, h, w]` to logits `[n, classes]`.
    fn forward(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        let tape = x.tape().clone();
        let mut y = match &self.bn1 {
            Some(bn1) => conv_norm(("conv1", &self.conv1), ("bn1", bn1), x, mode, None, true)?,
            None => self.conv1.call("conv1", x, mode)?,
        };
        if let Some(maxpool) = &self.maxpool {
            y = maxpool.call("maxpool", &y, mode)?;
        }
        for (stage, blocks) in self.stages.iter().enumerate() {
            y = tape.scope(&format!("layer{}", stage + 1), || {
                let mut blocks = blocks.iter().enumerate();
                blocks.try_fold(y, |y, (i, block)| call_checkpointed(block, &i.to_string(), &y, mode))
            })?;
        }
        if let Some(norm) = &self.norm {
            y = norm_relu(("norm", norm), &y, mode)?;
        }
        self.fc.call("fc", &GlobalAvgPool.call("avgpool", &y, mode)?, mode)
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        let mut shape = trace.child("conv1", &self.conv1, input)?;
        if let Some(bn1) = &self.bn1 {
            shape = trace.child("bn1", bn1, &shape)?;
        }
        if let Some(maxpool) = &self.maxpool {
            shape = trace.child::<T>("maxpool", maxpool, &shape)?;
        }
        for (stage, blocks) in self.stages.iter().enumerate() {
            shape = trace.scope(&format!("layer{}", stage + 1), |trace| {
                let mut blocks = blocks.iter().enumerate();
                blocks.try_fold(shape, |shape, (i, block)| trace.child(&i.to_string(), block, &shape))
            })?;
        }
        if let Some(norm) = &self.norm {
            shape = trace.child("norm", norm, &shape)?;
        }
        shape = trace.child::<T>("avgpool", &GlobalAvgPool, &shape)?;
        trace.child("fc", &self.fc, &shape)
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        let mut y = graph.child("conv1", &self.conv1, x);
        if let Some(bn1) = &self.bn1 {
            y = graph.child("bn1", bn1, y);
            y = graph.push("relu", Op::Relu, &[y]);
        }
        if let Some(maxpool) = &self.maxpool {
            y = graph.child("maxpool", maxpool, y);
        }
        for (stage, blocks) in self.stages.iter().enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                y = graph.child(&format!("layer{}.{i}", stage + 1), block, y);
            }
        }
        if let Some(norm) = &self.norm {
            y = graph.child("norm", norm, y);
            y = graph.push("relu", Op::Relu, &[y]);
        }
        y = graph.child("avgpool", &GlobalAvgPool, y);
        graph.child("fc", &self.fc, y)
    }

    fn visit(&self, visitor: &mut Visitor<'_, T>) {
        visitor.child("conv1", &self.conv1);
        if let Some(bn1) = &self.bn1 {
            visitor.child("bn1", bn1);
        }
        for (stage, blocks) in self.stages.iter().enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                visitor.child(&format!("layer{}.{i}", stage + 1), block);
            }
        }
        if let Some(norm) = &self.norm {
            visitor.child("norm", norm);
        }
        visitor.child("fc", &self.fc);
    }
}
