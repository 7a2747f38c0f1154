//! `+ − × ÷` and the sign. Shapes broadcast as in NumPy and PyTorch: axes are matched from the last,
//! and one that is 1 or missing repeats.

use residual_kernels::elementwise;
use residual_tensor::{Float, Shape, Tensor};

use super::{BuiltIn, when};
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Add {
    inputs: [Shape; 2],
}

pub(crate) struct Sub {
    inputs: [Shape; 2],
}

pub(crate) struct Mul<T: Float> {
    inputs: [Tensor<T>; 2],
}

pub(crate) struct Div<T: Float> {
    inputs: [Tensor<T>; 2],
}

pub(crate) struct AddScalar;

pub(crate) struct MulScalar<T: Float> {
    factor: T,
}

pub(crate) struct Neg;

impl<T: Float> Var<T> {
    /// `self + other`; shapes broadcast.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn add(&self, other: &Self) -> Result<Self> {
        let output = elementwise::add(self.value(), other.value())?;
        self.record_own(Add { inputs: [self, other].map(|x| x.shape().clone()) }, &[self, other], output)
    }

    /// `self − other`; shapes broadcast.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn sub(&self, other: &Self) -> Result<Self> {
        let output = elementwise::sub(self.value(), other.value())?;
        self.record_own(Sub { inputs: [self, other].map(|x| x.shape().clone()) }, &[self, other], output)
    }

    /// `self · other`, element by element; shapes broadcast.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn mul(&self, other: &Self) -> Result<Self> {
        let output = elementwise::mul(self.value(), other.value())?;
        self.record_own(Mul { inputs: [self, other].map(|x| x.value().clone()) }, &[self, other], output)
    }

    /// `self / other`, element by element; shapes broadcast.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn div(&self, other: &Self) -> Result<Self> {
        let output = elementwise::div(self.value(), other.value())?;
        self.record_own(Div { inputs: [self, other].map(|x| x.value().clone()) }, &[self, other], output)
    }

    /// `self + addend`, the same number for every element.
    ///
    /// # Errors
    /// None of its own.
    pub fn add_scalar(&self, addend: T) -> Result<Self> {
        self.record_own(AddScalar, &[self], elementwise::add_scalar(self.value(), addend)?)
    }

    /// `self · factor`, the same number for every element.
    ///
    /// # Errors
    /// None of its own.
    pub fn mul_scalar(&self, factor: T) -> Result<Self> {
        self.record_own(MulScalar { factor }, &[self], elementwise::mul_scalar(self.value(), factor)?)
    }

    /// `−self`
    ///
    /// # Errors
    /// None of its own.
    pub fn neg(&self) -> Result<Self> {
        self.record_own(Neg, &[self], elementwise::neg(self.value())?)
    }
}

impl<T: Float> BuiltIn<T> for Add {
    const NAME: &'static str = "add";

    /// The gradient goes through to both sides unchanged: the paper's argument in one line. What was
    /// repeated gets the sum.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let [a, b] = self.inputs;
        Ok(vec![
            when(wanted[0], || elementwise::add_backward(upstream.clone(), &a))?,
            when(wanted[1], || elementwise::add_backward(upstream.clone(), &b))?,
        ])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let [a, b] = draw.broadcast();
        Sample::new(format!("{a:?} + {b:?}"), vec![draw.normal(a), draw.normal(b)], |x| x[0].add(&x[1]))
    }
}

impl<T: Float> BuiltIn<T> for Sub {
    const NAME: &'static str = "sub";

    /// `da = dy`, `db = −dy`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let [a, b] = self.inputs;
        Ok(vec![
            when(wanted[0], || elementwise::add_backward(upstream.clone(), &a))?,
            when(wanted[1], || elementwise::sub_backward_b(upstream, &b))?,
        ])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let [a, b] = draw.broadcast();
        Sample::new(format!("{a:?} - {b:?}"), vec![draw.normal(a), draw.normal(b)], |x| x[0].sub(&x[1]))
    }
}

impl<T: Float> BuiltIn<T> for Mul<T> {
    const NAME: &'static str = "mul";

    /// `da = dy·b`, `db = dy·a`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let [a, b] = self.inputs;
        Ok(vec![
            when(wanted[0], || elementwise::mul_backward(&upstream, &b, a.shape()))?,
            when(wanted[1], || elementwise::mul_backward(&upstream, &a, b.shape()))?,
        ])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let [a, b] = draw.broadcast();
        Sample::new(format!("{a:?} * {b:?}"), vec![draw.normal(a), draw.normal(b)], |x| x[0].mul(&x[1]))
    }
}

impl<T: Float> BuiltIn<T> for Div<T> {
    const NAME: &'static str = "div";

    /// `da = dy/b`, `db = −dy·a/b²`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let [a, b] = self.inputs;
        Ok(vec![
            when(wanted[0], || elementwise::div_backward_a(&upstream, &b, a.shape()))?,
            when(wanted[1], || elementwise::div_backward_b(&upstream, &a, &b))?,
        ])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let [a, b] = draw.broadcast();
        let case = format!("{a:?} / {b:?}");
        Sample::new(case, vec![draw.normal(a), draw.away_from_zero(b)], |x| x[0].div(&x[1]))
    }
}

impl<T: Float> BuiltIn<T> for AddScalar {
    const NAME: &'static str = "add_scalar";

    /// Goes through.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(upstream)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].add_scalar(-0.75))
    }
}

impl<T: Float> BuiltIn<T> for MulScalar<T> {
    const NAME: &'static str = "mul_scalar";

    /// `dx = dy · factor`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::mul_scalar(&upstream, self.factor)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].mul_scalar(-0.75))
    }
}

impl<T: Float> BuiltIn<T> for Neg {
    const NAME: &'static str = "neg";

    /// `dx = −dy`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::neg(&upstream)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].neg())
    }
}
