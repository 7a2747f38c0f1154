//! Operations of two values: what joins the branches of a block.

use residual_autograd::{Result, Var};
use residual_kernels::{KernelError, elementwise};
use residual_tensor::{Float, Generator, Shape};

use crate::{
    Kept, Mode, Operation, Pattern, Value,
    onnx::{Operand, Operator},
    operation::{compute_on_tape, only},
    registry::{Sample, draw},
};

/// The sum of two values of the same shape.
#[derive(Debug, Clone, Copy, Default)]
pub struct Add;

/// The product of two values, of which the second may be of length 1 along some axes: a factor for each
/// channel is `[n, c, 1, 1]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mul;

/// A value times a number that is not trained.
#[derive(Debug, Clone, Copy)]
pub struct Scale(pub f64);

impl<T: Float> Operation<T> for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        KernelError::unless_same("add", ("a", inputs[0]), ("b", inputs[1]))?;
        Ok(inputs[0].clone())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        KernelError::unless_same("add", ("a", inputs[0].shape()), ("b", inputs[1].shape()))?;
        inputs[0].add(inputs[1])
    }

    fn pattern(&self) -> Pattern<'_, T> {
        Pattern::Add
    }

    fn keeps(&self) -> Kept {
        Kept::Nothing
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("Add", [Operand::Input(0), Operand::Input(1)])]
    }
}

impl<T: Float> Operation<T> for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let [a, b] = [inputs[0], inputs[1]];
        let fits = a.rank() == b.rank() && a.iter().zip(b.iter()).all(|(&a, &b)| b == a || b == 1);
        if fits {
            return Ok(a.clone());
        }
        let rule = "each axis of b must be as long as that of a, or 1";
        Err(KernelError::mismatch("mul", ("a", a), ("b", b), rule))?
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        Operation::<T>::output(self, &[inputs[0].shape(), inputs[1].shape()])?;
        inputs[0].mul(inputs[1])
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        let [a, b] = [inputs[0], inputs[1]];
        match (&a.shape[..], &b.shape[..]) {
            (&[n, c, height, width], [_, _, 1, 1]) if b.elements.len() == n * c => {
                Ok(elementwise::mul_channels_into(a.elements, b.elements, y, [n, c, height, width])?)
            }
            _ => compute_on_tape(inputs, y, |inputs| self.record(inputs, Mode::Eval)),
        }
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("Mul", [Operand::Input(0), Operand::Input(1)])]
    }
}

impl<T: Float> Operation<T> for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn detail(&self) -> String {
        format!("× {}", self.0)
    }

    /// # Shapes
    /// Any, unchanged.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only(inputs).clone())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        only(inputs).mul_scalar(T::of(self.0))
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        let factor = T::of(self.0);
        y.iter_mut().zip(inputs[0].elements).for_each(|(y, &x)| *y = factor * x);
        Ok(())
    }

    fn keeps(&self) -> Kept {
        Kept::Nothing
    }

    fn onnx(&self) -> Vec<Operator> {
        let factor = Operand::Numbers("factor", vec![1], vec![self.0]);
        vec![Operator::new("Mul", [Operand::Input(0), factor])]
    }
}

impl Sample for Scale {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        Ok((Self(g.between(0.1, 2.0)), draw::shape(g, 1)?))
    }
}
