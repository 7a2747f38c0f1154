//! What may be put into the branch of any block: the table of plugins. Each is a module in a file of its own.

use residual_autograd::Result;
use residual_tensor::{Float, Generator};
use serde::{Deserialize, Serialize};

use crate::{BlockConfig, Child, DropPath, Module, Sequential};

/// Where in the branch a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// Behind the activation of the convolution that has the stride, which it takes over.
    Stride,
    /// At the end of the branch, before the shortcut is added.
    End,
}

/// A module that is put into branches.
pub(crate) trait InBranch<T: Float>: Module<T> + Sized + 'static {
    /// The name under which its states are found in the block.
    const NAME: &'static str;
    /// Where it stands.
    const POSITION: Position;

    /// The module for a block.
    fn new(block: &BlockConfig, g: &mut Generator) -> Result<Self>;

    /// What a stem of so many channels has in place of its max pooling, if that is another with this
    /// plugin.
    fn stem_pool(_channels: usize) -> Option<Box<dyn Module<T>>> {
        None
    }
}

/// Makes the table: what is in it is [`InBranch`].
macro_rules! plugins {
    ($($(#[$doc:meta])* $plugin:ident: $module:ty,)*) => {
        /// An addition to the branch of a block.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Plugin {
            $($(#[$doc])* $plugin,)*
        }

        impl Plugin {
            /// All plugins.
            pub const ALL: &[Self] = &[$(Self::$plugin),*];

            fn position(self) -> Position {
                type T = f64;
                match self {
                    $(Self::$plugin => <$module as InBranch<T>>::POSITION,)*
                }
            }

            fn build<T: Float>(self, block: &BlockConfig, g: &mut Generator) -> Result<Child<Box<dyn Module<T>>>> {
                Ok(match self {
                    $(Self::$plugin => {
                        let module: Box<dyn Module<T>> = Box::new(<$module as InBranch<T>>::new(block, g)?);
                        Child::new(<$module as InBranch<T>>::NAME, module)
                    })*
                })
            }

            /// What a stem of so many channels has in place of its max pooling, if that is another with this
            /// plugin.
            pub fn stem_pool<T: Float>(self, channels: usize) -> Option<Box<dyn Module<T>>> {
                match self {
                    $(Self::$plugin => <$module as InBranch<T>>::stem_pool(channels),)*
                }
            }
        }
    };
}

plugins! {
    /// [Squeeze-and-excitation](crate::SqueezeExcite): each channel is scaled by what all of them hold.
    SqueezeExcite: crate::SqueezeExcite<T>,
    /// The mean of 2×2 pixels takes over the stride, so that none of them is skipped.
    AvgPool: crate::AvgPool2d,
    /// A [blur](crate::BlurPool2d) takes over the stride, so that what is too fine does not alias.
    BlurPool: crate::BlurPool2d,
}

impl Plugin {
    /// Whether it takes over the stride of a convolution.
    pub(crate) fn strides(self) -> bool {
        self.position() == Position::Stride
    }

    /// Some of them, for a test.
    pub(crate) fn sample(g: &mut Generator) -> Vec<Self> {
        let mut plugins: Vec<Self> = Self::ALL.iter().copied().filter(|_| g.chance(0.3)).collect();
        while Self::contradict(&plugins) {
            plugins.remove(g.below(plugins.len()));
        }
        plugins
    }

    /// Whether two of them want to take over the same stride, or one is there twice.
    pub fn contradict(plugins: &[Self]) -> bool {
        let strides = plugins.iter().filter(|plugin| plugin.strides()).count();
        strides > 1 || plugins.iter().enumerate().any(|(i, plugin)| plugins[..i].contains(plugin))
    }
}

/// The plugins of a block. Where there are none, nothing happens.
pub(crate) struct Plugins<T: Float> {
    /// Behind the activation of the convolution that would have the stride.
    pub(crate) stride: Child<Sequential<Box<dyn Module<T>>>>,
    /// At the end of the branch; behind them stochastic depth.
    pub(crate) end: Child<Sequential<Box<dyn Module<T>>>>,
}

impl<T: Float> Plugins<T> {
    pub(crate) fn new(block: &BlockConfig, g: &mut Generator) -> Result<Self> {
        let mut at = |position: Position| -> Result<_> {
            let here = block.plugins.iter().filter(|plugin| plugin.position() == position);
            let here = here.filter(|plugin| !plugin.strides() || block.stride > 1);
            let mut children = here.map(|plugin| plugin.build(block, g)).collect::<Result<Vec<_>>>()?;
            if position == Position::End && block.drop_path_rate > 0.0 {
                let drop_path: Box<dyn Module<T>> = Box::new(DropPath { rate: block.drop_path_rate });
                children.push(Child::new("drop_path", drop_path));
            }
            Ok(Child::new("", Sequential::named(children)))
        };
        Ok(Self { stride: at(Position::Stride)?, end: at(Position::End)? })
    }
}
