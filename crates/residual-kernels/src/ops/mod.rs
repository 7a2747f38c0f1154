//! One room per operation: its forward pass, and its backward pass right below.

pub mod add;
pub mod affine;
pub mod batch_norm;
pub mod broadcast;
pub mod concatenate;
pub mod conv2d;
pub mod cross_entropy;
pub mod elementwise;
pub(crate) mod function;
pub mod gemm;
pub mod images;
pub mod linear;
pub mod matmul;
pub mod pool;
pub mod reduce;
pub mod relu;
pub mod sgd;
pub mod shortcut;
pub mod softmax;
pub(crate) mod window;
