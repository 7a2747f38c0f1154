//! The classifier at the end.

use residual_autograd::{Result, State, Var};
use residual_kernels::KernelError;
use residual_tensor::{Float, Generator, Shape, Tensor};

use crate::{GraphBuilder, Init, Mode, Module, NodeId, Op, Trace, Visitor};

/// Fully connected layer, `x·wᵀ + b`.
#[derive(Debug)]
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

impl<T: Float> Module<T> for Linear<T> {
    /// # Shapes
    /// `[n, in_features]` to `[n, out_features]`.
    fn forward(&self, x: &Var<T>, _mode: Mode) -> Result<Var<T>> {
        x.linear(&x.tape().state(&self.weight), &x.tape().state(&self.bias))
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        let [n, features] = input.dims("linear")?;
        let weight = self.weight.shape();
        if features != weight[1] {
            let (x, weight) = (("x", input), ("weight", &weight));
            return Err(KernelError::mismatch(
                "linear",
                x,
                weight,
                "axis 1 of both must have the same length",
            ))?;
        }
        let multiply_adds = (n as u64).saturating_mul(weight.elements() as u64);
        let parameters = weight.elements() + weight[0];
        Ok(trace.layer("linear", "", [input, &Shape::new([n, weight[0]])?], parameters, multiply_adds))
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        graph.push("", Op::Linear { weight: self.weight.clone(), bias: self.bias.clone() }, &[x])
    }

    fn visit(&self, visitor: &mut Visitor<'_, T>) {
        visitor.state("weight", &self.weight);
        visitor.state("bias", &self.bias);
    }
}
