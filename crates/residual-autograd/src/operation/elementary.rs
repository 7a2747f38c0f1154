//! Functions of one number, applied to every element.

use residual_kernels::elementwise;
use residual_tensor::{Float, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, Var};

pub(crate) struct Exp<T: Float> {
    output: Tensor<T>,
}

pub(crate) struct Log<T: Float> {
    input: Tensor<T>,
}

pub(crate) struct Sqrt<T: Float> {
    output: Tensor<T>,
}

pub(crate) struct Sigmoid<T: Float> {
    output: Tensor<T>,
}

pub(crate) struct Tanh<T: Float> {
    output: Tensor<T>,
}

pub(crate) struct Gelu<T: Float> {
    input: Tensor<T>,
}

pub(crate) struct Powf<T: Float> {
    input: Tensor<T>,
    exponent: T,
}

impl<T: Float> Var<T> {
    /// `eˣ`
    ///
    /// # Errors
    /// None of its own.
    pub fn exp(&self) -> Result<Self> {
        let output = elementwise::exp(self.value())?;
        self.record_own(Exp { output: output.clone() }, &[self], output)
    }

    /// The natural logarithm: −∞ at 0, NaN below.
    ///
    /// # Errors
    /// None of its own.
    pub fn log(&self) -> Result<Self> {
        let output = elementwise::log(self.value())?;
        self.record_own(Log { input: self.value().clone() }, &[self], output)
    }

    /// `√x`, NaN below 0.
    ///
    /// # Errors
    /// None of its own.
    pub fn sqrt(&self) -> Result<Self> {
        let output = elementwise::sqrt(self.value())?;
        self.record_own(Sqrt { output: output.clone() }, &[self], output)
    }

    /// `1 / (1 + e⁻ˣ)`
    ///
    /// # Errors
    /// None of its own.
    pub fn sigmoid(&self) -> Result<Self> {
        let output = elementwise::sigmoid(self.value())?;
        self.record_own(Sigmoid { output: output.clone() }, &[self], output)
    }

    /// The hyperbolic tangent.
    ///
    /// # Errors
    /// None of its own.
    pub fn tanh(&self) -> Result<Self> {
        let output = elementwise::tanh(self.value())?;
        self.record_own(Tanh { output: output.clone() }, &[self], output)
    }

    /// `x · Φ(x)`, where Φ is the normal distribution (Hendrycks & Gimpel 2016), in its exact form.
    ///
    /// # Errors
    /// None of its own.
    pub fn gelu(&self) -> Result<Self> {
        let output = elementwise::gelu(self.value())?;
        self.record_own(Gelu { input: self.value().clone() }, &[self], output)
    }

    /// `x` to the power of a constant; NaN for a negative `x` and an exponent that is not whole.
    ///
    /// # Errors
    /// None of its own.
    pub fn powf(&self, exponent: T) -> Result<Self> {
        let output = elementwise::powf(self.value(), exponent)?;
        self.record_own(Powf { input: self.value().clone(), exponent }, &[self], output)
    }
}

impl<T: Float> BuiltIn<T> for Exp<T> {
    const NAME: &'static str = "exp";

    /// `dx = dy · eˣ`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::exp_backward(&upstream, &self.output)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].exp())
    }
}

impl<T: Float> BuiltIn<T> for Log<T> {
    const NAME: &'static str = "log";

    /// `dx = dy / x`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::log_backward(&upstream, &self.input)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.positive(shape)], |x| x[0].log())
    }
}

impl<T: Float> BuiltIn<T> for Sqrt<T> {
    const NAME: &'static str = "sqrt";

    /// `dx = dy / 2√x`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::sqrt_backward(&upstream, &self.output)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.positive(shape)], |x| x[0].sqrt())
    }
}

impl<T: Float> BuiltIn<T> for Sigmoid<T> {
    const NAME: &'static str = "sigmoid";

    /// `dx = dy · (1 − y) · y`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::sigmoid_backward(&upstream, &self.output)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].sigmoid())
    }
}

impl<T: Float> BuiltIn<T> for Tanh<T> {
    const NAME: &'static str = "tanh";

    /// `dx = dy · (1 − y²)`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::tanh_backward(&upstream, &self.output)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].tanh())
    }
}

impl<T: Float> BuiltIn<T> for Gelu<T> {
    const NAME: &'static str = "gelu";

    /// `dx = dy · (Φ(x) + x · φ(x))`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::gelu_backward(&upstream, &self.input)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape();
        Sample::new("", vec![draw.normal(shape)], |x| x[0].gelu())
    }
}

impl<T: Float> BuiltIn<T> for Powf<T> {
    const NAME: &'static str = "powf";

    /// `dx = dy · exponent · x^(exponent − 1)`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        Ok(vec![Some(elementwise::powf_backward(&upstream, &self.input, self.exponent)?)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let (shape, exponent) = (draw.shape(), [2.0, 3.0, -1.0, 0.5, 1.7][draw.within(0..=4)]);
        let x = draw.positive(shape);
        Sample::new(format!("exponent {exponent}"), vec![x], move |x| x[0].powf(exponent))
    }
}
