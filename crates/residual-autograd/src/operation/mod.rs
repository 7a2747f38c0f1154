//! The operations: each file has the struct with its saved tensors, the method of [`Var`] that
//! runs it, and [`BuiltIn`]: its name, how to draw a sample, and the backward.

mod table;

pub(crate) mod arithmetic;
pub(crate) mod batch_norm;
pub(crate) mod blur_pool;
pub(crate) mod checkpoint;
pub(crate) mod conv2d;
pub(crate) mod cross_entropy;
pub(crate) mod elementary;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod matmul;
pub(crate) mod pool;
pub(crate) mod rearrange;
pub(crate) mod reduce;
pub(crate) mod relu;
pub(crate) mod reshape;
pub(crate) mod softmax;
pub(crate) mod subsample_pad;

use residual_tensor::{Float, Tensor};

#[allow(unused_imports)] // for the documentation above
use crate::Var;
use crate::{AutogradError, Draw, Result, Sample};

pub use table::registry;

/// A recorded operation: a name and what backward needs.
///
/// It is a struct that keeps what its backward needs, and nothing more: the tape drops it as soon as
/// it has been used. Keep tensors ([`Var::value`]), not variables: a variable holds its tape, which
/// would hold itself then, and never be freed.
///
/// An operation of one's own is a struct, its backward, and a function that runs it forward and
/// [records](Var::record) it. [`GradCheck`](crate::GradCheck) tells whether the backward is right:
///
/// ```
/// use residual_autograd::{GradCheck, Operation, Result, Tolerance, Var};
/// use residual_kernels::elementwise;
/// use residual_tensor::{Float, Generator, Tensor};
///
/// /// `ln(1 + eˣ)`, a smooth ReLU.
/// fn softplus<T: Float>(x: &Var<T>) -> Result<Var<T>> {
///     let output = x.value().map(|x| x.exp().ln_1p());
///     x.record(Softplus { input: x.value().clone() }, &[x], output)
/// }
///
/// struct Softplus<T: Float> {
///     input: Tensor<T>,
/// }
///
/// impl<T: Float> Operation<T> for Softplus<T> {
///     fn name(&self) -> &'static str {
///         "softplus"
///     }
///
///     /// `dx = dy · sigmoid(x)`.
///     fn backward(self: Box<Self>, dy: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
///         Ok(vec![Some(elementwise::mul(&dy, elementwise::sigmoid(&self.input)?)?)])
///     }
/// }
///
/// let mut generator = Generator::new(0);
/// let x = generator.normal_tensor([3, 4], 1.0);
/// let check = GradCheck::run(&[x], |x| softplus(&x[0]), &mut generator, Tolerance::default())?;
/// assert!(check.passed(), "{check:?}");
/// # Ok::<(), residual_autograd::AutogradError>(())
/// ```
pub trait Operation<T: Float> {
    /// The operation's name, as the tape prints it and errors say it.
    fn name(&self) -> &'static str;

    /// The gradients with respect to the inputs, in the order in which they were recorded, given
    /// that of the output.
    ///
    /// Each has the shape of its input. `wanted` tells which inputs need a gradient; for the others
    /// `None` saves the work. `None` for an input that needs one says that it is zero.
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
        let name = self.name();
        arrive_each(name, arrived, self.backward(upstream, wanted)?)
    }
}

/// An operation of this crate. It is an [`Operation`], and can be sampled, so that whatever there is
/// gets checked: [`Listed`](table::Listed) makes it impossible to leave one out of the
/// [registry](crate::registry).
pub(crate) trait BuiltIn<T: Float>: table::Listed<T> {
    /// [`Operation::name`].
    const NAME: &'static str;

    /// A random use of it.
    fn sample(draw: &mut Draw) -> Sample;

    /// [`Operation::backward`].
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>>;

    /// [`Operation::accumulate`].
    fn accumulate(
        self: Box<Self>,
        upstream: Tensor<T>,
        wanted: &[bool],
        arrived: &mut [Option<Tensor<T>>],
    ) -> Result<()> {
        arrive_each(Self::NAME, arrived, self.backward(upstream, wanted)?)
    }
}

/// A built-in operation as the tape holds it. (An implementation for all that is [`BuiltIn`] would keep
/// other crates from implementing [`Operation`] for types with a parameter.)
pub(crate) struct Own<O>(pub(crate) O);

impl<T: Float, O: BuiltIn<T>> Operation<T> for Own<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        BuiltIn::backward(Box::new(self.0), upstream, wanted)
    }

    fn accumulate(
        self: Box<Self>,
        upstream: Tensor<T>,
        wanted: &[bool],
        arrived: &mut [Option<Tensor<T>>],
    ) -> Result<()> {
        BuiltIn::accumulate(Box::new(self.0), upstream, wanted, arrived)
    }
}

/// [`arrive`] for each input of an operation.
pub(crate) fn arrive_each<T: Float>(
    operation: &'static str,
    sums: &mut [Option<Tensor<T>>],
    gradients: Vec<Option<Tensor<T>>>,
) -> Result<()> {
    if sums.len() != gradients.len() {
        let (inputs, gradients) = (sums.len(), gradients.len());
        return Err(AutogradError::GradientCount { operation, inputs, gradients });
    }
    for (input, (sum, gradient)) in sums.iter_mut().zip(gradients).enumerate() {
        if let (Some(sum), Some(gradient)) = (&sum, &gradient)
            && sum.shape() != gradient.shape()
        {
            let (shape, gradient) = (sum.shape().clone(), gradient.shape().clone());
            return Err(AutogradError::GradientShape { operation, input, shape, gradient });
        }
        arrive(sum, gradient)?;
    }
    Ok(())
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
