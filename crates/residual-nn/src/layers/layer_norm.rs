//! Layer normalization over the channels (Ba, Kiros & Hinton 2016).

use residual_autograd::{Result, State, Var};
use residual_kernels::{KernelError, layer_norm};
use residual_tensor::{Float, Generator, Shape, Tensor};

use crate::{
    Mode, Operation, Value,
    onnx::{Operand, Operator},
    operation::{check_channels, only},
    registry::{Sample, draw},
};

/// Normalizes the channels of each row of `[n, c]`, or of each pixel of `[n, c, h, w]`, then scales by γ and
/// shifts by β.
#[derive(Debug, Clone)]
pub struct LayerNorm<T: Float> {
    /// γ, `[c]`.
    pub weight: State<T>,
    /// β, `[c]`.
    pub bias: State<T>,
    eps: f64,
    of_pixels: bool,
}

impl<T: Float> LayerNorm<T> {
    /// For `[n, c]`, with γ = 1 and β = 0. `eps` is added to the variance.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(channels: usize, eps: f64) -> Result<Self> {
        let channel = |value: f64| Tensor::try_full([channels], T::of(value)).map(State::parameter);
        Ok(Self { weight: channel(1.0)?, bias: channel(0.0)?, eps, of_pixels: false })
    }

    /// What is added to the variance.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// The same for `[n, c, h, w]`.
    #[must_use]
    pub fn of_pixels(self) -> Self {
        Self { of_pixels: true, ..self }
    }
}

impl<T: Float> Operation<T> for LayerNorm<T> {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn states(&self) -> Vec<(&'static str, &State<T>)> {
        vec![("weight", &self.weight), ("bias", &self.bias)]
    }

    /// # Shapes
    /// `[n, c]`, or `[n, c, h, w]` if it is [of pixels](Self::of_pixels), unchanged.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let (x, weight) = (only(inputs), self.weight.shape());
        if self.of_pixels {
            check_channels("layer_norm", x, &weight)?;
        } else if x.dims::<2>("layer_norm")?[1] != weight[0] {
            let rule = "axis 1 of x must be as long as weight";
            return Err(KernelError::mismatch("layer_norm", ("x", x), ("weight", &weight), rule))?;
        }
        Ok(x.clone())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        let x = only(inputs);
        self.output(&[x.shape()])?;
        x.layer_norm(&x.tape().state(&self.weight), &x.tape().state(&self.bias), self.eps)
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        let (gamma, beta) = (self.weight.value(), self.bias.value());
        Ok(layer_norm::forward_into(inputs[0].elements, y, gamma.as_slice(), beta.as_slice(), self.eps)?)
    }

    fn onnx(&self) -> Vec<Operator> {
        let norm = |x: Operand| {
            Operator::new("LayerNormalization", [x, Operand::State("weight"), Operand::State("bias")])
                .with("axis", -1)
                .with("epsilon", self.eps)
        };
        if !self.of_pixels {
            return vec![norm(Operand::Input(0))];
        }
        let transpose = |x: Operand, order: [usize; 4]| Operator::new("Transpose", [x]).with("perm", order);
        let (last, back) = ([0, 2, 3, 1], [0, 3, 1, 2]);
        vec![transpose(Operand::Input(0), last), norm(Operand::Previous), transpose(Operand::Previous, back)]
    }
}

impl<T: Float> Sample for LayerNorm<T> {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let [n, c, h, w] = draw::shape(g, 1)?.dims("layer_norm")?;
        // Of a single channel the result is constant. eps is large, so that difference quotients see little of
        // what bends where channels are nearly equal.
        let layer = Self::new(c + 1, 0.1)?;
        Ok(match g.below(2) {
            0 => (layer, Shape::new([n, c + 1])?),
            _ => (layer.of_pixels(), Shape::new([n, c + 1, h, w])?),
        })
    }
}
