//! The arithmetic of residual networks on the CPU: convolution, batch normalization, pooling,
//! activation, loss and the optimizer's step, each gradient under its forward pass.
//!
//! A convolution and its gradients, on arrays that exist already:
//!
//! ```
//! use ndarray::Array4;
//! use residual_kernels::{Conv2dGeometry, conv2d};
//!
//! let (x, w) = (Array4::<f32>::ones([1, 3, 8, 8]), Array4::ones([4, 3, 3, 3]));
//! let geometry = Conv2dGeometry::new(3, 3).padding(1);
//!
//! let y = conv2d(x.view(), w.view(), &geometry)?;
//! assert_eq!(**y.shape(), [1, 4, 8, 8]);
//! assert_eq!(y.view()[[0, 0, 4, 4]], 27.0); // 3 channels × 9 taps
//! assert_eq!(y.view()[[0, 0, 0, 0]], 12.0); // of which a corner sees 4
//!
//! // Of the sum of y the gradient with respect to y is 1 everywhere.
//! let dy = Array4::ones([1, 4, 8, 8]);
//! let dx = conv2d::backward_data(dy.view(), w.view(), x.shape(), &geometry)?;
//! let dw = conv2d::backward_weights(x.view(), dy.view(), w.shape(), &geometry)?;
//! assert_eq!(dx.view()[[0, 0, 0, 0]], 16.0); // 4 channels × 4 windows
//! assert_eq!(dw.view()[[0, 0, 1, 1]], 64.0); // the middle tap meets every pixel
//! # Ok::<(), residual_kernels::KernelError>(())
//! ```
//!
//! Every operation is called in this way: it reads [tensors](residual_tensor::Tensor), `ndarray` arrays
//! and views of any strides, and slices in NCHW or NHWC order ([`TensorView`](residual_tensor::TensorView)),
//! and gives a tensor, which lends `ndarray` views. Memory that lies as the operation wants it is
//! not copied.
//!
//! | module | forward | backward |
//! |---|---|---|
//! | [`mod@conv2d`] | [`conv2d()`] | [`backward_data`](conv2d::backward_data), [`backward_weights`](conv2d::backward_weights) |
//! | [`batch_norm`] | [`forward_train`](batch_norm::forward_train), [`forward_eval`](batch_norm::forward_eval) | [`backward_train`](batch_norm::backward_train), [`backward_eval`](batch_norm::backward_eval) |
//! | [`mod@layer_norm`] | [`layer_norm()`] | [`backward`](layer_norm::backward) |
//! | [`mod@max_pool`], [`mod@avg_pool`], [`mod@global_avg_pool`] | [`max_pool()`], [`avg_pool()`], [`global_avg_pool()`] | `backward` |
//! | [`mod@blur_pool`] | [`blur_pool()`] | [`backward`](blur_pool::backward) |
//! | [`mod@relu`], [`mod@add`], [`mod@subsample_pad`] | [`relu()`], [`add()`], [`subsample_pad()`] | `backward`; that of a sum is the gradient itself |
//! | [`mod@linear`] | [`linear()`] | [`backward_data`](linear::backward_data), [`backward_weights`](linear::backward_weights), [`backward_bias`](linear::backward_bias) |
//! | [`mod@softmax`], [`mod@cross_entropy`] | [`softmax()`], [`cross_entropy()`] | [`cross_entropy::backward`] |
//! | [`elementwise`] | [`add`](elementwise::add), [`mul`](elementwise::mul), [`exp`](elementwise::exp), … with broadcasting | [`mul_backward`](elementwise::mul_backward), … |
//! | [`reduce`] | [`sum`](reduce::sum), [`mean`](reduce::mean), [`max`](reduce::max) | [`sum_backward`](reduce::sum_backward), … |
//! | [`mod@matmul`], [`mod@concatenate`] | [`matmul()`], [`concatenate()`] | [`backward_a`](matmul::backward_a), [`slice_backward`](concatenate::slice_backward), … |
//! | [`sgd`] | [`step`](sgd::step) | |
//!
//! Four floors: [`mod@reference`] has every operation as plain loops, to be read, and to be what everything
//! else is held against; [`ops`] has them fast; [`fused`] has what training and inference combine;
//! [`engine`] is the machine beneath: registers, threads, scratch memory.
//!
//! **Decision.** Kernels are plain functions from views to tensors. What belongs to a layer
//! and is not a tensor (kernel size, stride, padding) is a geometry struct, which works out all
//! sizes once and checks them. Four-dimensional tensors have NCHW shapes and are computed in
//! channels-last memory: other layouts are accepted, converted, and come out channels-last, so
//! that conversion happens once, at a network's edge. Work is divided into chunks whose size
//! depends on the data alone and whose sums are added up in order: the same bits for any number
//! of threads. Convolutions end in loops over registers that are compiled once per
//! instruction set and per element ([`isa`]), `f32` or `f64`: what is checked in double
//! precision is the code that trains in single precision.
//!
//! **Rejected.** *Traits for operations*: a function says the same in one line, and the tape
//! above has a struct per operation anyway. *NCHW memory*: a window's channels would lie far
//! apart, and every kernel would gather. *One matrix of all windows*: it is nine times the
//! size of the activations; blocks of it stay in the cache. *A second set of functions for arrays*: one
//! type of argument serves all.
//!
//! **Not here.** Parameters, graphs, saved tensors, generators: a backward pass is told all
//! that it needs. No bias in convolutions, which batch normalization has (once that is folded
//! away, [`fused::Epilogue`] adds it); no file, no global state but its threads, the
//! tensors' memory and the choice of the instruction set.

pub mod engine;
mod error;
pub mod fused;
pub mod ops;
pub mod reference;

pub use engine::{isa, machine};
pub use error::KernelError;
pub use ops::{
    add, avg_pool, batch_norm, blur_pool, broadcast, concatenate, conv2d, cross_entropy, elementwise,
    global_avg_pool, layer_norm, linear, matmul, max_pool, reduce, relu, sgd, softmax, subsample_pad,
};
pub use ops::{
    batch_norm::BatchStatistics,
    conv2d::{Conv2dGeometry, Conv2dShape},
    max_pool::MaxIndices,
    pool::{Pool2dGeometry, Pool2dShape},
    reduce::Axes,
    sgd::SgdRule,
    window::Pair,
};

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, KernelError>;

/// An error if `RESIDUAL_ISA` or `RESIDUAL_CONV2D` names something that does not exist, as every
/// operation that depends on them says, too. A program does well to call this first.
///
/// # Errors
/// [`KernelError::Environment`].
pub fn check_environment() -> Result<()> {
    isa::InstructionSet::active()?;
    conv2d::Algorithm::preferred()?;
    Ok(())
}

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
