//! Batch normalization: each channel brought to mean 0 and variance 1, then scaled by γ and
//! shifted by β.
//!
//! In training mean and variance are those of the batch, and the gradient flows through them;
//! in evaluation they are running averages, and constants. Which is meant is the caller's
//! choice of function; the averages are updated by a function of their own.
//!
//! Either way a channel is `y = (x − centre) · scale + shift`. Statistics are kept in double
//! precision, and what the mean loses when it is rounded to a `centre` of the element's type
//! goes into `shift`, so that a large mean costs no accuracy.

pub(crate) mod pass;
mod reduce;

use residual_tensor::{Float, IntoView, Layout, Shape, Tensor, TensorView};

use crate::{KernelError, Result};
use pass::{Affine, Gate, Gradient, differentiate};

/// Mean and variance of each channel over a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchStatistics {
    /// Mean of each channel, `[c]`.
    pub mean: Tensor<f64>,
    /// Mean squared distance from the mean (the biased variance), `[c]`.
    pub variance: Tensor<f64>,
    /// How many values each channel has: images times pixels.
    pub count: usize,
}

/// Normalizes by the statistics of `x` itself, and returns them.
///
/// # Shapes
/// `x [n, c, h, w]`, `gamma [c]`, `beta [c]` → `[n, c, h, w]`, statistics of `c` channels.
///
/// # Errors
/// If the shapes do not fit, or a channel has fewer than two values: their variance would say
/// nothing.
pub fn forward_train<'a, T: Float>(
    x: impl IntoView<'a, T>,
    gamma: impl IntoView<'a, T>,
    beta: impl IntoView<'a, T>,
    eps: f64,
) -> Result<(Tensor<T>, BatchStatistics)> {
    let (x, gamma, beta) = (x.into_view()?, gamma.into_view()?, beta.into_view()?);
    let operation = "batch_norm";
    check(operation, &x, &[("gamma", gamma.shape()), ("beta", beta.shape())])?;
    let count = x.len() / gamma.len().max(1);
    require_two(operation, x.shape(), count)?;
    let x = x.into_layout(Layout::ChannelsLast)?;
    let statistics = statistics(&x)?;
    let affine = Normalizer::of_batch(&statistics, eps).affine(gamma.as_slice(), beta.as_slice());
    Ok((affine.apply(&x, None, false)?, statistics))
}

/// The statistics of channels-last numbers.
pub(crate) fn statistics<T: Float>(x: &TensorView<'_, T>) -> Result<BatchStatistics> {
    let [_, channels, ..] = x.dims::<4>("batch_norm")?;
    let (mean, variance) = reduce::moments(x.as_slice(), channels)?;
    let count = x.len() / channels.max(1);
    Ok(BatchStatistics { mean: vector(&mean)?, variance: vector(&variance)?, count })
}

/// The gradients with respect to x, γ and β of [`forward_train`], whose statistics are given. Works in
/// the memory of `dy` if that is a tensor handed over by value and nothing else shares it.
///
/// With `x̂ = (x − mean) / √(variance + eps)`, and means over the batch:
///
/// ```text
/// dβ = Σ dy      dγ = Σ dy·x̂      dx = γ / √(variance + eps) · (dy − mean(dy) − x̂ · mean(dy·x̂))
/// ```
///
/// # Shapes
/// `x` and `dy [n, c, h, w]`, `gamma [c]` → `[n, c, h, w]`, `[c]`, `[c]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn backward_train<'a, T: Float>(
    x: impl IntoView<'a, T>,
    dy: impl IntoView<'a, T>,
    gamma: impl IntoView<'a, T>,
    statistics: &BatchStatistics,
    eps: f64,
) -> Result<(Tensor<T>, Tensor<T>, Tensor<T>)> {
    let (x, dy, gamma) = (x.into_view()?, dy.into_view()?, gamma.into_view()?);
    let BatchStatistics { mean, variance, .. } = statistics;
    let vectors = [("gamma", gamma.shape()), ("mean", mean.shape()), ("variance", variance.shape())];
    check_backward(&x, &dy, &vectors)?;
    check_count(statistics, &x)?;
    let x = x.into_layout(Layout::ChannelsLast)?;
    let mut dx = dy.into_layout(Layout::ChannelsLast)?.into_tensor()?;
    let normalizer = Normalizer::of_batch(statistics, eps);
    let [dgamma, dbeta] = normalizer.parameter_gradients(x.as_slice(), dx.as_slice(), Gate::Open)?;
    let gradient = normalizer.gradient(gamma.as_slice(), [&dgamma, &dbeta], statistics.count);
    differentiate(&gradient, x.as_slice(), Gate::Open, dx.as_mut_slice())?;
    Ok((dx, vector(&dgamma)?, vector(&dbeta)?))
}

