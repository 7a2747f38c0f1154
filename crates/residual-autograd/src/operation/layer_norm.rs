//! Layer normalization over the channels (Ba, Kiros & Hinton 2016).

use residual_kernels::layer_norm;
use residual_tensor::{Float, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct LayerNorm<T: Float> {
    input: Tensor<T>,
    gamma: Tensor<T>,
    eps: f64,
}

impl<T: Float> Var<T> {
    /// `γ·(x − mean)/√(variance + eps) + β` for each position of `[n, c, h, w]`, or each row of `[n, c]`, with
    /// mean and biased variance over its channels.
    ///
    /// # Errors
    /// If there are other axes, or `gamma` or `beta` is not `[c]`.
    pub fn layer_norm(&self, gamma: &Self, beta: &Self, eps: f64) -> Result<Self> {
        let output = layer_norm::forward(self.value(), gamma.value(), beta.value(), eps)?;
        let operation = LayerNorm { input: self.value().clone(), gamma: gamma.value().clone(), eps };
        self.record_own(operation, &[self, gamma, beta], output)
    }
}

impl<T: Float> BuiltIn<T> for LayerNorm<T> {
    const NAME: &'static str = "layer_norm";

    /// The mean and the variance depend on all channels: with x̂ the normalized input and g = γ·dy,
    /// `dx = (g − mean(g) − x̂ · mean(g·x̂)) / σ`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let (dx, dgamma, dbeta) = layer_norm::backward(&self.input, &upstream, &self.gamma, self.eps)?;
        Ok(vec![Some(dx), Some(dgamma), Some(dbeta)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let [n, c, h, w] = draw.shape4();
        let channels = c + 1; // of a single channel the result is constant
        let x = if draw.within(0..=1) == 1 {
            draw.normal([n, channels, h, w])
        } else {
            draw.normal([n, channels])
        };
        let inputs = vec![x, draw.normal([channels]), draw.normal([channels])];
        // Large, so that difference quotients see little of what bends where channels are nearly equal.
        Sample::new("", inputs, |x| x[0].layer_norm(&x[1], &x[2], 0.1))
    }
}
