//! One room per operation: its forward pass, and its backward pass right below.
//!
//! The forward pass has the operation's name, too: [`conv2d()`] is [`conv2d::forward`].

pub mod add;
pub mod avg_pool;
pub mod batch_norm;
pub mod blur_pool;
pub mod broadcast;
pub mod concatenate;
pub mod conv2d;
pub mod cross_entropy;
pub mod elementwise;
pub(crate) mod function;
pub(crate) mod gemm;
pub mod global_avg_pool;
pub mod layer_norm;
pub mod linear;
pub mod matmul;
pub mod max_pool;
pub(crate) mod pool;
pub mod reduce;
pub mod relu;
pub mod sgd;
pub mod softmax;
pub mod subsample_pad;
pub(crate) mod window;

pub use {
    add::forward as add, avg_pool::forward as avg_pool, blur_pool::forward as blur_pool,
    concatenate::forward as concatenate, conv2d::forward as conv2d, cross_entropy::forward as cross_entropy,
    global_avg_pool::forward as global_avg_pool, layer_norm::forward as layer_norm,
    linear::forward as linear, matmul::forward as matmul, max_pool::forward as max_pool,
    relu::forward as relu, softmax::forward as softmax, subsample_pad::forward as subsample_pad,
};
