//! The operations: each file has the struct with its saved tensors, the method of
//! [`Var`] that runs it, the backward, and samples for the [registry](crate::registry).

pub(crate) mod add;
pub(crate) mod batch_norm;
pub(crate) mod checkpoint;
pub(crate) mod conv2d;
pub(crate) mod cross_entropy;
pub(crate) mod linear;
pub(crate) mod pool;
pub(crate) mod relu;
pub(crate) mod reshape;
pub(crate) mod subsample_pad;

use residual_tensor::{Float, Tensor};

use crate::Result;
#[allow(unused_imports)] // for the documentation above
use crate::Var;

/// A recorded operation: a name and what backward needs.
pub trait Operation<T: Float> {
    /// The operation's name, as the tape prints it and the registry lists it.
    fn name(&self) -> &'static str;

    /// The gradients with respect to the inputs, in order, given that of the output.
    ///
    /// Consumes the saved tensors. `wanted` tells which inputs need a gradient; for the others
    /// `None` saves the work.
    ///
    /// # Errors
    /// What the kernels report; not expected if forward succeeded.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>>;

    /// [`backward`](Self::backward), added to the gradients that have `arrived` at the inputs by
    /// other ways. For operations that can add as they go.
    ///
    /// # Errors
    /// As [`backward`](Self::backward).
    fn accumulate(
        self: Box<Self>,
        upstream: Tensor<T>,
        wanted: &[bool],
        arrived: &mut [Option<Tensor<T>>],
    ) -> Result<()> {
        arrive_each(arrived, self.backward(upstream, wanted)?)
    }
}

/// [`arrive`] for each input of an operation.
pub(crate) fn arrive_each<T: Float>(
    sums: &mut [Option<Tensor<T>>],
    gradients: Vec<Option<Tensor<T>>>,
) -> Result<()> {
    sums.iter_mut().zip(gradients).try_for_each(|(sum, gradient)| arrive(sum, gradient))
}

/// Adds a gradient, if there is one, to what has arrived.
pub(crate) fn arrive<T: Float>(sum: &mut Option<Tensor<T>>, gradient: Option<Tensor<T>>) -> Result<()> {
    match (sum, gradient) {
        (Some(sum), Some(gradient)) => residual_kernels::add::accumulate(sum, &gradient)?,
        (sum, Some(gradient)) => *sum = Some(gradient),
        (_, None) => {}
    }
    Ok(())
}

/// `Some(f()?)` if wanted: most backwards are a list of these.
pub(crate) fn when<R, E>(
    wanted: bool,
    f: impl FnOnce() -> std::result::Result<R, E>,
) -> std::result::Result<Option<R>, E> {
    wanted.then(f).transpose()
}