/// Normalizes by given statistics.
///
/// # Shapes
/// `x [n, c, h, w]`; `gamma`, `beta`, `running_mean` and `running_var [c]` → `[n, c, h, w]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn forward_eval<'a, T: Float>(
    x: impl IntoView<'a, T>,
    gamma: impl IntoView<'a, T>,
    beta: impl IntoView<'a, T>,
    running_mean: impl IntoView<'a, T>,
    running_var: impl IntoView<'a, T>,
    eps: f64,
) -> Result<Tensor<T>> {
    let (x, gamma, beta) = (x.into_view()?, gamma.into_view()?, beta.into_view()?);
    let (running_mean, running_var) = (running_mean.into_view()?, running_var.into_view()?);
    let [mean, variance] = [("running_mean", running_mean.shape()), ("running_var", running_var.shape())];
    check("batch_norm", &x, &[("gamma", gamma.shape()), ("beta", beta.shape()), mean, variance])?;
    let normalizer = Normalizer::new(&doubles(&running_mean), &doubles(&running_var), eps);
    let affine = normalizer.affine(gamma.as_slice(), beta.as_slice());
    affine.apply(&x.into_layout(Layout::ChannelsLast)?, None, false)
}

/// The gradients with respect to x, γ and β of [`forward_eval`], whose statistics are
/// constants: `dx = γ / √(running_var + eps) · dy`, the others as in [`backward_train`].
///
/// # Shapes
/// `x` and `dy [n, c, h, w]`; `gamma`, `running_mean` and `running_var [c]` →
/// `[n, c, h, w]`, `[c]`, `[c]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn backward_eval<'a, T: Float>(
    x: impl IntoView<'a, T>,
    dy: impl IntoView<'a, T>,
    gamma: impl IntoView<'a, T>,
    running_mean: impl IntoView<'a, T>,
    running_var: impl IntoView<'a, T>,
    eps: f64,
) -> Result<(Tensor<T>, Tensor<T>, Tensor<T>)> {
    let (x, dy, gamma) = (x.into_view()?, dy.into_view()?, gamma.into_view()?);
    let (running_mean, running_var) = (running_mean.into_view()?, running_var.into_view()?);
    let [mean, variance] = [("running_mean", running_mean.shape()), ("running_var", running_var.shape())];
    check_backward(&x, &dy, &[("gamma", gamma.shape()), mean, variance])?;
    let (x, dy) = (x.into_layout(Layout::ChannelsLast)?, dy.into_layout(Layout::ChannelsLast)?);
    let normalizer = Normalizer::<T>::new(&doubles(&running_mean), &doubles(&running_var), eps);
    let [dgamma, dbeta] = normalizer.parameter_gradients(x.as_slice(), dy.as_slice(), Gate::Open)?;
    let scales = normalizer.scales(gamma.as_slice());
    let dx = Affine::new(gamma.len(), |channel| [0.0, scales[channel], 0.0]).apply(&dy, None, false)?;
    Ok((dx, vector(&dgamma)?, vector(&dbeta)?))
}

/// Moves running averages towards the statistics of a batch: `(1 − momentum) · running +
/// momentum · batch`. The variance is the unbiased one, `n / (n − 1)` times that of the batch.
///
/// # Errors
/// If the shapes do not fit, or the statistics are of fewer than two values.
pub fn update_running<T: Float>(
    running_mean: &mut Tensor<T>,
    running_var: &mut Tensor<T>,
    statistics: &BatchStatistics,
    momentum: f64,
) -> Result<()> {
    let operation = "batch_norm update";
    let BatchStatistics { mean, variance, count } = statistics;
    for (name, running, batch) in
        [("running_mean", &*running_mean, mean), ("running_var", &*running_var, variance)]
    {
        KernelError::unless_same(operation, (name, running.shape()), ("the batch's", batch.shape()))?;
    }
    require_two(operation, mean.shape(), *count)?;
    let unbiased = *count as f64 / (*count - 1) as f64;
    for (running, batch, factor) in [(running_mean, mean, 1.0), (running_var, variance, unbiased)] {
        for (running, &batch) in running.as_mut_slice().iter_mut().zip(batch.as_slice()) {
            *running = T::of((1.0 - momentum) * running.to_f64() + momentum * factor * batch);
        }
    }
    Ok(())
}

