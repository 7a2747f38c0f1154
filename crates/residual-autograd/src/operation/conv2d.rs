//! Two-dimensional convolution.

use std::rc::Rc;

use residual_kernels::{
    BatchStatistics, Conv2dGeometry, conv2d,
    fused::{self, Fused},
};
use residual_tensor::{Float, Tensor};

use super::{BuiltIn, arrive_each, when};
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Conv2d<T: Float> {
    input: Input<T>,
    weight: Tensor<T>,
    geometry: Conv2dGeometry,
}

/// The input, which the gradient of the weight needs.
enum Input<T: Float> {
    Kept(Tensor<T>),
    /// Normalized on the way: the normalization before keeps its own input anyway.
    Normalized(Rc<Fused<T>>),
}

impl<T: Float> Input<T> {
    fn of(var: &Var<T>) -> Self {
        match var.recipe() {
            Some(recipe) => Self::Normalized(recipe.clone()),
            None => Self::Kept(var.value().clone()),
        }
    }

    fn read(&self) -> fused::Input<'_, T> {
        match self {
            Self::Kept(value) => value.into(),
            Self::Normalized(recipe) => (&**recipe).into(),
        }
    }
}

impl<T: Float> Var<T> {
    /// Convolution (cross-correlation, as everywhere in this field) of `[n, c, h, w]` with
    /// `weight` of `[o, c / groups, kh, kw]`, giving `[n, o, oh, ow]`. No bias: batch
    /// normalization, which follows, would cancel it.
    ///
    /// # Errors
    /// If channels, groups and kernel do not fit each other or the input.
    pub fn conv2d(&self, weight: &Self, geometry: &Conv2dGeometry) -> Result<Self> {
        let input = Input::of(self);
        let output = fused::conv2d::forward(input.read(), weight.value(), geometry)?;
        self.record_conv2d(input, weight, geometry, output)
    }

    /// [`conv2d`](Self::conv2d), and the statistics of its result that batch normalization needs,
    /// which are cheapest taken on the way.
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d).
    pub fn conv2d_with_statistics(
        &self,
        weight: &Self,
        geometry: &Conv2dGeometry,
    ) -> Result<(Self, BatchStatistics)> {
        let input = Input::of(self);
        let (output, statistics) =
            fused::conv2d::forward_with_statistics(input.read(), weight.value(), geometry)?;
        Ok((self.record_conv2d(input, weight, geometry, output)?, statistics))
    }

    fn record_conv2d(
        &self,
        input: Input<T>,
        weight: &Self,
        geometry: &Conv2dGeometry,
        output: Tensor<T>,
    ) -> Result<Self> {
        let operation = Conv2d { input, weight: weight.value().clone(), geometry: *geometry };
        self.record_own(operation, &[self, weight], output)
    }
}

impl<T: Float> BuiltIn<T> for Conv2d<T> {
    const NAME: &'static str = "conv2d";

    /// `dx` is the upstream gradient convolved with the transposed weight, `dw` the correlation
    /// of input and upstream gradient.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let Self { input, weight, geometry } = *self;
        Ok(vec![
            when(wanted[0], || conv2d::backward_data(&upstream, &weight, input.read().shape(), &geometry))?,
            when(wanted[1], || -> Result<_> {
                Ok(fused::conv2d::backward_weights(input.read(), &upstream, weight.shape(), &geometry)?)
            })?,
        ])
    }

    /// `dx` is added while it is in registers: where a block begins, the shortcut's gradient is
    /// there already.
    fn accumulate(
        self: Box<Self>,
        upstream: Tensor<T>,
        wanted: &[bool],
        arrived: &mut [Option<Tensor<T>>],
    ) -> Result<()> {
        let mut rest = [wanted[0], wanted[1]];
        if let (true, Some(dx)) = (wanted[0], &mut arrived[0]) {
            fused::conv2d::accumulate_backward_data(&upstream, &self.weight, dx, &self.geometry)?;
            rest[0] = false;
        }
        arrive_each("conv2d", arrived, BuiltIn::backward(self, upstream, &rest)?)
    }

    fn sample(draw: &mut Draw) -> Sample {
        let kernel = [draw.within(1..=3), draw.within(1..=3)];
        let [stride, dilation] = [draw.within(1..=2), draw.within(1..=2)];
        // Less than the window, or an output could consist of padding alone.
        let padding = kernel.map(|k| draw.within(0..=2.min(dilation * (k - 1))));
        let groups = draw.within(1..=3);
        let [per_group_in, per_group_out] = [draw.within(1..=3), draw.within(1..=3)];
        let size = |k: usize, draw: &mut Draw| dilation * (k - 1) + draw.within(1..=5);
        let input = [draw.within(1..=2), groups * per_group_in, size(kernel[0], draw), size(kernel[1], draw)];
        let weight = [groups * per_group_out, per_group_in, kernel[0], kernel[1]];
        let geometry = Conv2dGeometry::new(kernel[0], kernel[1])
            .stride(stride)
            .padding(padding)
            .dilation(dilation)
            .groups(groups);
        let case =
            format!("{input:?} * {weight:?}, stride {stride}, padding {padding:?}, dilation {dilation}");
        Sample::new(case, vec![draw.normal(input), draw.normal(weight)], move |x| {
            x[0].conv2d(&x[1], &geometry)
        })
    }
}
