//! Layers and blocks of residual networks, each written once.
//!
//! **Decision.** A [`Module`] says what it does in one function against a [`Builder`]. The [`Graph`] that
//! this makes is all that anyone reads: it runs on a tape, gives shapes and cost, the states by path, groups
//! of operations that run fused, and is compiled and exported by other crates. An [`Operation`] is described
//! in one place, a file in `layers/`. Whether a network trains or evaluates is an argument ([`Mode`]), never
//! a flag inside.
//!
//! **Rejected.** A method per reading (forward, shapes, states, export): the same network five times, which
//! nothing keeps equal. Shapes in the type system: they cannot express a network that is described in a file.
//! Separate parameter trees: one list serves saving, loading, counting and stepping.
//!
//! **Not here.** Whole networks (`residual-zoo`), training (`residual-train`).
//!
//! ```
//! use residual_nn::{BasicBlock, BlockConfig, Generator, Mode, Module, Shape, Tape};
//!
//! let mut generator = Generator::new(0);
//! let block = BasicBlock::<f32>::new(&BlockConfig::basic(16, 32).stride(2), &mut generator)?;
//!
//! let trace = block.trace(&Shape::new([8, 16, 32, 32])?)?;
//! assert_eq!(**trace.output(), [8, 32, 16, 16]);
//! println!("{} multiply-adds", trace.multiply_adds);
//!
//! let tape = Tape::new();
//! let x = tape.input(generator.normal_tensor([8, 16, 32, 32], 1.0));
//! let y = block.forward(&x, Mode::Train)?;
//! assert_eq!(**y.shape(), [8, 32, 16, 16]);
//! # Ok::<(), residual_nn::Error>(())
//! ```
#![forbid(unsafe_code)]

mod block;
mod builder;
pub mod fusion;
pub mod graph;
mod init;
mod layers;
mod module;
pub mod onnx;
mod operation;
mod plugin;
mod pooled;
mod registry;
mod run;
mod shortcut;
mod squeeze_excite;
mod trace;

pub use block::{
    BasicBlock, BlockConfig, BlockKind, BlockOrder, Bottleneck, BottleneckStride, PreBasicBlock,
    PreBottleneck,
};
pub use builder::{Builder, Node};
pub use graph::Graph;
pub use init::{Fan, Init};
pub use layers::{
    Add, AvgPool2d, BatchNorm2d, BatchNormConfig, BlurPool2d, Conv2d, Conv2dConfig, DropPath, Gelu,
    GlobalAvgPool, LayerNorm, LayerScale, Linear, MaxPool2d, Mul, Relu, Scale, Sigmoid, SubsamplePad,
};
pub use module::{Child, Mode, Module, Sequential};
pub use operation::{Kept, Operation, Pattern, Value};
pub use plugin::Plugin;
pub use pooled::PooledBlock;
pub use registry::{LayerEntry, LayerSample, layers};
pub use residual_autograd::{AutogradError as Error, Result, Role, State, Tape};
pub use residual_kernels::{Conv2dGeometry, Pool2dGeometry};
pub use residual_tensor::{Generator, Shape, Tensor};
pub use shortcut::{Shortcut, ShortcutKind};
pub use squeeze_excite::SqueezeExcite;
pub use trace::{Layer, Trace};

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
