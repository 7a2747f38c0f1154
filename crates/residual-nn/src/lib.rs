//! Layers of residual networks.
//!
//! **Decision.** A layer is a plain struct with a configuration and [`State`]s, and implements
//! [`Module`]: run it, walk its states by path, work out its output shape without running it,
//! describe it as a [`Graph`] of operations.
//! Whether a network trains or evaluates is an argument ([`Mode`]), never a flag inside.
//! A plain block is a residual block whose configuration says `residual: false`: the paper's
//! comparison is one line apart.
//!
//! **Rejected.** Shapes in the type system: they cannot express a network that is described in
//! a file. Separate parameter trees: one walk serves saving, loading, counting and stepping.
//!
//! **Not here.** Whole networks (`residual-zoo`), training (`residual-train`).
//!
//! ```
//! use residual_autograd::Tape;
//! use residual_nn::{Block, BlockConfig, Mode, Module, Trace};
//! use residual_tensor::{Generator, Shape};
//!
//! let mut generator = Generator::new(0);
//! let block = Block::<f32>::new(&BlockConfig::basic(16, 32).stride(2), &mut generator)?;
//!
//! let mut trace = Trace::new();
//! assert_eq!(*block.propagate(&Shape::new([8, 16, 32, 32])?, &mut trace)?, [8, 32, 16, 16]);
//! println!("{} multiply-adds", trace.multiply_adds());
//!
//! let tape = Tape::new();
//! let x = tape.input(generator.normal_tensor([8, 16, 32, 32], 1.0));
//! let y = block.forward(&x, Mode::Train)?;
//! assert_eq!(**y.shape(), [8, 32, 16, 16]);
//! # Ok::<(), residual_nn::Error>(())
//! ```
#![forbid(unsafe_code)]

mod activation;
mod batch_norm;
mod block;
mod conv2d;
mod fused;
mod graph;
mod init;
mod linear;
mod module;
mod pool;
mod registry;
mod shortcut;
mod trace;

pub use activation::Relu;
pub use batch_norm::{BatchNorm2d, BatchNormConfig};
pub use block::{Block, BlockConfig, BlockKind, BlockOrder, BottleneckStride};
pub use conv2d::{Conv2d, Conv2dConfig};
pub use fused::{conv_norm, norm_relu};
pub use graph::{Graph, GraphBuilder, Node, NodeId, Op};
pub use init::{Fan, Init};
pub use linear::Linear;
pub use module::{Mode, Module, Visitor, call_checkpointed};
pub use pool::{AvgPool2d, GlobalAvgPool, MaxPool2d};
pub use registry::{LayerEntry, LayerSample, layers};
pub use residual_autograd::{AutogradError as Error, Result, Role, State, Tape};
pub use residual_kernels::{Conv2dGeometry, Pool2dGeometry};
pub use shortcut::{Shortcut, ShortcutKind};
pub use trace::{Layer, Trace};
