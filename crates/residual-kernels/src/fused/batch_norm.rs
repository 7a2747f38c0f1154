//! Batch normalization with what follows it in a residual network, in as few passes over memory
//! as there can be: `y = max(γ · x̂ + β + addend, 0)`.
//!
//! The results are those of the operations one by one. The gradient needs no mask: where nothing
//! is added, whether an output was positive is computed again from x; where something is, the
//! output is kept for the next convolution anyway.

use residual_tensor::{Float, IntoView, Layout, Tensor, TensorView};

use crate::{
    BatchStatistics, KernelError, Result,
    ops::batch_norm::{
        Normalizer, check, check_backward, check_count,
        pass::{Affine, Gate, differentiate, differentiate_beside},
        require_two, statistics, vector,
    },
};

/// The statistics of `x` that [`forward`] normalizes by: the given ones, if they fit (a
/// convolution [takes them](super::conv2d::forward_with_statistics) as it goes), or ones taken here.
///
/// # Shapes
/// `x [n, c, h, w]`, `gamma [c]`, `beta [c]` → statistics of `c` channels.
///
/// # Errors
/// If the shapes do not fit, or a channel has fewer than two values.
pub fn statistics_for<T: Float>(
    x: &Tensor<T>,
    given: Option<BatchStatistics>,
    gamma: &Tensor<T>,
    beta: &Tensor<T>,
) -> Result<BatchStatistics> {
    let operation = "batch_norm";
    let mut vectors = vec![("gamma", gamma.shape()), ("beta", beta.shape())];
    if let Some(BatchStatistics { mean, variance, .. }) = &given {
        vectors.extend([("mean", mean.shape()), ("variance", variance.shape())]);
    }
    let x = x.into_view()?;
    check(operation, &x, &vectors)?;
    require_two(operation, x.shape(), x.len() / gamma.len().max(1))?;
    given.iter().try_for_each(|given| check_count(given, &x))?;
    given.map_or_else(|| statistics(&x.into_layout(Layout::ChannelsLast)?), Ok)
}

/// [`forward_train`](crate::batch_norm::forward_train) by the [statistics](statistics_for) of x; then `addend`
/// is added, and negative values become zero if `relu`.
///
/// # Shapes
/// `x` and the addend `[n, c, h, w]`, `gamma [c]`, `beta [c]` → `[n, c, h, w]`, statistics of `c`
/// channels.
///
/// # Errors
/// If the shapes do not fit, or a channel has fewer than two values.
pub fn forward<T: Float>(
    x: &Tensor<T>,
    given: Option<BatchStatistics>,
    gamma: &Tensor<T>,
    beta: &Tensor<T>,
    eps: f64,
    addend: Option<&Tensor<T>>,
    relu: bool,
) -> Result<(Tensor<T>, BatchStatistics)> {
    let statistics = statistics_for(x, given, gamma, beta)?;
    let addend = addend.map(|addend| {
        KernelError::unless_same("batch_norm", ("the addend", addend.shape()), ("x", x.shape()))?;
        channels_last(addend)
    });
    let affine = Normalizer::of_batch(&statistics, eps).affine(gamma.as_slice(), beta.as_slice());
    let y = affine.apply(&channels_last(x)?, addend.transpose()?.as_ref(), relu)?;
    Ok((y, statistics))
}

/// What was done after the normalization.
#[derive(Debug)]
pub enum Followed<T: Float> {
    /// Nothing.
    Nothing,
    /// Negative values became zero.
    Relu,
    /// Something was added.
    Addend,
    /// Something was added, then negative values became zero, which gave this `[n, c, h, w]`.
    AddendAndRelu(Tensor<T>),
}

impl<T: Float> Followed<T> {
    /// A ReLU or none, after an addition that gave `sum` in the end, or none.
    pub fn new(relu: bool, sum: Option<&Tensor<T>>) -> Self {
        match (sum, relu) {
            (None, false) => Self::Nothing,
            (None, true) => Self::Relu,
            (Some(_), false) => Self::Addend,
            (Some(y), true) => Self::AddendAndRelu(y.clone()),
        }
    }
}

/// What the gradient of [`forward`] needs.
#[derive(Debug)]
pub struct Fused<T: Float> {
    /// The input, `[n, c, h, w]`.
    pub x: Tensor<T>,
    /// γ, `[c]`.
    pub gamma: Tensor<T>,
    /// β, `[c]`.
    pub beta: Tensor<T>,
    /// Of x.
    pub statistics: BatchStatistics,
    /// What was added to the variance.
    pub eps: f64,
    /// What came after.
    pub followed: Followed<T>,
}

