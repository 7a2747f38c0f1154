//! Softmax and cross-entropy in one, with label smoothing.

use residual_kernels::cross_entropy;
use residual_tensor::{Float, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct CrossEntropy<T: Float> {
    probabilities: Tensor<T>,
    labels: Vec<usize>,
    smoothing: f64,
}

impl<T: Float> Var<T> {
    /// The mean over the batch of `−Σ target·log softmax(x)` for logits `[n, classes]`; a scalar.
    ///
    /// The target is `1 − smoothing` on the label plus `smoothing / classes` everywhere
    /// (Szegedy et al. 2016).
    ///
    /// # Errors
    /// If there are not `n` labels, or one is not below `classes`.
    pub fn cross_entropy(&self, labels: &[usize], smoothing: f64) -> Result<Self> {
        let (loss, probabilities) = cross_entropy::forward(self.value(), labels, smoothing)?;
        let operation = CrossEntropy { probabilities, labels: labels.to_vec(), smoothing };
        self.record_own(operation, &[self], Tensor::scalar(loss))
    }
}

impl<T: Float> BuiltIn<T> for CrossEntropy<T> {
    const NAME: &'static str = "cross_entropy";

    /// `(softmax(x) − target) / n`, times the upstream scalar.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let Self { probabilities, labels, smoothing } = *self;
        let dlogits = cross_entropy::backward(upstream.item()?, &probabilities, &labels, smoothing)?;
        Ok(vec![Some(dlogits)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let [n, classes] = [draw.within(1..=5), draw.within(2..=7)];
        let labels: Vec<usize> = (0..n).map(|_| draw.within(0..=classes - 1)).collect();
        let smoothing = [0.0, 0.1][draw.within(0..=1)];
        let logits = draw.normal([n, classes]).map(|x| 3.0 * x);
        Sample::new(format!("smoothing {smoothing}"), vec![logits], move |x| {
            x[0].cross_entropy(&labels, smoothing)
        })
    }
}
