//! Convolution. In residual networks it has no bias: batch normalization follows, and would cancel it.

use residual_autograd::{Result, State, Var};
use residual_kernels::{BatchStatistics, Conv2dGeometry};
use residual_tensor::{Float, Generator, Layout, Shape, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    BatchNorm2d, Fan, Init, Mode, Operation, Pattern,
    onnx::{Operand, Operator},
    operation::{check_channels, only},
    registry::{Sample, draw},
};

/// What a [`Conv2d`] is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2dConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Kernel, stride, padding, dilation, groups.
    pub geometry: Conv2dGeometry,
    /// First weights.
    pub init: Init,
    /// Whether each output channel has a bias.
    pub bias: bool,
}

impl Conv2dConfig {
    /// A convolution of this geometry with torchvision's initialisation.
    pub fn new(in_channels: usize, out_channels: usize, geometry: Conv2dGeometry) -> Self {
        Self { in_channels, out_channels, geometry, init: Init::He(Fan::Out), bias: false }
    }

    /// 3×3 with padding 1.
    pub fn three(in_channels: usize, out_channels: usize) -> Self {
        Self::new(in_channels, out_channels, Conv2dGeometry::new(3, 3).padding(1))
    }

    /// 1×1.
    pub fn one(in_channels: usize, out_channels: usize) -> Self {
        Self::new(in_channels, out_channels, Conv2dGeometry::new(1, 1))
    }

    /// Sets the stride.
    pub fn stride(self, stride: usize) -> Self {
        Self { geometry: self.geometry.stride(stride), ..self }
    }

    /// Sets the number of groups.
    pub fn groups(self, groups: usize) -> Self {
        Self { geometry: self.geometry.groups(groups), ..self }
    }

    /// Gives each output channel a bias, which begins at 0.
    pub fn bias(self) -> Self {
        Self { bias: true, ..self }
    }

    /// Sets the initialisation.
    pub fn init(self, init: Init) -> Self {
        Self { init, ..self }
    }

    /// The shape of the weight: `[out_channels, in_channels / groups, kernel height, width]`.
    ///
    /// # Errors
    /// If there cannot be a tensor so large.
    pub fn weight_shape(&self) -> Result<Shape> {
        let [height, width] = self.geometry.kernel;
        let axes = [self.out_channels, self.in_channels / self.geometry.groups.max(1), height, width];
        Ok(Shape::new(axes)?)
    }
}

/// Convolution over `[n, c, h, w]`.
#[derive(Debug, Clone)]
pub struct Conv2d<T: Float> {
    /// `[out_channels, in_channels / groups, kernel height, width]`, channels-last in memory.
    pub weight: State<T>,
    /// `[out_channels]`
    pub bias: Option<State<T>>,
    geometry: Conv2dGeometry,
}

impl<T: Float> Conv2d<T> {
    /// A convolution with new weights.
    ///
    /// # Errors
    /// If there cannot be a tensor so large.
    pub fn new(config: &Conv2dConfig, generator: &mut Generator) -> Result<Self> {
        let weight = config.init.draw(config.weight_shape()?, generator)?;
        let weight = State::parameter(weight.to_layout(Layout::ChannelsLast));
        let bias = config.bias.then(|| Tensor::try_full([config.out_channels], T::zero())).transpose()?;
        Ok(Self { weight, bias: bias.map(State::parameter), geometry: config.geometry })
    }

    /// Kernel, stride, padding, dilation, groups.
    pub fn geometry(&self) -> &Conv2dGeometry {
        &self.geometry
    }

