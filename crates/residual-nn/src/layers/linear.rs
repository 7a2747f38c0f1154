//! Fully connected layers: the classifier at the end, and what treats each pixel by itself.

use residual_autograd::{Result, State, Var};
use residual_kernels::{Conv2dGeometry, KernelError};
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
    of_pixels: bool,
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
        Ok(Self { weight: State::parameter(weight), bias: State::parameter(bias), of_pixels: false })
    }

    /// A layer with these first weights, and a bias of 0.
    ///
    /// # Errors
    /// If there cannot be a tensor so large.
    pub fn with_init([inputs, outputs]: [usize; 2], init: Init, generator: &mut Generator) -> Result<Self> {
        let weight = State::parameter(init.draw([outputs, inputs], generator)?);
        let bias = State::parameter(Tensor::try_full([outputs], T::zero())?);
        Ok(Self { weight, bias, of_pixels: false })
    }

    /// The same layer for the channels of each pixel of `[n, in_features, h, w]`: a 1×1 convolution.
    #[must_use]
    pub fn of_pixels(self) -> Self {
        Self { of_pixels: true, ..self }
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
    /// `[n, in_features]` to `[n, out_features]`; if it is [of pixels](Self::of_pixels),
    /// `[n, in_features, h, w]` to `[n, out_features, h, w]`.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let (input, weight) = (only(inputs), self.weight.shape());
        let features =
            if self.of_pixels { input.dims::<4>("linear")?[1] } else { input.dims::<2>("linear")?[1] };
        if features != weight[1] {
            let rule = "axis 1 of both must have the same length";
            return Err(KernelError::mismatch("linear", ("x", input), ("weight", &weight), rule))?;
        }
        let mut axes = input.to_vec();
        axes[1] = weight[0];
        Ok(Shape::new(axes)?)
    }

    fn multiply_adds(&self, inputs: &[&Shape]) -> u64 {
        let [outputs, inputs] = [self.weight.shape()[0], only(inputs).elements()];
        (inputs as u64).saturating_mul(outputs as u64)
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        let x = only(inputs);
        let [weight, bias] = [&self.weight, &self.bias].map(|state| x.tape().state(state));
        if !self.of_pixels {
            return x.linear(&weight, &bias);
        }
        self.output(&[x.shape()])?;
        let [outputs, inputs] = weight.shape().dims("linear")?;
        let y = x.conv2d(&weight.reshape([outputs, inputs, 1, 1])?, &Conv2dGeometry::new(1, 1))?;
        y.add(&bias.reshape([1, outputs, 1, 1])?)
    }

    fn pattern(&self) -> Pattern<'_, T> {
        Pattern::Linear(self)
    }

    fn onnx(&self) -> Vec<Operator> {
        if self.of_pixels {
            let axes = Operand::Integers("axes", vec![2, 3]);
            let weight = Operator::new("Unsqueeze", [Operand::State("weight"), axes]);
            let inputs = [Operand::Input(0), Operand::Previous, Operand::State("bias")];
            return vec![weight, Operator::convolution(inputs, &Conv2dGeometry::new(1, 1))];
        }
        let inputs = [Operand::Input(0), Operand::State("weight"), Operand::State("bias")];
        vec![Operator::new("Gemm", inputs).with("transB", 1)]
    }
}

impl<T: Float> Sample for Linear<T> {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let [n, inputs, outputs] = [1 + g.below(3), 1 + g.below(5), 1 + g.below(5)];
        Ok(match g.below(2) {
            0 => (Self::new(inputs, outputs, g)?, Shape::new([n, inputs])?),
            _ => {
                let layer = Self::with_init([inputs, outputs], Init::Uniform, g)?;
                (layer.of_pixels(), Shape::new([n, inputs, 2, 3])?)
            }
        })
    }
}
