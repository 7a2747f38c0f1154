//! A network of any kind, as the zoo builds it.

use std::fmt;

use residual_autograd::Result;
use residual_nn::{Builder, Graph, Init, Module, Node};
use residual_tensor::{Float, Generator};

use crate::{NetworkConfig, ZooError};

/// A network: `[n, input_channels, h, w]` to logits `[n, classes]`.
pub struct Network<T: Float> {
    config: NetworkConfig,
    module: Box<dyn Module<T>>,
    graph: Graph<T>,
}

impl<T: Float> Network<T> {
    /// From a checked configuration, with these first weights.
    pub(crate) fn new(config: &NetworkConfig, init: Init, generator: &mut Generator) -> Result<Self> {
        let module = config.architecture.build(config, init, generator)?;
        Ok(Self { config: config.clone(), graph: Graph::of(&module), module })
    }

    /// What it was built from.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Freezes what comes before a stage ([`NetworkConfig::stages`]) or the classifier
    /// ([`NetworkConfig::classifier`]), and thaws it and what follows it. Frozen batch normalizations keep their
    /// running statistics and use them.
    ///
    /// # Errors
    /// [`ZooError::Stage`] if there is no such stage, with the closest.
    pub fn freeze_until(&self, stage: &str) -> crate::Result<()> {
        let mut stages = self.config.stages();
        stages.push(self.config.classifier().to_owned());
        if !stages.iter().any(|known| known == stage) {
            return Err(ZooError::stage(stage, stages));
        }
        let mut before = true;
        for (path, state) in self.states() {
            before &= !path.strip_prefix(stage).is_some_and(|rest| rest.starts_with('.'));
            state.set_frozen(before);
        }
        Ok(())
    }
}

impl<T: Float> Module<T> for Network<T> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        self.module.build(b, x)
    }

    fn graph(&self) -> Graph<T> {
        self.graph.clone()
    }
}

impl<T: Float> fmt::Debug for Network<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("config", &self.config).finish_non_exhaustive()
    }
}
