//! The classifier at the end.

use residual_autograd::{Result, State, Var};
use residual_kernels::KernelError;
use residual_tensor::{Float, Generator, Shape, Tensor};

use crate::{
    Init, Mode, Operation, Pattern,
    onnx::{Operand, Operator},
    operation::only,
    registry::Sample,
};

/// Fully connected layer, `x·wᵀ + b`.
#[derive(Debug, Clone)]
pub struct Linear<T: Float> {
    /// `[out_features, in_features]`.
    pub weight: State<T>,
    /// `[out_features]`.
    pub bias: State<T>,
}

impl<T: Float> Linear<T> {
    /// A layer with PyTorch's default initialisation of weight and bias.
    ///
    /// # Errors
    /// If there cannot be a tensor so large.
    pub fn new(in_features: usize, out_features: usize, generator: &mut Generator) -> Result<Self> {
        let weight = Init::Uniform.draw([out_features, in_features], generator)?;
        let bound = (in_features.max(1) as f64).sqrt().recip();
        let bias = Tensor::try_from_fn([out_features], || T::of(generator.between(-bound, bound)))?;
        Ok(Self { weight: State::parameter(weight), bias: State::parameter(bias) })
    }
}

impl<T: Float> Operation<T> for Linear<T> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn states(&self) -> Vec<(&'static str, &State<T>)> {
        vec![("weight", &self.weight), ("bias", &self.bias)]
    }

    /// # Shapes
    /// `[n, in_features]` to `[n, out_features]`.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only(inputs);
        let [n, features] = input.dims("linear")?;
        let weight = self.weight.shape();
        if features != weight[1] {
            let rule = "axis 1 of both must have the same length";
            return Err(KernelError::mismatch("linear", ("x", input), ("weight", &weight), rule))?;
        }
        Ok(Shape::new([n, weight[0]])?)
    }

    fn multiply_adds(&self, inputs: &[&Shape]) -> u64 {
        let batch = only(inputs).first().map_or(0, |&n| n as u64);
        batch.saturating_mul(self.weight.shape().elements() as u64)
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        let x = only(inputs);
        x.linear(&x.tape().state(&self.weight), &x.tape().state(&self.bias))
    }

    fn pattern(&self) -> Pattern<'_, T> {
        Pattern::Linear(self)
    }

    fn onnx(&self) -> Vec<Operator> {
        let inputs = [Operand::Input(0), Operand::State("weight"), Operand::State("bias")];
        vec![Operator::new("Gemm", inputs).with("transB", 1)]
    }
}

impl<T: Float> Sample for Linear<T> {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let [n, inputs, outputs] = [1 + g.below(3), 1 + g.below(5), 1 + g.below(5)];
        Ok((Self::new(inputs, outputs, g)?, Shape::new([n, inputs])?))
    }
}
