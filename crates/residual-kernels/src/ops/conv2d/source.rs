//! What a convolution reads: a tensor, or one that is still to be normalized.

use residual_tensor::{Float, Layout, Shape, Tensor};

use crate::{
    Result,
    engine::isa::Normalize,
    ops::batch_norm::{Affine, Fused},
};

/// The input of a convolution.
///
/// In a residual network most convolutions read what a normalization gives. The fast algorithms
/// copy or transform their input anyway, and normalize it on the way: the result need not be written
/// to memory and read again. The bits are the same.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a, T: Float> {
    /// A tensor, `[n, c, h, w]`.
    Tensor(&'a Tensor<T>),
    /// What a normalization gives to which nothing is added, `[n, c, h, w]`.
    Normalized(&'a Fused<T>),
}

impl<'a, T: Float> From<&'a Tensor<T>> for Input<'a, T> {
    fn from(tensor: &'a Tensor<T>) -> Self {
        Self::Tensor(tensor)
    }
}

impl<'a, T: Float> From<&'a Fused<T>> for Input<'a, T> {
    fn from(fused: &'a Fused<T>) -> Self {
        Self::Normalized(fused)
    }
}

impl<'a, T: Float> Input<'a, T> {
    /// Its shape.
    pub fn shape(&self) -> &'a Shape {
        match self {
            Self::Tensor(tensor) => tensor.shape(),
            Self::Normalized(fused) => fused.x.shape(),
        }
    }

    /// The numbers themselves, for any algorithm.
    pub(super) fn value(&self) -> Result<Tensor<T>> {
        match self {
            Self::Tensor(tensor) => Ok((*tensor).clone()),
            Self::Normalized(fused) => fused.forward(),
        }
    }

    /// Makes them ready for the fast algorithms.
    pub(super) fn prepare(&self) -> Result<Prepared<T>> {
        let (tensor, affine) = match self {
            Self::Tensor(tensor) => (*tensor, None),
            Self::Normalized(fused) => (&fused.x, Some((fused.affine()?, fused.has_relu()))),
        };
        Ok(Prepared { numbers: tensor.to_layout(Layout::ChannelsLast), affine })
    }
}

/// What a [`Source`] refers to.
pub(super) struct Prepared<T: Float> {
    numbers: Tensor<T>,
    affine: Option<(Affine<T>, bool)>,
}

impl<T: Float> Prepared<T> {
    /// For the fast algorithms.
    pub(super) fn source(&self) -> Source<'_, T> {
        let normalization = self.affine.as_ref().map(|(affine, relu)| {
            let [centre, scale, shift] = affine.coefficients();
            Normalization { centre, scale, shift, relu: *relu }
        });
        Source { numbers: self.numbers.as_slice(), normalization }
    }
}

/// Channels-last numbers, and what is done to them as they are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a, T> {
    pub(super) numbers: &'a [T],
    pub(super) normalization: Option<Normalization<'a, T>>,
}

impl<'a, T> From<&'a [T]> for Source<'a, T> {
    fn from(numbers: &'a [T]) -> Self {
        Self { numbers, normalization: None }
    }
}

/// `max((x − centre) · scale + shift, 0)`, or without the maximum, in each channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Normalization<'a, T> {
    centre: &'a [T],
    scale: &'a [T],
    shift: &'a [T],
    relu: bool,
}

impl<T> Normalization<'_, T> {
    /// The kernels' form, for `channels` channels from `first` on.
    pub(super) fn at(&self, first: usize, channels: usize) -> Normalize<T> {
        let from = |coefficients: &[T]| coefficients[first..first + channels].as_ptr();
        Normalize {
            centre: from(self.centre),
            scale: from(self.scale),
            shift: from(self.shift),
            relu: self.relu,
        }
    }
}
