//! How indices map to memory.

use serde::{Deserialize, Serialize};

use crate::{Result, Shape};

/// The order in which a tensor's elements lie in memory. Indices do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Row-major: the last index varies fastest.
    #[default]
    Contiguous,
    /// Four axes `[n, c, h, w]` stored as `n, h, w, c`: channels vary fastest.
    ///
    /// Activations are kept like this, and convolution weights `[o, i, kh, kw]` too.
    ChannelsLast,
}

impl Layout {
    /// The distance in memory between neighbours along each axis of `shape`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn strides(self, shape: &Shape) -> Result<Vec<usize>> {
        self.check(shape)?;
        let stored = match (self, &**shape) {
            (Layout::ChannelsLast, &[n, c, h, w]) => vec![n, h, w, c],
            (_, axes) => axes.to_vec(),
        };
        let mut strides = vec![1; stored.len()];
        for axis in (1..stored.len()).rev() {
            strides[axis - 1] = strides[axis] * stored[axis];
        }
        if self == Layout::ChannelsLast {
            strides[1..].rotate_right(1);
        }
        Ok(strides)
    }

    /// An error unless tensors of `shape` can have this layout.
    ///
    /// # Errors
    /// [`TensorError::Rank`](crate::TensorError::Rank) if the layout is channels-last and the shape does not have four axes.
    pub fn check(self, shape: &Shape) -> Result<()> {
        match self {
            Layout::Contiguous => Ok(()),
            Layout::ChannelsLast => shape.dims::<4>("channels-last").map(drop),
        }
    }

    /// Whether `shape` lies in memory the same way under either layout.
    pub(crate) fn is_immaterial(shape: &[usize]) -> bool {
        matches!(*shape, [_, c, h, w] if c == 1 || h * w == 1)
    }
}
