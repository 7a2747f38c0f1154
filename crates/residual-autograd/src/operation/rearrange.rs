//! The same elements elsewhere: axes in another order, a part of a tensor, tensors put together.

use std::ops::Range;

use residual_kernels::concatenate;
use residual_tensor::{Float, Shape, Tensor};

use super::{BuiltIn, when};
use crate::{AutogradError, Draw, Result, Sample, Var};

pub(crate) struct Permute {
    axes: Vec<usize>,
}

pub(crate) struct Slice {
    axis: usize,
    start: usize,
    input: Shape,
}

pub(crate) struct Concatenate {
    axis: usize,
    /// How long each input is along the axis.
    lengths: Vec<usize>,
}

impl<T: Float> Var<T> {
    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this one.
    ///
    /// # Errors
    /// If `axes` is not a permutation of all axes.
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        let output = self.value().permute(axes)?;
        self.record_own(Permute { axes: axes.to_vec() }, &[self], output)
    }

    /// The last two axes exchanged: each matrix of a stack transposed.
    ///
    /// # Errors
    /// If there are fewer than two axes.
    pub fn transpose(&self) -> Result<Self> {
        let mut axes: Vec<usize> = (0..self.shape().rank()).collect();
        let Some(first) = axes.len().checked_sub(2) else {
            return Err(AutogradError::NotAMatrix { operation: "transpose", shape: self.shape().clone() });
        };
        axes.swap(first, first + 1);
        self.permute(&axes)
    }

    /// The elements whose index along `axis` is in `range`.
    ///
    /// # Errors
    /// If the range does not fit.
    pub fn slice(&self, axis: usize, range: Range<usize>) -> Result<Self> {
        let start = range.start;
        let output = self.value().slice(axis, range)?;
        self.record_own(Slice { axis, start, input: self.shape().clone() }, &[self], output)
    }

    /// Variables one after another along `axis`; they agree in all other axes.
    ///
    /// ```
    /// use residual_autograd::{Tape, Var};
    /// use residual_tensor::Tensor;
    ///
    /// let tape = Tape::new();
    /// let [x, y] = [1, 2].map(|n| tape.leaf(Tensor::<f32>::zeros([4, n])));
    /// assert_eq!(**Var::concatenate(&[&x, &y], 1)?.shape(), [4, 3]);
    /// # Ok::<(), residual_autograd::AutogradError>(())
    /// ```
    ///
    /// # Errors
    /// If there are none, there is no such axis, or shapes do not fit.
    pub fn concatenate(vars: &[&Self], axis: usize) -> Result<Self> {
        let output = concatenate::forward(vars.iter().map(|var| var.value()), axis)?;
        let lengths = vars.iter().map(|var| var.shape()[axis]).collect();
        vars[0].record_own(Concatenate { axis, lengths }, vars, output)
    }
}

impl<T: Float> BuiltIn<T> for Permute {
    const NAME: &'static str = "permute";

    /// The axes of `dy` go back to where they came from.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let mut back = vec![0; self.axes.len()];
        for (to, &from) in self.axes.iter().enumerate() {
            back[from] = to;
        }
        Ok(vec![Some(upstream.permute(&back)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        let axes = draw.permutation(shape.len());
        let case = format!("{shape:?} {axes:?}");
        Sample::new(case, vec![draw.normal(shape)], move |x| x[0].permute(&axes))
    }
}

impl<T: Float> BuiltIn<T> for Slice {
    const NAME: &'static str = "slice";

    /// `dy` where the slice was taken from, zeros elsewhere.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(concatenate::slice_backward(&upstream, self.axis, self.start, &self.input)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (shape, axis) = draw.shape_and_axis();
        let start = draw.within(0..=shape[axis] - 1);
        let end = draw.within(start + 1..=shape[axis]);
        let case = format!("{shape:?} axis {axis}, {start}..{end}");
        Sample::new(case, vec![draw.normal(shape)], move |x| x[0].slice(axis, start..end))
    }
}

impl<T: Float> BuiltIn<T> for Concatenate {
    const NAME: &'static str = "concatenate";

    /// Each input gets its part of `dy`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let mut end = 0;
        let part = |(&length, &wanted): (&usize, &bool)| {
            end += length;
            Ok(when(wanted, || upstream.slice(self.axis, end - length..end))?)
        };
        self.lengths.iter().zip(wanted).map(part).collect()
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (mut shape, axis) = draw.shape_and_axis();
        let count = draw.within(1..=3);
        let mut part = || {
            shape[axis] = draw.within(1..=3);
            draw.normal(&*shape)
        };
        let inputs: Vec<Tensor<f64>> = (0..count).map(|_| part()).collect();
        Sample::new(format!("{count} along axis {axis}"), inputs, move |x| {
            Var::concatenate(&x.iter().collect::<Vec<_>>(), axis)
        })
    }
}
