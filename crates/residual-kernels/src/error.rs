//! What can be wrong with the arguments of a kernel.

use residual_tensor::{Shape, TensorError};

use crate::ops::conv2d::{Algorithm, Conv2dGeometry};

/// Arguments that do not fit together, or do not make sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// A tensor has the wrong number of axes.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Two tensors do not fit each other.
    #[error("{operation}: {left} {left_shape} does not fit {right} {right_shape}: {rule}")]
    ShapeMismatch {
        /// The operation that asked.
        operation: &'static str,
        /// The name of one tensor.
        left: &'static str,
        /// Its shape.
        left_shape: Shape,
        /// The name of the other tensor, or of what was expected.
        right: &'static str,
        /// Its shape.
        right_shape: Shape,
        /// What has to hold.
        rule: &'static str,
    },
    /// A kernel, stride, dilation or number of groups of zero.
    #[error("{operation}: {parameter} must be at least 1, but is {value:?}")]
    ZeroGeometry {
        /// The operation that asked.
        operation: &'static str,
        /// The field of the geometry.
        parameter: &'static str,
        /// Its value.
        value: [usize; 2],
    },
    /// A kernel, stride, padding or dilation beyond anything that could be computed.
    #[error("{operation}: {parameter} may be at most {most}, but is {value:?}")]
    LargeGeometry {
        /// The operation that asked.
        operation: &'static str,
        /// The field of the geometry.
        parameter: &'static str,
        /// Its value.
        value: [usize; 2],
        /// The most that it may be.
        most: usize,
    },
    /// The window does not fit the padded input even once.
    #[error(
        "{operation}: kernel {kernel:?} with dilation {dilation:?} is larger than the input {input:?} \
         with padding {padding:?}; use a larger input or more padding"
    )]
    WindowTooLarge {
        /// The operation that asked.
        operation: &'static str,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Distance between its taps.
        dilation: [usize; 2],
        /// Height and width of the input.
        input: [usize; 2],
        /// Rows and columns added on each side.
        padding: [usize; 2],
    },
    /// A pooling window could lie in the padding entirely.
    #[error("{operation}: padding {padding:?} may be at most half of kernel {kernel:?}")]
    PaddingTooLarge {
        /// The operation that asked.
        operation: &'static str,
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Rows and columns added on each side.
        padding: [usize; 2],
    },
    /// The number of groups does not divide the channels.
    #[error("conv2d: {groups} groups do not divide {in_channels} input and {out_channels} output channels")]
    Groups {
        /// The number of groups.
        groups: usize,
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output.
        out_channels: usize,
    },
    /// A matrix that reaches beyond its slice, or whose rows overlap.
    #[error(
        "gemm: a {rows} × {columns} matrix with rows {row_stride} apart does not fit a slice of {elements} elements"
    )]
    MatrixOutOfBounds {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
        /// Distance between the starts of two rows.
        row_stride: usize,
        /// Length of the slice.
        elements: usize,
    },
    /// Axes that the tensor does not have, or that are named twice.
    #[error("{operation}: axes {axes:?} must be different axes of {shape}")]
    Axes {
        /// The operation that asked.
        operation: &'static str,
        /// The axes that were named.
        axes: Vec<usize>,
        /// The tensor's shape.
        shape: Shape,
    },
    /// Fewer than two axes, where matrices are multiplied.
    #[error("{operation}: {tensor} {shape} is not a matrix; it needs two axes or more")]
    NotAMatrix {
        /// The operation that asked.
        operation: &'static str,
        /// The name of the tensor.
        tensor: &'static str,
        /// Its shape.
        shape: Shape,
    },
    /// Nothing to put together.
    #[error("{operation}: needs at least one tensor")]
    NoTensors {
        /// The operation that asked.
        operation: &'static str,
    },
    /// A label that is not a class.
    #[error(
        "{operation}: label {label} at position {position} is not below the number of classes, {classes}"
    )]
    LabelOutOfRange {
        /// The operation that asked.
        operation: &'static str,
        /// The label.
        label: usize,
        /// Where in the batch it is.
        position: usize,
        /// The number of classes.
        classes: usize,
    },
    /// An algorithm that cannot compute the convolution that it was given for.
    #[error("conv2d: {} cannot compute a convolution with {geometry}: {reason}", algorithm.name())]
    Algorithm {
        /// The algorithm.
        algorithm: Algorithm,
        /// The convolution.
        geometry: Conv2dGeometry,
        /// What the algorithm needs.
        reason: &'static str,
    },
    /// An environment variable that names something that does not exist, or not on this processor.
    #[error("{variable} is {value:?}, which is not one of the names known here: {}", known.join(", "))]
    Environment {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The names that it may have.
        known: Vec<&'static str>,
    },
    /// A tensor to add, and another one in the output's place.
    #[error("conv2d: an epilogue adds either a tensor or what the output holds; leave one out")]
    TwoAddends,
    /// Too few values for a mean, a variance or a largest value.
    #[error("{operation}: {shape} has {count} values, but needs at least {needed}")]
    TooFewValues {
        /// The operation that asked.
        operation: &'static str,
        /// The tensor's shape.
        shape: Shape,
        /// How many values there are.
        count: usize,
        /// How many there must be.
        needed: usize,
    },
    /// A number outside the range where it means something.
    #[error("{operation}: {parameter} must be {range}, but is {value}")]
    OutOfRange {
        /// The operation that asked.
        operation: &'static str,
        /// The name of the number.
        parameter: &'static str,
        /// What was given.
        value: f64,
        /// What would have been right.
        range: &'static str,
    },
    /// An output that cannot be computed again, because something was added to it.
    #[error(
        "batch_norm: what was added to the output is not kept, so that the output cannot be computed again"
    )]
    AddendGone,
    /// Statistics of another number of values.
    #[error("batch_norm: the statistics are of {given} values of each channel, but x has {needed}")]
    StatisticsCount {
        /// How many values the statistics are of.
        given: usize,
        /// How many values of each channel x has.
        needed: usize,
    },
    /// A step with momentum, but nowhere to keep it.
    #[error("sgd: momentum {momentum} needs a velocity tensor; pass one of zeros in the parameter's shape")]
    MissingVelocity {
        /// The momentum asked for.
        momentum: f64,
    },
}

impl KernelError {
    /// An error unless both named shapes are equal.
    ///
    /// # Errors
    /// [`ShapeMismatch`](Self::ShapeMismatch).
    pub fn unless_same(
        operation: &'static str,
        left: (&'static str, &Shape),
        right: (&'static str, &Shape),
    ) -> crate::Result<()> {
        if left.1 == right.1 {
            return Ok(());
        }
        Err(Self::mismatch(operation, left, right, "both must have the same shape"))
    }

    /// A [`ShapeMismatch`](Self::ShapeMismatch) of two named shapes.
    pub fn mismatch(
        operation: &'static str,
        (left, left_shape): (&'static str, &Shape),
        (right, right_shape): (&'static str, &Shape),
        rule: &'static str,
    ) -> Self {
        let (left_shape, right_shape) = (left_shape.clone(), right_shape.clone());
        Self::ShapeMismatch { operation, left, left_shape, right, right_shape, rule }
    }
}

/// An error unless a slice has as many elements as its shape. (A [`Shape`] takes memory, and what
/// runs on slices must not.)
pub(crate) fn check_length<const N: usize>(shape: [usize; N], given: usize) -> crate::Result<()> {
    if Shape::count(&shape)? == given {
        return Ok(());
    }
    Err(TensorError::Length { shape: Shape::new(shape)?, given })?
}
