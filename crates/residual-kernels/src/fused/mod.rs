//! What training and inference combine, because each pass over memory that is spared makes a network
//! faster: an operation with those around it, on the way of numbers from memory to registers and back.
//!
//! The results are those of the operations one by one. Whoever wants one operation finds it in
//! [`ops`](crate::ops), with a simpler signature.
//!
//! | in training | |
//! |---|---|
//! | [`conv2d`] | convolutions that normalize their [`Input`] on the way, take statistics of their output, and add gradients up |
//! | [`batch_norm`] | normalization, addition and ReLU in one pass, and the gradient of all three |
//!
//! | in a compiled network | |
//! |---|---|
//! | [`PackedConv2d`] with an [`Epilogue`] | a convolution whose weight is packed once, with bias, addition and ReLU |
//! | [`affine_into`], [`sum_into`] | what no convolution could take up |
//! | [`channels_last_into`] | pictures on their way in |
//!
//! The second kind works on slices of channels-last memory and allocates nothing.

mod affine;
pub mod batch_norm;
pub mod conv2d;
mod images;
mod sum;

pub use crate::ops::conv2d::{epilogue::Epilogue, plan::PackedConv2d, source::Input};
pub use {
    affine::affine_into,
    batch_norm::{Followed, Fused, FusedGradients},
    images::channels_last_into,
    sum::sum_into,
};
