//! Residual networks and their plain twins: a stem, stages of blocks, pooling, a classifier.

use residual_autograd::Result;
use residual_nn::{
    BatchNorm2d, BatchNormConfig, BlockConfig, BlockOrder, Builder, Child, GlobalAvgPool, Init, Linear,
    MaxPool2d, Module, Node, Pool2dGeometry, Scale, Sequential,
};
use residual_tensor::{Float, Generator};

use crate::{NetworkConfig, stem::StemLayers};

/// A residual network, or its plain twin.
///
/// Paths are torchvision's: `conv1`, `bn1`, `layer1.0.conv1`, …, `fc`. A pre-activated network has
/// no `bn1`, but a last normalization `norm` before pooling.
pub(crate) struct ResNet<T: Float> {
    stem: Child<StemLayers<T>>,
    /// `layer1`, `layer2`, …
    stages: Vec<Child<Sequential<Box<dyn Module<T>>>>>,
    norm: Option<Child<BatchNorm2d<T>>>,
    maxpool: Option<Child<MaxPool2d>>,
    avgpool: Child<GlobalAvgPool>,
    fc: Child<Linear<T>>,
    scale: Option<Child<Scale>>,
}

impl<T: Float> ResNet<T> {
    pub(crate) fn new(config: &NetworkConfig, init: Init, g: &mut Generator) -> Result<Self> {
        let stem = Child::new("", StemLayers::new(config, init, g)?);
        let stage = |(number, blocks): (usize, Vec<BlockConfig>)| -> Result<_> {
            let blocks = blocks.iter().map(|block| block.build(g)).collect::<Result<Vec<_>>>()?;
            Ok(Child::new(format!("layer{}", number + 1), Sequential::blocks(blocks)))
        };
        let stages = config.stages(init).into_iter().enumerate().map(stage).collect::<Result<_>>()?;
        let norm = || BatchNorm2d::new(&BatchNormConfig::new(config.features()));
        let norm = (config.order == BlockOrder::Pre).then(norm).transpose()?;
        Ok(Self {
            stem,
            stages,
            norm: norm.map(|norm| Child::new("norm", norm)),
            maxpool: (config.head_pool > 1).then(|| {
                let window = Pool2dGeometry::new(config.head_pool, config.head_pool);
                Child::new("head_pool", MaxPool2d(window.stride(config.head_pool)))
            }),
            avgpool: Child::new("avgpool", GlobalAvgPool::default()),
            fc: Child::new("fc", Linear::new(config.features(), config.classes, g)?),
            scale: (config.logit_scale != 1.0).then(|| Child::new("scale", Scale(config.logit_scale))),
        })
    }
}

impl<T: Float> Module<T> for ResNet<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        let mut y = b.call(&self.stem, x);
        for stage in &self.stages {
            y = b.call(stage, y);
        }
        if let Some(norm) = &self.norm {
            y = b.relu(b.call(norm, y));
        }
        let features = b.call(&self.avgpool, b.call_if(&self.maxpool, y));
        b.call_if(&self.scale, b.call(&self.fc, features))
    }
}
