//! The same elements under another shape.

use residual_tensor::{Float, IntoShape, Shape, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Reshape {
    input: Shape,
}

impl<T: Float> Var<T> {
    /// The elements in row-major order under another shape.
    ///
    /// # Errors
    /// If the number of elements differs, or the shape is impossible.
    pub fn reshape(&self, shape: impl IntoShape) -> Result<Self> {
        let output = self.value().reshape(shape)?;
        self.record_own(Reshape { input: self.shape().clone() }, &[self], output)
    }

    /// All axes but the first in one: `[n, c, h, w]` to `[n, c·h·w]`.
    ///
    /// # Errors
    /// None of its own.
    pub fn flatten(&self) -> Result<Self> {
        let n = self.shape().first().copied().unwrap_or(1);
        let rest = self.shape().iter().skip(1).product::<usize>();
        self.reshape([n, rest])
    }
}

impl<T: Float> BuiltIn<T> for Reshape {
    const NAME: &'static str = "reshape";

    /// Back to the shape that it was.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(upstream.reshape(self.input)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape4();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].flatten())
    }
}
