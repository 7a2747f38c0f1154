//! A trained network, compiled.
//!
//! **Decision.** A [`Plan`] is a network for inputs of one shape: the operations of its
//! [`Graph`](residual_nn::Graph) with batch normalization folded into the weights, sums and
//! activations done to a convolution's results before they leave the registers, weights in the
//! order in which kernels read them, and every intermediate result at a fixed place of one arena.
//! The first layers take a large batch a few pictures at a time, so that results are still in a cache
//! when the next layer reads them. A run takes no memory and decides nothing. A [`Model`] keeps plans for the shapes that it meets.
//! Printed, a plan shows all of this; profiled, it shows where the time goes.
//!
//! **Rejected.** *Folding normalization into the network itself*: its parameters would no longer be
//! those of the file it came from. *A step per operation*: most of them would wait for memory.
//!
//! **Not here.** Gradients and statistics of batches (`residual-autograd`, which a plan does not
//! touch); files; other precisions than `f32`, for which there is
//! [`Graph::evaluate`](residual_nn::Graph::evaluate).
//!
//! ```
//! use residual_infer::{Model, Plan};
//! use residual_nn::{BasicBlock, BlockConfig};
//! use residual_tensor::{Generator, Tensor};
//!
//! let block = BasicBlock::<f32>::new(&BlockConfig::basic(16, 32).stride(2), &mut Generator::new(0))?;
//!
//! let mut plan = Plan::new(&block, [1, 16, 32, 32])?;
//! println!("{plan}"); // three convolutions, of which the last one adds and cuts off
//! let images = Tensor::full([1, 16, 32, 32], 0.5);
//! let answer = plan.run(&images)?;
//! assert_eq!(**answer.shape(), [1, 32, 16, 16]);
//!
//! let mut model = Model::new(&block);
//! assert_eq!(model.run(&images)?, answer);
//! assert_eq!(**model.run(&Tensor::full([3, 16, 20, 24], 0.5))?.shape(), [3, 32, 10, 12]);
//! # Ok::<(), residual_nn::Error>(())
//! ```
#![forbid(unsafe_code)]

mod arena;
mod display;
mod division;
mod fuse;
mod model;
mod plan;
mod step;

pub use model::Model;
pub use plan::{Plan, Profile, StepTime};
