//! What can go wrong while recording or running backwards.

use residual_kernels::KernelError;
use residual_tensor::{Shape, TensorError};

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, AutogradError>;

/// An error of the tape, or of a kernel with the path of the layer that called it.
#[derive(Debug, thiserror::Error)]
pub enum AutogradError {
    /// A kernel refused its input.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A tensor could not be reshaped.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Something failed inside a named scope.
    #[error("{path}: {source}")]
    At {
        /// The innermost scope, such as `layer2.0.conv1`.
        path: String,
        /// What failed there.
        #[source]
        source: Box<AutogradError>,
    },
    /// `backward` was called on something that is not a single number.
    #[error(
        "backward starts from a scalar, but the shape is {shape}; use backward_with and give the upstream gradient"
    )]
    NotScalar {
        /// The shape of the variable.
        shape: Shape,
    },
    /// The upstream gradient does not have the variable's shape.
    #[error("the upstream gradient has shape {upstream}, but the variable has {variable}")]
    Upstream {
        /// Shape of the gradient given.
        upstream: Shape,
        /// Shape of the variable.
        variable: Shape,
    },
    /// Nothing that was recorded leads to this variable.
    #[error(
        "nothing here needs a gradient: no leaf or parameter leads to this variable, or the tape does not record"
    )]
    NoGradient,
    /// Variables of different tapes were used together.
    #[error(
        "{operation}: the variables are on different tapes; take the value of one to the tape of the other \
         with `tape.input(x.value().clone())`"
    )]
    MixedTapes {
        /// The operation that was to be run.
        operation: &'static str,
    },
    /// Fewer than two axes, where there should be a matrix.
    #[error("{operation}: {shape} is not a matrix; it needs two axes or more")]
    NotAMatrix {
        /// The operation that asked.
        operation: &'static str,
        /// The variable's shape.
        shape: Shape,
    },
    /// The backward of an operation gave too many or too few gradients.
    #[error("{operation}: backward gave {gradients} gradients for {inputs} inputs; one for each is needed")]
    GradientCount {
        /// The operation.
        operation: &'static str,
        /// How many inputs it was recorded with.
        inputs: usize,
        /// How many gradients it gave.
        gradients: usize,
    },
    /// The backward of an operation gave a gradient that does not have the shape of its input.
    #[error("{operation}: backward gave a gradient of shape {gradient} for input {input} of shape {shape}")]
    GradientShape {
        /// The operation.
        operation: &'static str,
        /// Which of its inputs.
        input: usize,
        /// The shape of that input.
        shape: Shape,
        /// The shape of the gradient.
        gradient: Shape,
    },
    /// Random numbers are needed, and there is nothing to draw them from.
    #[error("random numbers are drawn here, but the tape has no generator; make it `with_generator`")]
    NoGenerator,
    /// Saved tensors are freed as backward uses them.
    #[error("this part of the tape has already been run backwards; record a new tape for each step")]
    Spent,
    /// A state was given a tensor of another shape.
    #[error("cannot put a tensor of shape {given} into a state of shape {held}")]
    StateShape {
        /// The state's shape.
        held: Shape,
        /// The tensor's shape.
        given: Shape,
    },
}

impl AutogradError {
    /// This error with the path of the layer it came from. The innermost path wins.
    #[must_use]
    pub fn at(self, path: &str) -> Self {
        match self {
            Self::At { .. } => self,
            _ if path.is_empty() => self,
            source => Self::At { path: path.to_owned(), source: Box::new(source) },
        }
    }
}
