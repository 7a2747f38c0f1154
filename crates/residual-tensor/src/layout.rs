//! How indices map to memory.

use serde::{Deserialize, Serialize};

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
    /// # Panics
    /// If the layout is channels-last and the shape does not have four axes; tensors cannot be
    /// built that way.
    pub fn strides(self, shape: &[usize]) -> Vec<usize> {
        match self {
            Layout::Contiguous => {
                let mut strides = vec![1; shape.len()];
                for axis in (1..shape.len()).rev() {
                    strides[axis - 1] = strides[axis] * shape[axis];
                }
                strides
            }
            Layout::ChannelsLast => {
                let &[_, c, h, w] = shape else { panic!("channels-last needs four axes, got {shape:?}") };
                vec![h * w * c, 1, w * c, c]
            }
        }
    }

    /// Whether `shape` lies in memory the same way under either layout.
    pub(crate) fn is_immaterial(shape: &[usize]) -> bool {
        matches!(*shape, [_, c, h, w] if c == 1 || h * w == 1)
    }
}
