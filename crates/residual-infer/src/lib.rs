//! A trained network, compiled.
//!
//! - [`Compiled`] is a network that many threads ask at once, for inputs of any shape.
//! - [`Session`] is how it computes one shape of input, for one thread at a time. Printed, it shows its
//!   steps; [timed](Session::profile), it shows where the time goes.
//!
//! **Decision.** A session is made of the operations of the network's [`Graph`](residual_nn::Graph), with
//! batch normalization folded into the weights, sums and activations done to a convolution's results
//! before they leave the registers, weights in the order in which kernels read them, and every
//! intermediate result at a fixed place of one arena. The first layers take a large batch a few pictures at
//! a time, so that results are still in a cache when the next layer reads them. A run takes no memory and
//! decides nothing. Packed weights belong to the compiled network and are shared by its sessions: a thread
//! or a batch size more costs an arena, not the weights.
//!
//! **Rejected.** *Folding normalization into the network itself*: its parameters would no longer be
//! those of the file it came from. *A step per operation*: most of them would wait for memory.
//!
//! **Not here.** Gradients and statistics of batches (`residual-autograd`, which a session
//! does not touch); files; other precisions than `f32`, for which there is
//! [`Graph::evaluate`](residual_nn::Graph::evaluate).
//!
//! ```
//! use residual_infer::Compiled;
//! use residual_infer::residual_nn::{BasicBlock, BlockConfig, Generator, Tensor};
//!
//! let block = BasicBlock::<f32>::new(&BlockConfig::basic(16, 32).stride(2), &mut Generator::new(0))?;
//!
//! let compiled = Compiled::new(&block);
//! let images = Tensor::full([1, 16, 32, 32], 0.5);
//! let answer = compiled.run(&images)?; // from any number of threads
//! assert_eq!(**answer.shape(), [1, 32, 16, 16]);
//! assert_eq!(**compiled.run(&Tensor::full([3, 16, 20, 24], 0.5))?.shape(), [3, 32, 10, 12]);
//!
//! let mut session = compiled.session([1, 16, 32, 32])?;
//! println!("{session}"); // three convolutions; the last one also adds the shortcut and applies the ReLU
//! assert_eq!(session.run(&images)?, answer);
//! # Ok::<(), residual_nn::Error>(())
//! ```
#![forbid(unsafe_code)]

mod arena;
mod compiled;
mod display;
mod division;
mod fuse;
mod packed;
mod session;
mod step;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use compiled::Compiled;
/// What a network is made of, so that a program needs this crate alone.
pub use residual_nn;
pub use session::{Session, StepTime, StepTimes};

/// Locks what a thread that panicked has left whole: lists that are only added to or taken from.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
