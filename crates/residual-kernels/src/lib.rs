//! The numeric kernels of residual networks on the CPU.

pub mod add;
pub mod batch_norm;
pub mod conv2d;
pub mod cross_entropy;
mod error;
pub mod gemm;
pub mod linear;
mod parallel;
pub mod pool;
pub mod relu;
pub mod sgd;
pub mod shortcut;
pub mod softmax;
mod window;

pub use batch_norm::BatchStatistics;
pub use conv2d::{Conv2dGeometry, Conv2dShape};
pub use error::KernelError;
pub use pool::{MaxIndices, Pool2dGeometry};
pub use sgd::SgdRule;
pub use window::Pair;

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, KernelError>;
