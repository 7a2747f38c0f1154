//! The layers: each an operation with its states, in a file of its own.

mod activation;
mod arithmetic;
mod batch_norm;
mod blur_pool;
mod conv2d;
mod drop_path;
mod layer_norm;
mod layer_scale;
mod linear;
mod pool;
mod subsample_pad;

pub use activation::{Gelu, Relu, Sigmoid};
pub use arithmetic::{Add, Mul, Scale};
pub use batch_norm::{BatchNorm2d, BatchNormConfig};
pub use blur_pool::BlurPool2d;
pub use conv2d::{Conv2d, Conv2dConfig};
pub use drop_path::DropPath;
pub use layer_norm::LayerNorm;
pub use layer_scale::LayerScale;
pub use linear::Linear;
pub use pool::{AvgPool2d, GlobalAvgPool, MaxPool2d};
pub use subsample_pad::SubsamplePad;

use residual_tensor::Float;

use crate::{
    Builder, Module, Node,
    registry::{LayerEntry, entry},
};

/// Makes modules of operations that have one input, and registers them. What is not listed is no module, and
/// what cannot be sampled does not compile.
macro_rules! layers {
    ($($name:literal: $layer:ty),* $(,)?) => {
        $(
            impl<T: Float> Module<T> for $layer {
                fn build(&self, b: &Builder<T>, x: Node) -> Node {
                    b.leaf(self.clone(), x)
                }
            }
        )*

        /// Every layer.
        pub(crate) fn entries() -> Vec<LayerEntry> {
            type T = f64;
            vec![$(entry::<$layer>($name)),*]
        }
    };
}

layers! {
    "AvgPool2d": AvgPool2d,
    "BatchNorm2d": BatchNorm2d<T>,
    "BlurPool2d": BlurPool2d,
    "Conv2d": Conv2d<T>,
    "DropPath": DropPath,
    "Gelu": Gelu,
    "GlobalAvgPool": GlobalAvgPool,
    "LayerNorm": LayerNorm<T>,
    "LayerScale": LayerScale<T>,
    "Linear": Linear<T>,
    "MaxPool2d": MaxPool2d,
    "Relu": Relu,
    "Scale": Scale,
    "Sigmoid": Sigmoid,
    "SubsamplePad": SubsamplePad,
}
