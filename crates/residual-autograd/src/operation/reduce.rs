//! Sum, mean and largest value over axes: `..` for all, `1`, `[0, 2]`, or
//! [`Axes::from(1).kept()`](Axes::kept) to keep the axis with length 1.

use residual_kernels::reduce::{self, Axes, Reduction};
use residual_tensor::{Float, Layout, Shape, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Sum {
    reduction: Reduction,
    input: (Shape, Layout),
}

pub(crate) struct Mean {
    reduction: Reduction,
    input: (Shape, Layout),
}

pub(crate) struct Max<T: Float> {
    reduction: Reduction,
    input: Tensor<T>,
    output: Tensor<T>,
}

impl<T: Float> Var<T> {
    /// The sum over axes; 0 where there is nothing to add.
    ///
    /// ```
    /// use residual_autograd::Tape;
    /// use residual_kernels::Axes;
    /// use residual_tensor::Tensor;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::<f32>::full([2, 3], 1.0));
    /// assert_eq!(x.sum(..)?.value().to_vec(), [6.0]);
    /// assert_eq!(x.sum(1)?.value().to_vec(), [3.0, 3.0]);
    /// assert_eq!(**x.sum(Axes::from(1).kept())?.shape(), [2, 1]);
    /// # Ok::<(), residual_autograd::AutogradError>(())
    /// ```
    ///
    /// # Errors
    /// If an axis is not there, or named twice.
    pub fn sum(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        let reduction = Reduction::new("sum", self.shape(), axes.clone())?;
        let output = reduce::sum(self.value(), axes)?;
        self.record_own(Sum { reduction, input: self.shape_and_layout() }, &[self], output)
    }

    /// The mean over axes; NaN where there is nothing to average.
    ///
    /// # Errors
    /// If an axis is not there, or named twice.
    pub fn mean(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        let reduction = Reduction::new("mean", self.shape(), axes.clone())?;
        let output = reduce::mean(self.value(), axes)?;
        self.record_own(Mean { reduction, input: self.shape_and_layout() }, &[self], output)
    }

    /// The largest value over axes; NaN where one of them is NaN. All that are largest share
    /// the gradient evenly, as in PyTorch's `amax`.
    ///
    /// # Errors
    /// If an axis is not there, or named twice, or there is nothing to compare.
    pub fn max(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        let reduction = Reduction::new("max", self.shape(), axes.clone())?;
        let output = reduce::max(self.value(), axes)?;
        let (input, kept) = (self.value().clone(), output.clone());
        self.record_own(Max { reduction, input, output: kept }, &[self], output)
    }

    fn shape_and_layout(&self) -> (Shape, Layout) {
        (self.shape().clone(), self.value().layout())
    }
}

impl<T: Float> BuiltIn<T> for Sum {
    const NAME: &'static str = "sum";

    /// Each element gets the gradient of the sum that it is in.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let (shape, layout) = self.input;
        Ok(vec![Some(reduce::sum_backward(&upstream, &self.reduction, &shape, layout)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (shape, axes) = draw.reduction();
        Sample::new(format!("{shape:?} {axes:?}"), vec![draw.normal(shape)], move |x| x[0].sum(axes.clone()))
    }
}

impl<T: Float> BuiltIn<T> for Mean {
    const NAME: &'static str = "mean";

    /// Each element gets an equal share.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let (shape, layout) = self.input;
        Ok(vec![Some(reduce::mean_backward(&upstream, &self.reduction, &shape, layout)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (shape, axes) = draw.reduction();
        Sample::new(format!("{shape:?} {axes:?}"), vec![draw.normal(shape)], move |x| x[0].mean(axes.clone()))
    }
}

impl<T: Float> BuiltIn<T> for Max<T> {
    const NAME: &'static str = "max";

    /// The gradient goes to what is largest.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(reduce::max_backward(&upstream, &self.input, &self.output, &self.reduction)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (shape, axes) = draw.reduction();
        Sample::new(format!("{shape:?} {axes:?}"), vec![draw.distinct(shape)], move |x| {
            x[0].max(axes.clone())
        })
    }
}
