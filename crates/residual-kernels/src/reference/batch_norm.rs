//! Batch normalization (Ioffe and Szegedy 2015): each channel brought to mean 0 and variance 1, then
//! scaled by γ and shifted by β.

use ndarray::{Array1, Array4, ArrayView1, ArrayView4, ArrayViewMut1};

use super::unless_same;
use residual_tensor::Shape;

use crate::{KernelError, Result};

/// Mean and variance `[c]` of each channel of `x [n, c, h, w]` (Algorithm 1, lines 1 and 2): the
/// variance is that of the batch, the squares' sum over their number `n·h·w`.
///
/// # Errors
/// If a channel has fewer than two values: their variance would say nothing.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::batch_norm;
///
/// let x = array![[[[1.0, 2.0]]], [[[3.0, 6.0]]]];
/// let (mean, variance) = batch_norm::moments(x.view())?;
/// assert_eq!((mean[0], variance[0]), (3.0, (4.0 + 1.0 + 0.0 + 9.0) / 4.0));
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn moments(x: ArrayView4<'_, f64>) -> Result<(Array1<f64>, Array1<f64>)> {
    let (batch, channels, height, width) = x.dim();
    let count = batch * height * width;
    if count < 2 {
        let (operation, shape) = ("batch_norm", Shape::new(x.shape())?);
        return Err(KernelError::TooFewValues { operation, shape, count, needed: 2 });
    }
    let (mut mean, mut variance) = (Array1::<f64>::zeros(channels), Array1::<f64>::zeros(channels));
    for c in 0..channels {
        for n in 0..batch {
            for h in 0..height {
                for w in 0..width {
                    mean[c] += x[[n, c, h, w]] / count as f64;
                }
            }
        }
        for n in 0..batch {
            for h in 0..height {
                for w in 0..width {
                    variance[c] += (x[[n, c, h, w]] - mean[c]).powi(2) / count as f64;
                }
            }
        }
    }
    Ok((mean, variance))
}

/// `γ · (x − mean) / √(variance + eps) + β` by the [moments] of `x` itself (Algorithm 1, lines 3 and 4).
///
/// # Shapes
/// `x [n, c, h, w]`, `gamma [c]`, `beta [c]` → `[n, c, h, w]`.
///
/// # Errors
/// If the shapes do not fit, or a channel has fewer than two values.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::batch_norm;
///
/// let x = array![[[[1.0, 5.0]]]]; // mean 3, variance 4
/// let y = batch_norm::forward_train(x.view(), array![10.0].view(), array![1.0].view(), 0.0)?;
/// assert_eq!(y, array![[[[10.0 * -1.0 + 1.0, 10.0 * 1.0 + 1.0]]]]);
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward_train(
    x: ArrayView4<'_, f64>,
    gamma: ArrayView1<'_, f64>,
    beta: ArrayView1<'_, f64>,
    eps: f64,
) -> Result<Array4<f64>> {
    let (mean, variance) = moments(x)?;
    forward_eval(x, gamma, beta, mean.view(), variance.view(), eps)
}

