//! A learnt factor for each channel of a branch (Touvron et al. 2021, "Going deeper with Image Transformers",
//! equation 8).

use residual_autograd::{Result, State, Var};
use residual_kernels::fused::affine_into;
use residual_tensor::{Float, Generator, Shape, Tensor};

use crate::{
    Mode, Operation, Value,
    onnx::{Operand, Operator},
    operation::{check_channels, only},
    registry::{Sample, draw},
};

/// `γ · x`, with a γ for each channel of `[n, c, h, w]`.
#[derive(Debug, Clone)]
pub struct LayerScale<T: Float> {
    /// γ, `[c]`.
    pub gamma: State<T>,
}

impl<T: Float> LayerScale<T> {
    /// With this first value of γ: small, so that the block starts as nearly the identity.
    ///
    /// # Errors
    /// If there cannot be a tensor so large.
    pub fn new(channels: usize, init: f64) -> Result<Self> {
        Ok(Self { gamma: State::parameter(Tensor::try_full([channels], T::of(init))?) })
    }
}

impl<T: Float> Operation<T> for LayerScale<T> {
    fn name(&self) -> &'static str {
        "layer_scale"
    }

    fn states(&self) -> Vec<(&'static str, &State<T>)> {
        vec![("gamma", &self.gamma)]
    }

    /// # Shapes
    /// `[n, c, h, w]`, unchanged.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        check_channels("layer_scale", only(inputs), &self.gamma.shape())?;
        Ok(only(inputs).clone())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        let x = only(inputs);
        self.output(&[x.shape()])?;
        let gamma = x.tape().state(&self.gamma);
        x.mul(&gamma.reshape([1, gamma.shape()[0], 1, 1])?)
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        let gamma = self.gamma.value();
        let zeros = vec![T::zero(); gamma.len()];
        Ok(affine_into(inputs[0].elements, y, gamma.as_slice(), &zeros, false)?)
    }

    fn onnx(&self) -> Vec<Operator> {
        let axes = Operand::Integers("axes", vec![1, 2]);
        let factors = Operator::new("Unsqueeze", [Operand::State("gamma"), axes]);
        vec![factors, Operator::new("Mul", [Operand::Input(0), Operand::Previous])]
    }
}

impl<T: Float> Sample for LayerScale<T> {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let shape = draw::shape(g, 1)?;
        Ok((Self::new(shape[1], 0.5)?, shape))
    }
}
