//! The list of all operations, complete because the compiler says so: an operation can only be
//! written for what is in it.

use super::{
    BuiltIn, arithmetic, batch_norm, blur_pool, checkpoint, conv2d, cross_entropy, elementary, layer_norm,
    linear, matmul, pool, rearrange, reduce, relu, reshape, softmax, subsample_pad,
};
use crate::Entry;
use residual_tensor::Float;

/// Is in the list below.
pub(crate) trait Listed<T: Float> {}

macro_rules! operations {
    ($($operation:ty,)*) => {
        $(impl<T: Float> Listed<T> for $operation {})*

        /// All operations of this crate, each with random samples: what generic checks go over.
        pub fn registry() -> Vec<Entry> {
            type T = f64;
            vec![$(Entry::new(<$operation as BuiltIn<T>>::NAME, <$operation as BuiltIn<T>>::sample),)*]
        }
    };
}

operations! {
    arithmetic::Add,
    arithmetic::AddScalar,
    arithmetic::Div<T>,
    arithmetic::Mul<T>,
    arithmetic::MulScalar<T>,
    arithmetic::Neg,
    arithmetic::Sub,
    batch_norm::BatchNormEval<T>,
    batch_norm::BatchNormFused<T>,
    batch_norm::BatchNormTrain<T>,
    blur_pool::BlurPool2d,
    checkpoint::Checkpoint<T>,
    conv2d::Conv2d<T>,
    cross_entropy::CrossEntropy<T>,
    elementary::Exp<T>,
    elementary::Gelu<T>,
    elementary::Log<T>,
    elementary::Powf<T>,
    elementary::Sigmoid<T>,
    elementary::Sqrt<T>,
    elementary::Tanh<T>,
    layer_norm::LayerNorm<T>,
    linear::Linear<T>,
    matmul::Matmul<T>,
    pool::AvgPool2d,
    pool::GlobalAvgPool,
    pool::MaxPool2d,
    rearrange::Concatenate,
    rearrange::Permute,
    rearrange::Slice,
    reduce::Max<T>,
    reduce::Mean,
    reduce::Sum,
    relu::Relu<T>,
    reshape::Reshape,
    softmax::LogSoftmax<T>,
    softmax::Softmax<T>,
    subsample_pad::SubsamplePad,
}
