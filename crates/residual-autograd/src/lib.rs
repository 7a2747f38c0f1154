//! A tape that records what is computed from tensors and runs it backwards.
//!
//! **Decision.** One named struct per operation holds what its backward needs, and stands next
//! to the method that runs its forward: to know how a convolution is differentiated, read
//! `operation/conv2d.rs`. The tape is a list in order of execution; backward walks it once from
//! the end, without recursion, and drops every saved tensor as soon as it has been used.
//!
//! **Rejected.** A graph of reference-counted nodes, where depth is bounded by the stack and
//! memory is freed when the last handle goes; closures as backward functions, which cannot be
//! named, listed or printed; `+` and `*` on variables, which could only panic where shapes do not fit.
//!
//! **Not here.** Layers, parameters by path, train and eval behaviour: see `residual-nn`.
//!
//! ```
//! use residual_autograd::{Conv2dGeometry, Generator, Tape};
//!
//! let mut generator = Generator::new(0);
//! let tape = Tape::new();
//! let x = tape.leaf(generator.normal_tensor::<f32>([1, 3, 8, 8], 1.0));
//! let w = tape.leaf(generator.normal_tensor([4, 3, 3, 3], 0.1));
//! let y = x.conv2d(&w, &Conv2dGeometry::new(3, 3).padding(1))?.relu()?;
//! let loss = y.global_avg_pool()?.cross_entropy(&[2], 0.0)?;
//! println!("{tape}"); // one line per operation
//! let gradients = loss.backward()?;
//! assert_eq!(gradients.of(&w).unwrap().shape(), w.shape());
//! # Ok::<(), residual_autograd::AutogradError>(())
//! ```
//!
//! # Operations
//! Each is a method of [`Var`] that returns a [`Result`], and works on tensors of any number of axes
//! unless it says otherwise. Sizes that do not fit, and variables of two tapes, are errors. NaN and
//! infinities behave as in PyTorch.
//!
//! | | |
//! |---|---|
//! | arithmetic, with broadcasting | [`add`](Var::add), [`sub`](Var::sub), [`mul`](Var::mul), [`div`](Var::div), [`neg`](Var::neg), [`add_scalar`](Var::add_scalar), [`mul_scalar`](Var::mul_scalar) |
//! | functions of one number | [`exp`](Var::exp), [`log`](Var::log), [`sqrt`](Var::sqrt), [`powf`](Var::powf), [`sigmoid`](Var::sigmoid), [`tanh`](Var::tanh), [`relu`](Var::relu) |
//! | over axes | [`sum`](Var::sum), [`mean`](Var::mean), [`max`](Var::max), [`softmax`](Var::softmax), [`log_softmax`](Var::log_softmax) |
//! | products | [`matmul`](Var::matmul) of matrices and of stacks of them, [`linear`](Var::linear) |
//! | elements elsewhere | [`reshape`](Var::reshape), [`flatten`](Var::flatten), [`permute`](Var::permute), [`transpose`](Var::transpose), [`slice`](Var::slice), [`concatenate`](Var::concatenate) |
//! | pictures `[n, c, h, w]` | [`conv2d`](Var::conv2d), [`max_pool2d`](Var::max_pool2d), [`avg_pool2d`](Var::avg_pool2d), [`global_avg_pool`](Var::global_avg_pool), [`batch_norm`](Var::batch_norm), [`batch_norm_eval`](Var::batch_norm_eval), [`batch_norm_fused`](Var::batch_norm_fused), [`subsample_pad`](Var::subsample_pad) |
//! | loss | [`cross_entropy`](Var::cross_entropy) |
//! | memory for time | [`checkpoint`](Var::checkpoint) |
//! | one of your own | [`Operation`], [`record`](Var::record) |
//!
//! `examples/own_network.rs` trains a small network of attention with nothing else.
#![forbid(unsafe_code)]

mod backward;
mod display;
mod error;
mod gradcheck;
mod id;
mod operation;
mod registry;
mod state;
mod tape;
mod timing;
mod var;

pub use backward::Gradients;
pub use error::{AutogradError, Result};
pub use gradcheck::{GradCheck, Tolerance, WorstElement};
pub use id::Id;
pub use operation::batch_norm::RunningStatistics;
pub use operation::{Operation, registry};
pub(crate) use registry::Draw;
pub use registry::{Entry, Sample};
pub use residual_kernels::{Conv2dGeometry, Pool2dGeometry};
pub use residual_tensor::{Generator, Tensor};
pub use state::{Role, State};
pub use tape::Tape;
pub use timing::{Pass, SUM, Timing};
pub use var::Var;

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
