//! What can be wrong with a shape.

use crate::Shape;

/// A request that does not fit the tensor it was made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// Axes whose product is more than a tensor can have.
    #[error("a tensor of shape {axes:?} would have more elements than memory can address")]
    TooLarge {
        /// The axes asked for.
        axes: Vec<usize>,
    },
    /// The system has no memory for a tensor that is not too large in itself.
    #[error("there is no memory for a tensor of shape {shape}: {bytes} bytes")]
    OutOfMemory {
        /// The shape asked for.
        shape: Shape,
        /// The size of its elements.
        bytes: usize,
    },
    /// The number of elements is not the product of the shape.
    #[error("shape {shape} holds {} elements, but {given} were given", .shape.elements())]
    Length {
        /// The shape asked for.
        shape: Shape,
        /// How many elements there were.
        given: usize,
    },
    /// A reshape would change the number of elements.
    #[error("cannot reshape {from} ({} elements) to {to} ({} elements)", .from.elements(), .to.elements())]
    Reshape {
        /// The tensor's shape.
        from: Shape,
        /// The shape asked for.
        to: Shape,
    },
    /// An operation wanted another number of axes.
    #[error("{operation} needs {expected} axes, but the shape is {shape}")]
    Rank {
        /// The operation that asked.
        operation: &'static str,
        /// How many axes it wants.
        expected: usize,
        /// The tensor's shape.
        shape: Shape,
    },
    /// Axes that are not a permutation of the tensor's own.
    #[error("axes {axes:?} are not a permutation of those of {shape}")]
    Axes {
        /// The axes asked for.
        axes: Vec<usize>,
        /// The tensor's shape.
        shape: Shape,
    },
    /// A range that reaches beyond an axis.
    #[error("range {start}..{end} does not fit axis {axis} of {shape}")]
    Range {
        /// The axis.
        axis: usize,
        /// First index.
        start: usize,
        /// One past the last index.
        end: usize,
        /// The tensor's shape.
        shape: Shape,
    },
}