/// What turns a channel into `x̂ = (x − centre − lost) · inverse_deviation`.
pub(crate) struct Normalizer<T> {
    /// The mean, rounded to the element's type.
    centre: Vec<T>,
    /// What the mean lost by that.
    lost: Vec<f64>,
    inverse_deviation: Vec<f64>,
}

impl<T: Float> Normalizer<T> {
    pub(crate) fn of_batch(BatchStatistics { mean, variance, .. }: &BatchStatistics, eps: f64) -> Self {
        Self::new(mean.as_slice(), variance.as_slice(), eps)
    }

    fn new(mean: &[f64], variance: &[f64], eps: f64) -> Self {
        let centre: Vec<T> = mean.iter().map(|&mean| T::of(mean)).collect();
        let lost = mean.iter().zip(&centre).map(|(mean, &centre)| mean - centre.to_f64()).collect();
        let inverse_deviation = variance.iter().map(|variance| 1.0 / (variance + eps).sqrt()).collect();
        Self { centre, lost, inverse_deviation }
    }

    /// `γ · inverse_deviation`
    fn scales(&self, gamma: &[T]) -> Vec<f64> {
        gamma.iter().zip(&self.inverse_deviation).map(|(&gamma, inverse)| gamma.to_f64() * inverse).collect()
    }

    /// `γ · x̂ + β`
    pub(crate) fn affine(&self, gamma: &[T], beta: &[T]) -> Affine<T> {
        let scales = self.scales(gamma);
        Affine::new(gamma.len(), |channel| {
            let shift = beta[channel].to_f64() - self.lost[channel] * scales[channel];
            [self.centre[channel].to_f64(), scales[channel], shift]
        })
    }

    /// `[Σ g · x̂, Σ g]`, where g is dy as far as the gate lets it through.
    ///
    /// # Errors
    /// As [`InstructionSet::active`](crate::isa::InstructionSet::active).
    pub(crate) fn parameter_gradients(&self, x: &[T], dy: &[T], gate: Gate<'_, T>) -> Result<[Vec<f64>; 2]> {
        let [dbeta, mut dgamma] = reduce::gradient_sums(dy, x, &self.centre, gate)?;
        for (channel, dgamma) in dgamma.iter_mut().enumerate() {
            *dgamma = (*dgamma - self.lost[channel] * dbeta[channel]) * self.inverse_deviation[channel];
        }
        Ok([dgamma, dbeta])
    }

    /// dx where the statistics are those of the batch, of `count` values.
    pub(crate) fn gradient(&self, gamma: &[T], [dgamma, dbeta]: [&Vec<f64>; 2], count: usize) -> Gradient<T> {
        let scales = self.scales(gamma);
        let share = 1.0 / count as f64;
        Gradient::new(gamma.len(), |channel| {
            let slope = -scales[channel] * share * dgamma[channel] * self.inverse_deviation[channel];
            let shift = -scales[channel] * share * dbeta[channel] - slope * self.lost[channel];
            [scales[channel], self.centre[channel].to_f64(), slope, shift]
        })
    }
}

pub(crate) fn vector<T: Float>(values: &[f64]) -> Result<Tensor<T>> {
    Ok(Tensor::from_vec([values.len()], values.iter().map(|&value| T::of(value)).collect())?)
}

fn doubles<T: Float>(values: &TensorView<'_, T>) -> Vec<f64> {
    values.as_slice().iter().map(|&value| value.to_f64()).collect()
}

