//! Every operation as its definition says: plain loops over `ndarray` arrays in double precision,
//! each gradient right below its forward pass.
//!
//! This is where to read what an operation is, and what the tests hold every faster way against.
//! A function here computes its sums in the order in which the formula writes them, looks at one
//! element at a time, and shares no loop with another function. Indices are those of the papers:
//! activations `[n, c, h, w]`, weights `[o, c, a, b]`.
//!
//! The sources say which equation a function is. Books and papers that occur more than once:
//! *Deep Learning* is Goodfellow, Bengio and Courville 2016 (<https://www.deeplearningbook.org>);
//! *PyTorch* is its documentation, whose choices are taken where the papers leave one open.
//!
//! Not here: speed, threads, memory layouts, and operations that are combinations of others.
//!
//! ```
//! use ndarray::{Array4, array};
//! use residual_kernels::{Conv2dGeometry, reference};
//!
//! // A difference of neighbors, as a convolution with the kernel [−1, 1].
//! let x = array![[[[1.0, 4.0, 9.0, 16.0]]]];
//! let weight = array![[[[-1.0, 1.0]]]];
//! let geometry = Conv2dGeometry::new(1, 2);
//! let y = reference::conv2d::forward(x.view(), weight.view(), &geometry)?;
//! assert_eq!(y, array![[[[3.0, 5.0, 7.0]]]]);
//!
//! // Of the sum of y, x₀ is in the first difference only, x₁ and x₂ are in two and cancel.
//! let dy = Array4::ones(y.dim());
//! let dx = reference::conv2d::backward_data(dy.view(), weight.view(), [1, 1, 1, 4], &geometry)?;
//! assert_eq!(dx, array![[[[-1.0, 0.0, 0.0, 1.0]]]]);
//! # Ok::<(), residual_kernels::KernelError>(())
//! ```

pub mod add;
pub mod avg_pool;
pub mod batch_norm;
pub mod blur_pool;
pub mod conv2d;
pub mod cross_entropy;
pub mod gelu;
pub mod global_avg_pool;
pub mod layer_norm;
pub mod linear;
pub mod matmul;
pub mod max_pool;
pub mod mul;
pub mod relu;
pub mod sgd;
pub mod sigmoid;
pub mod softmax;
pub mod subsample_pad;

use residual_tensor::Shape;

use crate::{KernelError, Result};

/// An error unless two named arrays have the same axes.
fn unless_same(
    operation: &'static str,
    (left, left_shape): (&'static str, &[usize]),
    (right, right_shape): (&'static str, &[usize]),
) -> Result<()> {
    KernelError::unless_same(operation, (left, &Shape::new(left_shape)?), (right, &Shape::new(right_shape)?))
}

#[cfg(test)]
mod tests;