/// What [`Fused::backward`] gives.
#[derive(Debug)]
pub struct FusedGradients<T: Float> {
    /// With respect to x, `[n, c, h, w]`.
    pub x: Tensor<T>,
    /// With respect to γ, `[c]`.
    pub gamma: Tensor<T>,
    /// With respect to β, `[c]`.
    pub beta: Tensor<T>,
    /// With respect to the addend if there was one, `[n, c, h, w]`.
    pub addend: Option<Tensor<T>>,
}

impl<T: Float> Fused<T> {
    /// The output, bit for bit what [`forward`] gave, if nothing was added: it takes a pass over
    /// memory to compute, and as much memory as the input to keep.
    ///
    /// # Errors
    /// If the shapes do not fit, or something was added.
    pub fn forward(&self) -> Result<Tensor<T>> {
        let Self { x, gamma, beta, statistics, eps, .. } = self;
        self.require_no_addend()?;
        let given = Some(statistics.clone());
        Ok(forward(x, given, gamma, beta, *eps, None, self.has_relu())?.0)
    }

    fn require_no_addend(&self) -> Result<()> {
        match self.followed {
            Followed::Nothing | Followed::Relu => Ok(()),
            Followed::Addend | Followed::AddendAndRelu(_) => Err(KernelError::AddendGone),
        }
    }

    /// Whether negative values became zero.
    pub(crate) fn has_relu(&self) -> bool {
        matches!(self.followed, Followed::Relu | Followed::AddendAndRelu(_))
    }

    /// The normalization, which makes the output of x if nothing was added.
    ///
    /// # Errors
    /// If the shapes do not fit, or something was added.
    pub(crate) fn affine(&self) -> Result<Affine<T>> {
        let Self { x, gamma, beta, statistics, eps, .. } = self;
        self.require_no_addend()?;
        let BatchStatistics { mean, variance, .. } = statistics;
        let vectors = [("mean", mean.shape()), ("variance", variance.shape())];
        let x = x.into_view()?;
        check("batch_norm", &x, &[("gamma", gamma.shape()), ("beta", beta.shape())])?;
        check("batch_norm", &x, &vectors)?;
        Ok(Normalizer::of_batch(statistics, *eps).affine(gamma.as_slice(), beta.as_slice()))
    }

    /// The gradients. Works in the memory of `dy` if nobody else holds it.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn backward(&self, dy: Tensor<T>) -> Result<FusedGradients<T>> {
        let Self { x, gamma, beta, statistics, followed, .. } = self;
        let BatchStatistics { mean, variance, count } = statistics;
        let vectors = [("gamma", gamma), ("beta", beta)].map(|(name, vector)| (name, vector.shape()));
        let (x, dy) = (x.into_view()?, dy.into_view()?);
        check_backward(&x, &dy, &vectors)?;
        check_backward(&x, &dy, &[("mean", mean.shape()), ("variance", variance.shape())])?;
        check_count(statistics, &x)?;
        let x = x.into_layout(Layout::ChannelsLast)?;
        let y = match followed {
            Followed::AddendAndRelu(y) => {
                KernelError::unless_same("batch_norm backward", ("dy", dy.shape()), ("y", y.shape()))?;
                Some(channels_last(y)?)
            }
            _ => None,
        };
        let y = y.as_ref().map(TensorView::as_slice);
        let mut dy = dy.into_layout(Layout::ChannelsLast)?.into_tensor()?;

        let normalizer = Normalizer::of_batch(statistics, self.eps);
        let forward = normalizer.affine(gamma.as_slice(), beta.as_slice());
        let gate = match (followed, y) {
            (Followed::Relu, _) => Gate::Recomputed(&forward),
            (_, Some(y)) => Gate::Output(y),
            (_, None) => Gate::Open,
        };
        let [dgamma, dbeta] = normalizer.parameter_gradients(x.as_slice(), dy.as_slice(), gate)?;
        let gradient = normalizer.gradient(gamma.as_slice(), [&dgamma, &dbeta], *count);
        let (dx, addend) = match followed {
            Followed::Nothing | Followed::Relu => {
                differentiate(&gradient, x.as_slice(), gate, dy.as_mut_slice())?;
                (dy, None)
            }
            Followed::Addend | Followed::AddendAndRelu(_) => {
                let mut dx = Tensor::try_unfilled(x.shape(), Layout::ChannelsLast)?;
                differentiate_beside(&gradient, x.as_slice(), y, dy.as_mut_slice(), dx.as_mut_slice())?;
                (dx, Some(dy))
            }
        };
        Ok(FusedGradients { x: dx, gamma: vector(&dgamma)?, beta: vector(&dbeta)?, addend })
    }
}

/// A tensor where it is, or a copy of it in channels-last memory.
fn channels_last<T: Float>(tensor: &Tensor<T>) -> Result<TensorView<'_, T>> {
    Ok(TensorView::from(tensor).into_layout(Layout::ChannelsLast)?)
}
