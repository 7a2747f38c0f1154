//! Sum of two tensors of the same shape: where the shortcut meets the residual.

use residual_kernels::add;
use residual_tensor::{Float, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Add;

impl<T: Float> Var<T> {
    /// `self + other`, of equal shapes.
    ///
    /// # Errors
    /// If the shapes differ: both branches of a residual block must agree in all axes.
    pub fn add(&self, other: &Self) -> Result<Self> {
        let output = add::forward(self.value(), other.value())?;
        self.record(Add, &[self, other], output)
    }
}

impl<T: Float> BuiltIn<T> for Add {
    const NAME: &'static str = "add";

    /// The gradient goes through to both sides unchanged: the paper's argument in one line.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(upstream.clone()), Some(upstream)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape4();
        Sample::new("", vec![draw.normal(shape), draw.normal(shape)], |x| x[0].add(&x[1]))
    }
}