/// The gradients with respect to x, γ and β of [`forward_train`]: the chain rule as the paper writes
/// it (section 3), through the variance and the mean, which depend on every x of the channel.
///
/// # Shapes
/// `x` and `dy [n, c, h, w]`, `gamma [c]` → `[n, c, h, w]`, `[c]`, `[c]`.
///
/// # Errors
/// As [`forward_train`], or if `dy` does not have the shape of `x`.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::batch_norm;
///
/// // Two values become −1 and 1 whatever they are: to change one of them changes nothing.
/// let (x, dy) = (array![[[[1.0, 5.0]]]], array![[[[10.0, 30.0]]]]);
/// let (dx, dgamma, dbeta) = batch_norm::backward_train(x.view(), dy.view(), array![1.0].view(), 0.0)?;
/// assert_eq!(dx, array![[[[0.0, 0.0]]]]);
/// assert_eq!((dgamma[0], dbeta[0]), (10.0 * -1.0 + 30.0 * 1.0, 10.0 + 30.0));
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward_train(
    x: ArrayView4<'_, f64>,
    dy: ArrayView4<'_, f64>,
    gamma: ArrayView1<'_, f64>,
    eps: f64,
) -> Result<(Array4<f64>, Array1<f64>, Array1<f64>)> {
    let (mean, variance) = moments(x)?;
    // As far as mean and variance are constants …
    let (mut dx, dgamma, dbeta) = backward_eval(x, dy, gamma, mean.view(), variance.view(), eps)?;
    let (batch, channels, height, width) = x.dim();
    let count = (batch * height * width) as f64;
    for c in 0..channels {
        let deviation = (variance[c] + eps).sqrt();
        let (mut dvariance, mut dmean) = (0.0, 0.0);
        for n in 0..batch {
            for h in 0..height {
                for w in 0..width {
                    let dnormalized = dy[[n, c, h, w]] * gamma[c];
                    dvariance += dnormalized * (x[[n, c, h, w]] - mean[c]) * -0.5 * deviation.powi(-3);
                    dmean -= dnormalized / deviation;
                    // (The paper's other term of dmean, −2 · dvariance · Σ (x − mean) / count, is zero.)
                }
            }
        }
        // … and as far as they are not.
        for n in 0..batch {
            for h in 0..height {
                for w in 0..width {
                    dx[[n, c, h, w]] += dvariance * 2.0 * (x[[n, c, h, w]] - mean[c]) / count + dmean / count;
                }
            }
        }
    }
    Ok((dx, dgamma, dbeta))
}

