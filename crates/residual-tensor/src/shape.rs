//! The lengths of a tensor's axes, and the one place where their product is checked.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{Result, TensorError};

/// The lengths of a tensor's axes, outermost first; dereferences to a slice.
///
/// A scalar has no axes and one element.
///
/// **Invariant.** The product of the axes that are not zero, which bounds the number of elements
/// and every stride, is at most [`Shape::MAX_ELEMENTS`]. Whatever makes a shape checks it, so that
/// nothing computed from one (counts, offsets, sizes in bytes) can wrap.
///
/// ```
/// use residual_tensor::{Shape, TensorError};
///
/// assert_eq!(Shape::new([2, 3, 4])?.elements(), 24);
/// assert!(matches!(Shape::new([1 << 32, 1 << 32]), Err(TensorError::TooLarge { .. })));
/// # Ok::<(), TensorError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The most elements that a tensor can have: with eight bytes each, the size of the largest
    /// element, their size still fits `isize`, which no allocation may exceed.
    pub const MAX_ELEMENTS: usize = isize::MAX as usize / crate::element::LARGEST;

    /// A shape of these axes, outermost first.
    ///
    /// # Errors
    /// [`TensorError::TooLarge`] if the product of the axes that are not zero is more than
    /// [`MAX_ELEMENTS`](Self::MAX_ELEMENTS).
    pub fn new(axes: impl IntoShape) -> Result<Self> {
        axes.into_shape()
    }

    /// The number of elements that axes have: their product. Makes no shape, and so takes no
    /// memory.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn count(axes: &[usize]) -> Result<usize> {
        let multiply = |product: usize, &axis: &usize| product.checked_mul(axis.max(1));
        match axes.iter().try_fold(1, multiply) {
            Some(product @ ..=Self::MAX_ELEMENTS) => Ok(if axes.contains(&0) { 0 } else { product }),
            _ => Err(TensorError::TooLarge { axes: axes.to_vec() }),
        }
    }

    /// The number of elements: the product of all axes.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The axes as an array of exactly `N`.
    ///
    /// # Errors
    /// [`TensorError::Rank`] naming `operation` if there are more or fewer.
    pub fn dims<const N: usize>(&self, operation: &'static str) -> Result<[usize; N]> {
        self.0.as_slice().try_into().map_err(|_| TensorError::Rank {
            operation,
            expected: N,
            shape: self.clone(),
        })
    }
}

/// What can be made into a [`Shape`]: arrays, slices and vectors of axes, and shapes themselves.
///
/// Functions take `impl IntoShape` so that a shape can be written as `[2, 3]`. The trait is
/// sealed: no other crate implements it.
pub trait IntoShape: sealed::Sealed {
    /// The shape, whose size is checked.
    ///
    /// # Errors
    /// As [`Shape::new`].
    fn into_shape(self) -> Result<Shape>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! into_shape {
    ($([$($parameter:tt)*] $type:ty: $axes:ident => $shape:expr;)*) => { $(
        impl<$($parameter)*> sealed::Sealed for $type {}
        impl<$($parameter)*> IntoShape for $type {
            fn into_shape(self) -> Result<Shape> {
                let $axes = self;
                $shape
            }
        }
    )* };
}

into_shape! {
    [] Vec<usize>: axes => Shape::count(&axes).map(|_| Shape(axes));
    [] &[usize]: axes => axes.to_vec().into_shape();
    [const N: usize] [usize; N]: axes => axes.to_vec().into_shape();
    [const N: usize] &[usize; N]: axes => axes.to_vec().into_shape();
    [] Shape: shape => Ok(shape);
    [] &Shape: shape => Ok(shape.clone());
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl AsRef<[usize]> for Shape {
    fn as_ref(&self) -> &[usize] {
        &self.0
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, axes: &[usize; N]) -> bool {
        self.0 == axes
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Vec::deserialize(deserializer)?.into_shape().map_err(D::Error::custom)
    }
}
