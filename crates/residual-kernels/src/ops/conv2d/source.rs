//! What a convolution reads: numbers, or numbers that are still to be normalized.

use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorView};

use crate::{Result, engine::isa::Normalize, fused::Fused, ops::batch_norm::pass::Affine};

/// The input of a convolution.
///
/// In a residual network most convolutions read what a normalization gives. The fast algorithms
/// copy or transform their input anyway, and normalize it on the way: the result need not be written
/// to memory and read again. The bits are the same.
#[derive(Debug, Clone)]
pub enum Input<'a, T: Float> {
    /// Numbers, `[n, c, h, w]`.
    View(TensorView<'a, T>),
    /// What a normalization gives to which nothing is added, `[n, c, h, w]`.
    Normalized(&'a Fused<T>),
}

impl<'a, T: Float> From<&'a Tensor<T>> for Input<'a, T> {
    fn from(tensor: &'a Tensor<T>) -> Self {
        Self::View(tensor.into())
    }
}

impl<'a, T: Float> From<&'a Fused<T>> for Input<'a, T> {
    fn from(fused: &'a Fused<T>) -> Self {
        Self::Normalized(fused)
    }
}

impl<'a, T: Float> Input<'a, T> {
    /// Its shape.
    pub fn shape(&self) -> &Shape {
        match self {
            Self::View(view) => view.shape(),
            Self::Normalized(fused) => fused.x.shape(),
        }
    }

    /// The numbers themselves, for any algorithm.
    pub(super) fn value(self) -> Result<TensorView<'a, T>> {
        match self {
            Self::View(view) => Ok(view),
            Self::Normalized(fused) => Ok(fused.forward()?.into_view()?),
        }
    }

    /// Makes them ready for the fast algorithms.
    pub(super) fn prepare(self) -> Result<Prepared<'a, T>> {
        let (view, affine) = match self {
            Self::View(view) => (view, None),
            Self::Normalized(fused) => ((&fused.x).into(), Some((fused.affine()?, fused.has_relu()))),
        };
        Ok(Prepared { numbers: view.into_layout(Layout::ChannelsLast)?, affine })
    }
}

/// What a [`Source`] refers to.
pub(super) struct Prepared<'a, T: Float> {
    numbers: TensorView<'a, T>,
    affine: Option<(Affine<T>, bool)>,
}

impl<T: Float> Prepared<'_, T> {
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
