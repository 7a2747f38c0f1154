//! Fully connected layer.

use residual_kernels::linear;
use residual_tensor::{Float, Tensor};

use super::{BuiltIn, when};
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Linear<T: Float> {
    input: Tensor<T>,
    weight: Tensor<T>,
}

impl<T: Float> Var<T> {
    /// `x·wᵀ + bias`: `[n, in]` with `weight` of `[out, in]` and `bias` of `[out]` to `[n, out]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn linear(&self, weight: &Self, bias: &Self) -> Result<Self> {
        let output = linear::forward(self.value(), weight.value(), bias.value())?;
        let operation = Linear { input: self.value().clone(), weight: weight.value().clone() };
        self.record_own(operation, &[self, weight, bias], output)
    }
}

impl<T: Float> BuiltIn<T> for Linear<T> {
    const NAME: &'static str = "linear";

    /// `dx = dy·w`, `dw = dyᵀ·x`, `dbias` = column sums of `dy`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let Self { input, weight } = *self;
        Ok(vec![
            when(wanted[0], || linear::backward_data(&upstream, &weight))?,
            when(wanted[1], || linear::backward_weights(&input, &upstream))?,
            when(wanted[2], || linear::backward_bias(&upstream))?,
        ])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let [n, inputs, outputs] = [draw.within(1..=4), draw.within(1..=6), draw.within(1..=6)];
        let inputs = vec![draw.normal([n, inputs]), draw.normal([outputs, inputs]), draw.normal([outputs])];
        Sample::new("", inputs, |x| x[0].linear(&x[1], &x[2]))
    }
}