/// `γ · (x − mean) / √(variance + eps) + β` by given statistics (Algorithm 2, line 11).
///
/// # Shapes
/// `x [n, c, h, w]`; `gamma`, `beta`, `mean` and `variance [c]` → `[n, c, h, w]`.
///
/// # Errors
/// If the shapes do not fit.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::batch_norm;
///
/// let [gamma, beta, mean, variance] = [10.0, 1.0, 3.0, 4.0].map(|value| array![value]);
/// let x = array![[[[7.0]]]];
/// let y = batch_norm::forward_eval(x.view(), gamma.view(), beta.view(), mean.view(), variance.view(), 0.0)?;
/// assert_eq!(y, array![[[[21.0]]]]); // 10 · (7 − 3) / 2 + 1
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn forward_eval(
    x: ArrayView4<'_, f64>,
    gamma: ArrayView1<'_, f64>,
    beta: ArrayView1<'_, f64>,
    mean: ArrayView1<'_, f64>,
    variance: ArrayView1<'_, f64>,
    eps: f64,
) -> Result<Array4<f64>> {
    let (batch, channels, height, width) = x.dim();
    for (name, vector) in [("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance)] {
        unless_same("batch_norm", (name, vector.shape()), ("the channels", &[channels]))?;
    }
    let mut y = Array4::zeros(x.dim());
    for n in 0..batch {
        for c in 0..channels {
            for h in 0..height {
                for w in 0..width {
                    let normalized = (x[[n, c, h, w]] - mean[c]) / (variance[c] + eps).sqrt();
                    y[[n, c, h, w]] = gamma[c] * normalized + beta[c];
                }
            }
        }
    }
    Ok(y)
}

/// The gradients with respect to x, γ and β of [`forward_eval`], whose statistics are constants.
///
/// # Shapes
/// `x` and `dy [n, c, h, w]`; `gamma`, `mean` and `variance [c]` → `[n, c, h, w]`, `[c]`, `[c]`.
///
/// # Errors
/// As [`forward_eval`], or if `dy` does not have the shape of `x`.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::batch_norm;
///
/// let [gamma, mean, variance] = [10.0, 3.0, 4.0].map(|value| array![value]);
/// let (x, dy) = (array![[[[7.0]]]], array![[[[5.0]]]]);
/// let (dx, dgamma, dbeta) =
///     batch_norm::backward_eval(x.view(), dy.view(), gamma.view(), mean.view(), variance.view(), 0.0)?;
/// assert_eq!(dx, array![[[[25.0]]]]); // 5 · 10 / 2
/// assert_eq!((dgamma[0], dbeta[0]), (10.0, 5.0)); // 5 · (7 − 3) / 2, and 5
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn backward_eval(
    x: ArrayView4<'_, f64>,
    dy: ArrayView4<'_, f64>,
    gamma: ArrayView1<'_, f64>,
    mean: ArrayView1<'_, f64>,
    variance: ArrayView1<'_, f64>,
    eps: f64,
) -> Result<(Array4<f64>, Array1<f64>, Array1<f64>)> {
    let (batch, channels, height, width) = x.dim();
    unless_same("batch_norm backward", ("dy", dy.shape()), ("x", x.shape()))?;
    for (name, vector) in [("gamma", gamma), ("mean", mean), ("variance", variance)] {
        unless_same("batch_norm backward", (name, vector.shape()), ("the channels", &[channels]))?;
    }
    let mut dx = Array4::zeros(x.dim());
    let (mut dgamma, mut dbeta) = (Array1::zeros(channels), Array1::zeros(channels));
    for n in 0..batch {
        for c in 0..channels {
            for h in 0..height {
                for w in 0..width {
                    let deviation = (variance[c] + eps).sqrt();
                    dx[[n, c, h, w]] = dy[[n, c, h, w]] * gamma[c] / deviation;
                    dgamma[c] += dy[[n, c, h, w]] * (x[[n, c, h, w]] - mean[c]) / deviation;
                    dbeta[c] += dy[[n, c, h, w]];
                }
            }
        }
    }
    Ok((dx, dgamma, dbeta))
}

/// Moves running averages towards the moments of a batch of `count` values per channel, by the share
/// `momentum`. The variance becomes that of the population, `count / (count − 1)` times larger
/// (Algorithm 2, line 10; the moving average is *PyTorch*'s).
///
/// # Errors
/// If the shapes do not fit, or the count is below two.
///
/// ```
/// use ndarray::array;
/// use residual_kernels::reference::batch_norm;
///
/// let (mut mean, mut variance) = (array![1.0], array![2.0]);
/// let batch = (array![3.0], array![3.0]);
/// batch_norm::update_running(mean.view_mut(), variance.view_mut(), batch.0.view(), batch.1.view(), 4, 0.25)?;
/// assert_eq!(mean[0], 0.75 * 1.0 + 0.25 * 3.0);
/// assert_eq!(variance[0], 0.75 * 2.0 + 0.25 * 4.0); // 3 · 4 / (4 − 1)
/// # Ok::<(), residual_kernels::KernelError>(())
/// ```
pub fn update_running(
    mut running_mean: ArrayViewMut1<'_, f64>,
    mut running_var: ArrayViewMut1<'_, f64>,
    mean: ArrayView1<'_, f64>,
    variance: ArrayView1<'_, f64>,
    count: usize,
    momentum: f64,
) -> Result<()> {
    let operation = "batch_norm";
    let (means, variances) = (running_mean.shape(), running_var.shape());
    unless_same(operation, ("running_mean", means), ("mean", mean.shape()))?;
    unless_same(operation, ("running_var", variances), ("variance", variance.shape()))?;
    unless_same(operation, ("running_mean", means), ("running_var", variances))?;
    if count < 2 {
        return Err(KernelError::TooFewValues {
            operation,
            shape: Shape::new(mean.shape())?,
            count,
            needed: 2,
        });
    }
    let unbiased = count as f64 / (count as f64 - 1.0);
    for c in 0..mean.len() {
        running_mean[c] = (1.0 - momentum) * running_mean[c] + momentum * mean[c];
        running_var[c] = (1.0 - momentum) * running_var[c] + momentum * unbiased * variance[c];
    }
    Ok(())
}
