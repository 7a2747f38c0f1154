//! Products of matrices, and of stacks of them.

use residual_kernels::matmul;
use residual_tensor::{Float, Tensor};

use super::{BuiltIn, when};
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Matmul<T: Float> {
    inputs: [Tensor<T>; 2],
}

impl<T: Float> Var<T> {
    /// `self · other` of matrices: `[.., m, k]` and `[.., k, n]` to `[.., m, n]`; axes in front
    /// broadcast.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        let output = matmul::forward(self.value(), other.value())?;
        self.record_own(Matmul { inputs: [self, other].map(|x| x.value().clone()) }, &[self, other], output)
    }
}

impl<T: Float> BuiltIn<T> for Matmul<T> {
    const NAME: &'static str = "matmul";

    /// `da = dy·bᵀ`, `db = aᵀ·dy`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let [a, b] = self.inputs;
        Ok(vec![
            when(wanted[0], || matmul::backward_a(&upstream, &b, a.shape()))?,
            when(wanted[1], || matmul::backward_b(&a, &upstream, b.shape()))?,
        ])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let [m, k, n] = [draw.within(1..=4), draw.within(1..=4), draw.within(1..=4)];
        let stacks: [[&[usize]; 2]; 6] =
            [[&[], &[]], [&[2], &[]], [&[], &[3]], [&[2], &[2]], [&[2, 1], &[3]], [&[1, 2], &[3, 1]]];
        let [a, b] = stacks[draw.within(0..=5)];
        let shapes = [[a, &[m, k]].concat(), [b, &[k, n]].concat()];
        let case = format!("{:?} · {:?}", shapes[0], shapes[1]);
        let inputs = shapes.map(|shape| draw.normal(shape));
        Sample::new(case, inputs.to_vec(), |x| x[0].matmul(&x[1]))
    }
}
