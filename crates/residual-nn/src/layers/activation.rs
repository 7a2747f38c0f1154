//! Activations.

use residual_autograd::{Result, Var};
use residual_kernels::elementwise;
use residual_tensor::{Float, Generator, Shape};

use crate::{
    Kept, Mode, Operation, Pattern, Value,
    onnx::{Operand, Operator},
    operation::only,
    registry::{Sample, draw},
};

/// Rectified linear unit, `max(x, 0)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Relu;

/// Gaussian error linear unit, `x · Φ(x)` with the normal distribution Φ (Hendrycks & Gimpel 2016), in its exact
/// form.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gelu;

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

    fn keeps(&self) -> Kept {
        Kept::Output
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

    fn keeps(&self) -> Kept {
        Kept::Output
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("Sigmoid", [Operand::Input(0)])]
    }
}

impl<T: Float> Operation<T> for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    /// # Shapes
    /// Any, unchanged.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only(inputs).clone())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        only(inputs).gelu()
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        Ok(elementwise::gelu_into(inputs[0].elements, y)?)
    }

    /// `Gelu` is an operator from opset 20 on; here it is `½ · x · (1 + erf(x / √2))`.
    fn onnx(&self) -> Vec<Operator> {
        let number = |name: &'static str, value: f64| Operand::Numbers(name, vec![], vec![value]);
        vec![
            Operator::new("Div", [Operand::Input(0), number("root", std::f64::consts::SQRT_2)]),
            Operator::new("Erf", [Operand::Previous]),
            Operator::new("Add", [Operand::Previous, number("one", 1.0)]),
            Operator::new("Mul", [Operand::Previous, Operand::Input(0)]),
            Operator::new("Mul", [Operand::Previous, number("half", 0.5)]),
        ]
    }
}

impl Sample for Gelu {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        Ok((Self, draw::shape(g, 1)?))
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