/// An error unless `x` has four axes, and each vector one element for each of its channels.
pub(crate) fn check<T: Float>(
    operation: &'static str,
    x: &TensorView<'_, T>,
    vectors: &[(&'static str, &Shape)],
) -> Result<()> {
    let [_, channels, _, _] = x.dims(operation)?;
    for &(name, shape) in vectors {
        if **shape != [channels] {
            let rule = "there must be one value for each channel of x";
            return Err(KernelError::mismatch(operation, (name, shape), ("x", x.shape()), rule));
        }
    }
    Ok(())
}

pub(crate) fn check_backward<T: Float>(
    x: &TensorView<'_, T>,
    dy: &TensorView<'_, T>,
    vectors: &[(&'static str, &Shape)],
) -> Result<()> {
    let operation = "batch_norm backward";
    check(operation, x, vectors)?;
    KernelError::unless_same(operation, ("dy", dy.shape()), ("x", x.shape()))
}

/// An error unless statistics are of as many values as `x` has of each channel.
pub(crate) fn check_count<T: Float>(statistics: &BatchStatistics, x: &TensorView<'_, T>) -> Result<()> {
    let needed = x.len() / statistics.mean.len().max(1);
    match statistics.count == needed {
        true => Ok(()),
        false => Err(KernelError::StatisticsCount { given: statistics.count, needed }),
    }
}

pub(crate) fn require_two(operation: &'static str, shape: &Shape, count: usize) -> Result<()> {
    if count >= 2 {
        return Ok(());
    }
    Err(KernelError::TooFewValues { operation, shape: shape.clone(), count, needed: 2 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use residual_tensor::Generator;

    #[test]
    fn a_large_mean_costs_no_accuracy() {
        // Multiples of 2⁻¹⁰ around 10⁴ are exact in f32, so f64 sees the same numbers.
        let mut generator = Generator::new(3);
        let shape = [4, 5, 9, 11];
        let x = Tensor::<f32>::from_fn(shape, || 1e4 + (generator.normal() * 1024.0).round() as f32 / 1024.0);
        let dy = generator.normal_tensor::<f32>(shape, 1.0);
        let (gamma, beta) = (Tensor::full([5], 1.5f32), Tensor::full([5], 0.25f32));
        let (y, statistics) = forward_train(&x, &gamma, &beta, 1e-5).unwrap();
        let (dx, dgamma, dbeta) = backward_train(&x, dy.clone(), &gamma, &statistics, 1e-5).unwrap();

        let double = |tensor: &Tensor<f32>| tensor.map(f64::from);
        let (x, gamma, beta, dy) = (double(&x), double(&gamma), double(&beta), double(&dy));
        let (y64, statistics) = forward_train(&x, &gamma, &beta, 1e-5).unwrap();
        let of_dx = backward_train(&x, dy.clone(), &gamma, &statistics, 1e-5).unwrap();
        for (f32, f64) in [(y, y64), (dx, of_dx.0), (dgamma, of_dx.1), (dbeta, of_dx.2)] {
            let largest = f64.as_slice().iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            for (&a, &b) in f32.to_vec().iter().zip(&f64.to_vec()) {
                assert!((f64::from(a) - b).abs() < 1.5e-6 * largest, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_statistics_are_those_of_the_definition() {
        let x = Tensor::from_vec([2, 1, 1, 2], vec![1.0f32, 2.0, 3.0, 6.0]).unwrap();
        let one = Tensor::full([1], 1.0);
        let (_, statistics) = forward_train(&x, &one, &one, 0.0).unwrap();
        assert_eq!((statistics.mean.to_vec(), statistics.variance.to_vec()), (vec![3.0], vec![3.5]));
        let (mut mean, mut variance) = (Tensor::full([1], 1.0f32), Tensor::full([1], 2.0f32));
        update_running(&mut mean, &mut variance, &statistics, 0.25).unwrap();
        // 3/4 · 1 + 1/4 · 3, and 3/4 · 2 + 1/4 · 3.5 · 4/3
        assert_eq!(mean.to_vec(), [1.5]);
        assert!((variance.to_vec()[0] - 2.666_666_7).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (x, three) = (Tensor::<f32>::zeros([1, 3, 1, 1]), Tensor::zeros([3]));
        assert_eq!(
            forward_train(&x, &three, &three, 1e-5).unwrap_err().to_string(),
            "batch_norm: [1, 3, 1, 1] has 1 values, but needs at least 2"
        );
        assert_eq!(
            forward_train(&x, Tensor::zeros([4]), &three, 1e-5).unwrap_err().to_string(),
            "batch_norm: gamma [4] does not fit x [1, 3, 1, 1]: there must be one value for each channel of x"
        );
        assert!(forward_eval(&x, &three, &three, &three, Tensor::zeros([1, 3]), 1e-5).is_err());
    }
}
