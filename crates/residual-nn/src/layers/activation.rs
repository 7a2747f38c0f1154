//! Activations.

use residual_autograd::{Result, Var};
use residual_tensor::{Float, Generator, Shape};

use crate::{
    Mode, Operation, Pattern,
    onnx::{Operand, Operator},
    operation::only,
    registry::{Sample, draw},
};

/// Rectified linear unit, `max(x, 0)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Relu;

/// Logistic function, `1 / (1 + e⁻ˣ)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sigmoid;

impl<T: Float> Operation<T> for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    /// # Shapes
    /// Any, unchanged.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only(inputs).clone())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        only(inputs).relu()
    }

    fn pattern(&self) -> Pattern<'_, T> {
        Pattern::Relu
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("Relu", [Operand::Input(0)])]
    }
}

impl<T: Float> Operation<T> for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }

    /// # Shapes
    /// Any, unchanged.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only(inputs).clone())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        only(inputs).sigmoid()
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("Sigmoid", [Operand::Input(0)])]
    }
}

impl Sample for Relu {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        Ok((Self, draw::shape(g, 1)?))
    }
}

impl Sample for Sigmoid {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        Ok((Self, draw::shape(g, 1)?))
    }
}
