//! The lengths of a tensor's axes.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize};

use crate::{Result, TensorError};

/// The lengths of a tensor's axes, outermost first; dereferences to a slice.
///
/// A scalar has no axes and one element.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(Vec<usize>);

impl Shape {
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

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
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

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(axes: [usize; N]) -> Self {
        Self(axes.to_vec())
    }
}

impl From<&[usize]> for Shape {
    fn from(axes: &[usize]) -> Self {
        Self(axes.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(axes: Vec<usize>) -> Self {
        Self(axes)
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}
