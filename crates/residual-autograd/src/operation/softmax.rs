//! Softmax and its logarithm over one axis.

use residual_kernels::softmax;
use residual_tensor::{Float, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Softmax<T: Float> {
    output: Tensor<T>,
    axis: usize,
}

pub(crate) struct LogSoftmax<T: Float> {
    output: Tensor<T>,
    axis: usize,
}

impl<T: Float> Var<T> {
    /// `exp(x) / Σ exp(x)` over one axis.
    ///
    /// # Errors
    /// If there is no such axis.
    pub fn softmax(&self, axis: usize) -> Result<Self> {
        let output = softmax::forward_along(self.value(), axis)?;
        self.record_own(Softmax { output: output.clone(), axis }, &[self], output)
    }

    /// `x − ln Σ exp(x)` over one axis: the logarithm of [`softmax`](Self::softmax), also where that is
    /// too small for a number.
    ///
    /// # Errors
    /// If there is no such axis.
    pub fn log_softmax(&self, axis: usize) -> Result<Self> {
        let output = softmax::log_forward_along(self.value(), axis)?;
        self.record_own(LogSoftmax { output: output.clone(), axis }, &[self], output)
    }
}

impl<T: Float> BuiltIn<T> for Softmax<T> {
    const NAME: &'static str = "softmax";

    /// `dx = y · (dy − Σ dy·y)`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(softmax::backward_along(&upstream, &self.output, self.axis)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (mut shape, axis) = draw.shape_and_axis();
        shape[axis] += 1; // of a single number the result is constant
        let case = format!("{shape:?} axis {axis}");
        Sample::new(case, vec![draw.normal(shape)], move |x| x[0].softmax(axis))
    }
}

impl<T: Float> BuiltIn<T> for LogSoftmax<T> {
    const NAME: &'static str = "log_softmax";

    /// `dx = dy − exp(y) · Σ dy`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(softmax::log_backward_along(&upstream, &self.output, self.axis)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (mut shape, axis) = draw.shape_and_axis();
        shape[axis] += 1; // of a single number the result is constant
        let case = format!("{shape:?} axis {axis}");
        Sample::new(case, vec![draw.normal(shape)], move |x| x[0].log_softmax(axis))
    }
}
