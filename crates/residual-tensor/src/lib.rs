//! Storage for n-dimensional data: checked shapes, memory layouts, aligned and recycled memory.
//!
//! **Decision.** [`Tensor`] owns memory; [`ndarray`] is how one looks at it. A tensor is a
//! shape, a [`Layout`] and a shared buffer, and lends `ArrayView`s for everything that has to
//! do with axes, strides and slices. Clones are cheap (they share), writing copies only what
//! is shared.
//!
//! **Rejected.** A tensor with free strides of its own: every kernel above would have to
//! handle any stride, or copy without saying so. Two layouts are enough for a residual
//! network, and a kernel can name the one that it wants.
//!
//! **Sizes.** A [`Shape`] is checked where it is made, so that no count, stride or size in bytes can
//! wrap. What a user or a file may ask for goes through functions that return a [`Result`].
//!
//! **Memory** is cut from [arenas](memory), one for each thread, and goes back to the system on
//! request or when it is not used.
//!
//! **Not here.** Arithmetic. Numbers are computed in `residual-kernels`.
//!
//! ```
//! use residual_tensor::{Layout, Tensor};
//!
//! let x = Tensor::from_vec([1, 2, 2, 2], vec![0., 1., 2., 3., 4., 5., 6., 7.])?;
//! let last = x.to_layout(Layout::ChannelsLast);
//! assert_eq!(last.as_slice(), [0., 4., 1., 5., 2., 6., 3., 7.]); // memory order
//! assert_eq!(last.view()[[0, 1, 0, 1]], 5.);                     // indices stay NCHW
//! assert_eq!(last, x);                                           // equality is by index
//! # Ok::<(), residual_tensor::TensorError>(())
//! ```

mod buffer;
mod element;
mod error;
mod generator;
mod layout;
pub mod memory;
mod shape;
mod tensor;
mod view;

pub use buffer::Buffer;
pub use element::{Element, Float, PerFloat};
pub use error::TensorError;
pub use generator::Generator;
pub use layout::Layout;
pub use shape::{IntoShape, Shape};
pub use tensor::Tensor;
pub use view::{IntoView, TensorView};

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, TensorError>;

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
