//! Rectified linear unit.

use residual_kernels::relu;
use residual_tensor::{Float, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Relu<T: Float> {
    output: Tensor<T>,
}

impl<T: Float> Var<T> {
    /// `max(x, 0)`, of any shape.
    ///
    /// # Errors
    /// If there is no memory for the output.
    pub fn relu(&self) -> Result<Self> {
        let output = relu::forward(self.value())?;
        self.record_own(Relu { output: output.clone() }, &[self], output)
    }
}

impl<T: Float> BuiltIn<T> for Relu<T> {
    const NAME: &'static str = "relu";

    /// `dx = dy` where the output is positive, else 0.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(relu::backward(&upstream, &self.output)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape4();
        Sample::new("", vec![draw.distinct(shape)], |x| x[0].relu())
    }
}
