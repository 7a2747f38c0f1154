//! Pooling: the largest value or the mean of a window, or of the whole picture.

use residual_kernels::{MaxIndices, Pool2dGeometry, avg_pool, global_avg_pool, max_pool};
use residual_tensor::{Float, Shape, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct MaxPool2d {
    indices: MaxIndices,
    input: Shape,
}

pub(crate) struct AvgPool2d {
    geometry: Pool2dGeometry,
    input: Shape,
}

pub(crate) struct GlobalAvgPool {
    input: Shape,
}

impl<T: Float> Var<T> {
    /// The largest value of each window of `[n, c, h, w]`; padding never wins.
    ///
    /// # Errors
    /// If the window does not fit.
    pub fn max_pool2d(&self, geometry: &Pool2dGeometry) -> Result<Self> {
        let (output, indices) = max_pool::forward(self.value(), geometry)?;
        self.record_own(MaxPool2d { indices, input: self.shape().clone() }, &[self], output)
    }

    /// The mean of each window of `[n, c, h, w]`, padding counted as zeros.
    ///
    /// # Errors
    /// If the window does not fit.
    pub fn avg_pool2d(&self, geometry: &Pool2dGeometry) -> Result<Self> {
        let output = avg_pool::forward(self.value(), geometry)?;
        let operation = AvgPool2d { geometry: *geometry, input: self.shape().clone() };
        self.record_own(operation, &[self], output)
    }

    /// The mean over all positions: `[n, c, h, w]` to `[n, c]`.
    ///
    /// # Errors
    /// If there are not four axes.
    pub fn global_avg_pool(&self) -> Result<Self> {
        let output = global_avg_pool::forward(self.value())?;
        self.record_own(GlobalAvgPool { input: self.shape().clone() }, &[self], output)
    }
}

impl<T: Float> BuiltIn<T> for MaxPool2d {
    const NAME: &'static str = "max_pool2d";

    /// Each output's gradient goes to the position of the maximum.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(max_pool::backward(&upstream, &self.indices, &self.input)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (shape, geometry) = window(draw);
        Sample::new(format!("{geometry:?}"), vec![draw.distinct(shape)], move |x| x[0].max_pool2d(&geometry))
    }
}

impl<T: Float> BuiltIn<T> for AvgPool2d {
    const NAME: &'static str = "avg_pool2d";

    /// Each output's gradient is shared out evenly over its window.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(avg_pool::backward(&upstream, &self.input, &self.geometry)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (shape, geometry) = window(draw);
        Sample::new(format!("{geometry:?}"), vec![draw.normal(shape)], move |x| x[0].avg_pool2d(&geometry))
    }
}

impl<T: Float> BuiltIn<T> for GlobalAvgPool {
    const NAME: &'static str = "global_avg_pool";

    /// Each channel's gradient is shared out evenly over all positions.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(global_avg_pool::backward(&upstream, &self.input)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape4();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].global_avg_pool())
    }
}

fn window(draw: &mut Draw) -> ([usize; 4], Pool2dGeometry) {
    let kernel = draw.within(1..=3);
    let geometry =
        Pool2dGeometry::new(kernel, kernel).stride(draw.within(1..=3)).padding(draw.within(0..=kernel / 2));
    let geometry = geometry.ceil_mode(draw.within(0..=1) == 1);
    let size = [kernel + draw.within(0..=4), kernel + draw.within(0..=4)];
    ([draw.within(1..=2), draw.within(1..=3), size[0], size[1]], geometry)
}
