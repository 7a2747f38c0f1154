//! The kinds of networks: the table. What there is to a kind is in a file of its own, whose type is a
//! [`Family`].

use residual_autograd as autograd;
use residual_nn::{Init, Module};
use residual_tensor::{Float, Generator};
use serde::{Deserialize, Serialize};

use crate::{NetworkConfig, Result, convnext::ConvNeXts, resnet::ResNets};

/// A kind of network.
pub(crate) trait Family {
    /// Names that are listed.
    fn names() -> Vec<String>;

    /// The network of a name, listed or not, if it is one of this kind.
    fn named(name: &str) -> Option<Result<NetworkConfig>>;

    /// Whether a description makes sense. Numbers that any network has are within their bounds.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    fn check(config: &NetworkConfig) -> std::result::Result<(), String>;

    /// What is known without building.
    fn outline(config: &NetworkConfig) -> Outline;

    /// Parameters of the largest layers of a block in a stage of so many channels.
    fn least_parameters_of_block(config: &NetworkConfig, channels: u128) -> u128;

    /// The network, from a configuration that makes sense.
    fn build<T: Float>(
        config: &NetworkConfig,
        init: Init,
        g: &mut Generator,
    ) -> autograd::Result<Box<dyn Module<T>>>;
}

/// What is known of a network without building it.
pub(crate) struct Outline {
    /// Height and width of the pictures that it was made for.
    pub(crate) native_side: usize,
    /// The smallest height and width that have a pixel in every stage, of a configuration that makes sense.
    pub(crate) smallest_input: fn(&NetworkConfig) -> usize,
    /// The path of the first convolution.
    pub(crate) first_convolution: &'static str,
    /// The path of a stage, by its number from 0.
    pub(crate) stage: fn(usize) -> String,
    /// The path of the classifier.
    pub(crate) classifier: &'static str,
    /// Layers with weights on the longest path.
    pub(crate) layers: usize,
    /// Channels that reach the classifier.
    pub(crate) features: usize,
}

/// Makes the table: what is in it is a [`Family`].
macro_rules! architectures {
    ($($(#[$attribute:meta])* $name:ident: $family:ty,)*) => {
        /// A kind of network.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Architecture {
            $($(#[$attribute])* $name,)*
        }

        /// Every name that is listed; families hold more, and suffixes make more of each.
        pub fn names() -> Vec<String> {
            [$(<$family>::names()),*].concat()
        }

        /// The network of a name.
        pub(crate) fn named(name: &str) -> Option<Result<NetworkConfig>> {
            None$(.or_else(|| <$family>::named(name)))*
        }

        impl Architecture {
            pub(crate) fn check(self, config: &NetworkConfig) -> std::result::Result<(), String> {
                match self {
                    $(Self::$name => <$family>::check(config),)*
                }
            }

            pub(crate) fn outline(self, config: &NetworkConfig) -> Outline {
                match self {
                    $(Self::$name => <$family>::outline(config),)*
                }
            }

            pub(crate) fn least_parameters_of_block(self, config: &NetworkConfig, channels: u128) -> u128 {
                match self {
                    $(Self::$name => <$family>::least_parameters_of_block(config, channels),)*
                }
            }

            pub(crate) fn build<T: Float>(
                self,
                config: &NetworkConfig,
                init: Init,
                g: &mut Generator,
            ) -> autograd::Result<Box<dyn Module<T>>> {
                match self {
                    $(Self::$name => <$family>::build(config, init, g),)*
                }
            }
        }
    };
}

architectures! {
    /// Residual networks and their plain twins (He et al. 2015), and relatives.
    #[default]
    ResNet: ResNets,
    /// Liu et al. 2022, "A ConvNet for the 2020s".
    ConvNeXt: ConvNeXts,
}
