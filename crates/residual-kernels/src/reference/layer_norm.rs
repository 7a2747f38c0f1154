//! Layer normalization over the channels (Ba, Kiros & Hinton 2016, equations 3 and 4): as batch normalization,
//! but the mean and the variance are those of a position, not of a channel.

use ndarray::{Array1, Array4, ArrayView1, ArrayView4};

use super::unless_same;
use crate::Result;

/// `y[n, c, i, j] = γ[c] · (x[n, c, i, j] − m) / √(v + ε) + β[c]`, where `m` and `v` are the mean and the biased
/// variance of `x[n, ·, i, j]`.
///
/// # Shapes
/// `x [n, c, h, w]`, `gamma [c]`, `beta [c]` → `[n, c, h, w]`.
///
/// # Errors
/// If `gamma` or `beta` has another length.
///
/// ```
/// use ndarray::{Array, array};
/// use residual_kernels::reference::layer_norm;
///
/// // Mean 5, variance 9.
/// let x = Array::from_shape_vec([1, 2, 1, 1], vec![2.0, 8.0])?;
/// let y = layer_norm::forward(x.view(), array![1.0, 10.0].view(), array![0.0, 0.5].view(), 0.0)?;
/// assert_eq!(y.into_raw_vec_and_offset().0, [-1.0, 10.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn forward(
    x: ArrayView4<'_, f64>,
    gamma: ArrayView1<'_, f64>,
    beta: ArrayView1<'_, f64>,
    eps: f64,
) -> Result<Array4<f64>> {
    let (batch, channels, height, width) = x.dim();
    unless_same("layer_norm", ("gamma", gamma.shape()), ("the channels", &[channels]))?;
    unless_same("layer_norm", ("beta", beta.shape()), ("the channels", &[channels]))?;
    let mut y = Array4::zeros(x.dim());
    for n in 0..batch {
        for i in 0..height {
            for j in 0..width {
                let (mean, deviation) = moments(x, [n, i, j], eps);
                for c in 0..channels {
                    y[[n, c, i, j]] = gamma[c] * (x[[n, c, i, j]] - mean) / deviation + beta[c];
                }
            }
        }
    }
    Ok(y)
}

/// The gradients of `x`, `gamma` and `beta`. With `x̂ = (x − m) / √(v + ε)` and means over `c`:
///
/// ```text
/// dx[n, c, i, j] = (γ[c]·dy − mean(γ·dy) − x̂[c] · mean(γ·dy·x̂)) / √(v + ε)
/// dγ[c] = Σ n i j dy[n, c, i, j] · x̂[n, c, i, j]
/// dβ[c] = Σ n i j dy[n, c, i, j]
/// ```
///
/// # Errors
/// If the shapes do not fit.
pub fn backward(
    x: ArrayView4<'_, f64>,
    dy: ArrayView4<'_, f64>,
    gamma: ArrayView1<'_, f64>,
    eps: f64,
) -> Result<(Array4<f64>, Array1<f64>, Array1<f64>)> {
    let (batch, channels, height, width) = x.dim();
    unless_same("layer_norm backward", ("dy", dy.shape()), ("x", x.shape()))?;
    unless_same("layer_norm backward", ("gamma", gamma.shape()), ("the channels", &[channels]))?;
    let mut dx = Array4::zeros(x.dim());
    let (mut dgamma, mut dbeta) = (Array1::zeros(channels), Array1::zeros(channels));
    for n in 0..batch {
        for i in 0..height {
            for j in 0..width {
                let (mean, deviation) = moments(x, [n, i, j], eps);
                let normalized = |c: usize| (x[[n, c, i, j]] - mean) / deviation;
                let (mut sum, mut along) = (0.0, 0.0);
                for c in 0..channels {
                    dgamma[c] += dy[[n, c, i, j]] * normalized(c);
                    dbeta[c] += dy[[n, c, i, j]];
                    sum += gamma[c] * dy[[n, c, i, j]];
                    along += gamma[c] * dy[[n, c, i, j]] * normalized(c);
                }
                let (mean_g, mean_gx) = (sum / channels as f64, along / channels as f64);
                for c in 0..channels {
                    let g = gamma[c] * dy[[n, c, i, j]];
                    dx[[n, c, i, j]] = (g - mean_g - normalized(c) * mean_gx) / deviation;
                }
            }
        }
    }
    Ok((dx, dgamma, dbeta))
}

/// The mean at a position, and `√(v + ε)`.
fn moments(x: ArrayView4<'_, f64>, [n, i, j]: [usize; 3], eps: f64) -> (f64, f64) {
    let channels = x.dim().1;
    let mut sum = 0.0;
    for c in 0..channels {
        sum += x[[n, c, i, j]];
    }
    let mean = sum / channels as f64;
    let mut squares = 0.0;
    for c in 0..channels {
        squares += (x[[n, c, i, j]] - mean).powi(2);
    }
    (mean, (squares / channels as f64 + eps).sqrt())
}
