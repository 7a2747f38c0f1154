//! The parameter-free shortcut between blocks of different shape (He et al. 2015, option A).

use residual_kernels::subsample_pad;
use residual_tensor::{Float, Shape, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct SubsamplePad {
    stride: usize,
    input: Shape,
}

impl<T: Float> Var<T> {
    /// Every `stride`-th pixel of `[n, c, h, w]`, with zero channels added before and after (one
    /// more after, if their number is odd) up to `channels`.
    ///
    /// # Errors
    /// If there are fewer channels than the input has, or the stride is zero.
    pub fn subsample_pad(&self, stride: usize, channels: usize) -> Result<Self> {
        let output = subsample_pad::forward(self.value(), stride, channels)?;
        self.record_own(SubsamplePad { stride, input: self.shape().clone() }, &[self], output)
    }
}

impl<T: Float> BuiltIn<T> for SubsamplePad {
    const NAME: &'static str = "subsample_pad";

    /// Gradients return to the pixels that were taken; the others get zero.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(subsample_pad::backward(&upstream, self.stride, &self.input)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape4();
        let (stride, channels) = (draw.within(1..=3), shape[1] + draw.within(0..=3));
        let case = format!("stride {stride}, {channels} channels");
        Sample::new(case, vec![draw.normal(shape)], move |x| x[0].subsample_pad(stride, channels))
    }
}
