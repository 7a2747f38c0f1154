//! The softmax of logits: from scores to probabilities.

use residual_tensor::{Float, Layout, Tensor};

use crate::{Result, engine::parallel::for_each_run};

/// `exp(logits) / Σ exp(logits)` over the classes of each row.
///
/// The largest logit is subtracted first, so that no exponential overflows.
///
/// # Shapes
/// `logits [n, c]` → `[n, c]`.
///
/// # Errors
/// If there are not two axes.
pub fn forward<T: Float>(logits: &Tensor<T>) -> Result<Tensor<T>> {
    let [_, classes] = logits.dims("softmax")?;
    let classes = classes.max(1);
    let mut probabilities = Tensor::try_unfilled(logits.shape(), Layout::Contiguous)?;
    for_each_run(probabilities.as_mut_slice(), classes, |run, probabilities| {
        row(&logits.as_slice()[run], probabilities);
    });
    Ok(probabilities)
}

fn row<T: Float>(logits: &[T], probabilities: &mut [T]) {
    let largest = largest(logits);
    let mut sum = T::zero();
    for (probability, &logit) in probabilities.iter_mut().zip(logits) {
        *probability = (logit - largest).exp();
        sum += *probability;
    }
    for probability in probabilities {
        *probability /= sum;
    }
}

/// `ln Σ exp(logits)`, in double precision.
pub(crate) fn log_sum_exp<T: Float>(logits: &[T]) -> f64 {
    let largest = largest(logits).to_f64();
    largest + logits.iter().map(|&logit| (logit.to_f64() - largest).exp()).sum::<f64>().ln()
}

fn largest<T: Float>(logits: &[T]) -> T {
    logits.iter().copied().fold(T::neg_infinity(), T::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let logits = Tensor::from_vec([1, 3], vec![1000.0f32, 1000.0 + 2f32.ln(), -1000.0]).unwrap();
        let probabilities = forward(&logits).unwrap().to_vec();
        for (probability, expected) in probabilities.iter().zip([1.0 / 3.0, 2.0 / 3.0, 0.0]) {
            assert!((probability - expected).abs() < 1e-4, "{probabilities:?}");
        }
        let expected = 1000.0 + 3f64.ln();
        assert!((log_sum_exp(logits.as_slice()) - expected).abs() < 1e-4);
    }
}
