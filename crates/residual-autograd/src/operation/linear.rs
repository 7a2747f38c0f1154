//! Fully connected layer.

use residual_kernels::linear;
use residual_tensor::{Float, Tensor};

use super::when;
use crate::{Operation, Result, Sample, Var};

struct Linear<T: Float> {
    input: Tensor<T>,
    weight: Tensor<T>,
}

impl<T: Float> Var<T> {
    /// `x·wᵀ + bias`: `[n, in]` with `weight` of `[out, in]` and `bias` of `[out]` to `[n, out]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn linear(&self, weight: &Self, bias: &Self) -> Result<Self> {
        let output = linear::forward(self.value(), weight.value(), Some(bias.value()))?;
        let operation = Linear { input: self.value().clone(), weight: weight.value().clone() };
        Ok(self.record(operation, &[self, weight, bias], output))
    }
}

impl<T: Float> Operation<T> for Linear<T> {
    fn name(&self) -> &'static str {
        "linear"
    }

    /// `dx = dy·w`, `dw = dyᵀ·x`, `dbias` = column sums of `dy`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let Self { input, weight } = *self;
        Ok(vec![
            when(wanted[0], || linear::backward_data(&upstream, &weight))?,
            when(wanted[1], || linear::backward_weights(&input, &upstream))?,
            when(wanted[2], || linear::backward_bias(&upstream))?,
        ])
    }
}

pub(crate) fn sample(draw: &mut crate::registry::Draw) -> Sample {
    let [n, inputs, outputs] = [draw.within(1..=4), draw.within(1..=6), draw.within(1..=6)];
    let inputs = vec![draw.normal([n, inputs]), draw.normal([outputs, inputs]), draw.normal([outputs])];
    Sample::new("", inputs, |x| x[0].linear(&x[1], &x[2]))
}
