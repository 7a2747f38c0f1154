//! Fewer pixels of a blurred picture (Zhang 2019).

use residual_kernels::blur_pool;
use residual_tensor::{Float, Shape, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct BlurPool2d {
    stride: usize,
    input: Shape,
}

impl<T: Float> Var<T> {
    /// Every `stride`-th pixel of `[n, c, h, w]` after a blur of 3×3; the picture is mirrored at its edge.
    ///
    /// # Errors
    /// If there are no pixels, or the stride is zero.
    pub fn blur_pool2d(&self, stride: usize) -> Result<Self> {
        let output = blur_pool::forward(self.value(), stride)?;
        self.record_own(BlurPool2d { stride, input: self.shape().clone() }, &[self], output)
    }
}

impl<T: Float> BuiltIn<T> for BlurPool2d {
    const NAME: &'static str = "blur_pool2d";

    /// Each pixel gets the gradients of those that it was blurred into.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(blur_pool::backward(&upstream, self.stride, &self.input)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (shape, stride) = (draw.shape4(), draw.within(1..=3));
        Sample::new(format!("stride {stride}"), vec![draw.normal(shape)], move |x| x[0].blur_pool2d(stride))
    }
}