    /// Weight and bias of a convolution that does what this one and `norm` behind it do in evaluation:
    /// the scale of each channel goes into its weights, the shift into its bias.
    ///
    /// # Errors
    /// If there is no memory for them, or `norm` is one of other channels.
    pub fn folded(&self, norm: Option<&BatchNorm2d<T>>) -> Result<(Tensor<T>, Vec<T>)> {
        let mut weight = self.weight.value().to_layout(Layout::ChannelsLast);
        let channels = weight.shape()[0];
        let mut bias = self.bias.as_ref().map_or(vec![T::zero(); channels], |bias| bias.value().to_vec());
        let Some(norm) = norm else { return Ok((weight, bias)) };
        check_channels("batch_norm", &Shape::new([1, channels, 1, 1])?, &norm.weight.shape())?;
        // Channels-last memory: the weights of an output channel are neighbours.
        let window = (weight.len() / channels.max(1)).max(1);
        let kernels = weight.as_mut_slice().chunks_exact_mut(window).zip(&mut bias);
        for ((weights, bias), (scale, shift)) in kernels.zip(norm.scales_and_shifts()) {
            weights.iter_mut().for_each(|weight| *weight = T::of(weight.to_f64() * scale));
            *bias = T::of(bias.to_f64() * scale + shift);
        }
        Ok((weight, bias))
    }

    /// The output with its statistics, for the normalization that follows.
    pub(crate) fn record_with_statistics(&self, x: &Var<T>) -> Result<(Var<T>, BatchStatistics)> {
        x.conv2d_with_statistics(&x.tape().state(&self.weight), &self.geometry)
    }
}

impl<T: Float> Operation<T> for Conv2d<T> {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn detail(&self) -> String {
        describe(&self.geometry)
    }

    fn states(&self) -> Vec<(&'static str, &State<T>)> {
        let bias = self.bias.iter().map(|bias| ("bias", bias));
        std::iter::once(("weight", &self.weight)).chain(bias).collect()
    }

    /// # Shapes
    /// `[n, in_channels, h, w]` to `[n, out_channels, oh, ow]`, where
    /// `oh = (h + 2·padding − dilation·(kernel − 1) − 1) / stride + 1`, rounded down.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(self.geometry.resolve(only(inputs), &self.weight.shape())?.y())
    }

    fn multiply_adds(&self, inputs: &[&Shape]) -> u64 {
        self.geometry.resolve(only(inputs), &self.weight.shape()).map_or(0, |shape| shape.multiply_adds())
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        let x = only(inputs);
        let y = x.conv2d(&x.tape().state(&self.weight), &self.geometry)?;
        match &self.bias {
            Some(bias) => y.add(&x.tape().state(bias).reshape([1, bias.shape()[0], 1, 1])?),
            None => Ok(y),
        }
    }

    fn pattern(&self) -> Pattern<'_, T> {
        Pattern::Conv2d(self)
    }

    fn onnx(&self) -> Vec<Operator> {
        let states = self.states().into_iter().map(|(name, _)| Operand::State(name));
        let inputs: Vec<Operand> = std::iter::once(Operand::Input(0)).chain(states).collect();
        vec![Operator::convolution(inputs, &self.geometry)]
    }
}

impl<T: Float> Sample for Conv2d<T> {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let shape = draw::shape(g, 1)?;
        let geometry = Conv2dGeometry::new(3, 3).padding(1).stride(1 + g.below(2));
        let config = Conv2dConfig::new(shape[1], 1 + g.below(4), geometry);
        let config = Conv2dConfig { bias: g.chance(0.3), ..config };
        Ok((Self::new(&config, g)?, shape))
    }
}

/// `3×3, stride 2, groups 32`.
fn describe(geometry: &Conv2dGeometry) -> String {
    let pair = |[a, b]: [usize; 2]| if a == b { a.to_string() } else { format!("{a}×{b}") };
    let mut text = format!("{}×{}", geometry.kernel[0], geometry.kernel[1]);
    if geometry.stride != [1, 1] {
        text += &format!(", stride {}", pair(geometry.stride));
    }
    if geometry.dilation != [1, 1] {
        text += &format!(", dilation {}", pair(geometry.dilation));
    }
    if geometry.groups != 1 {
        text += &format!(", groups {}", geometry.groups);
    }
    text
}
