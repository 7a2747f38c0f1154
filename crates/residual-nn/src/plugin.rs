//! What may be put into the branch of any block: the table of plugins. Each is a module in a file of its own.

use residual_autograd::Result;
use residual_tensor::{Float, Generator};
use serde::{Deserialize, Serialize};

use crate::{BlockConfig, Child, Module, Sequential};

/// An addition to the branch of a block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plugin {}

/// Where in the branch a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Behind the activation of the convolution that has the stride, which it takes over.
    Stride,
    /// At the end of the branch, before the shortcut is added.
    End,
}

impl Plugin {
    fn position(self) -> Position {
        match self {}
    }

    /// The name under which its states are found in the block.
    fn name(self) -> &'static str {
        match self {}
    }

    fn build<T: Float>(self, _block: &BlockConfig, _g: &mut Generator) -> Result<Box<dyn Module<T>>> {
        match self {}
    }

    /// Whether it takes over the stride of a convolution.
    pub(crate) fn strides(self) -> bool {
        self.position() == Position::Stride
    }

    /// Some of them, for a test.
    pub(crate) fn sample(_g: &mut Generator) -> Vec<Self> {
        Vec::new()
    }
}

/// The plugins of a block. Where there are none, nothing happens.
pub(crate) struct Plugins<T: Float> {
    /// Behind the activation of the convolution that would have the stride.
    pub(crate) stride: Child<Sequential<Box<dyn Module<T>>>>,
    /// At the end of the branch.
    pub(crate) end: Child<Sequential<Box<dyn Module<T>>>>,
}

impl<T: Float> Plugins<T> {
    pub(crate) fn new(block: &BlockConfig, g: &mut Generator) -> Result<Self> {
        let mut at = |position: Position| -> Result<_> {
            let here = block.plugins.iter().filter(|plugin| plugin.position() == position);
            let here = here.filter(|plugin| !plugin.strides() || block.stride > 1);
            let children = here.map(|plugin| Ok(Child::new(plugin.name(), plugin.build(block, g)?)));
            Ok(Child::new("", Sequential::named(children.collect::<Result<_>>()?)))
        };
        Ok(Self { stride: at(Position::Stride)?, end: at(Position::End)? })
    }
}
