//! A tape that records what is computed from tensors and runs it backwards.
//!
//! **Decision.** One named struct per operation holds what its backward needs, and stands next
//! to the method that runs its forward: to know how a convolution is differentiated, read
//! `operation/conv2d.rs`. The tape is a list in order of execution; backward walks it once from
//! the end, without recursion, and drops every saved tensor as soon as it has been used.
//!
//! **Rejected.** A graph of reference-counted nodes, where depth is bounded by the stack and
//! memory is freed when the last handle goes; closures as backward functions, which cannot be
//! named, listed or printed.
//!
//! **Not here.** Layers, parameters by path, train and eval behaviour: see `residual-nn`.
//!
//! ```
//! use residual_autograd::Tape;
//! use residual_kernels::Conv2dGeometry;
//! use residual_tensor::Generator;
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
pub use operation::batch_norm::RunningStatistics;
pub use operation::{Operation, registry};
pub(crate) use registry::Draw;
pub use registry::{Entry, Sample};
pub use state::{Role, State};
pub use tape::Tape;
pub use timing::{Pass, SUM, Timing};
pub use var::Var;
