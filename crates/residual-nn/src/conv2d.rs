//! Convolution without bias: batch normalization follows, and would cancel it.

use residual_autograd::{Result, State, Var};
use residual_kernels::{BatchStatistics, Conv2dGeometry};
use residual_tensor::{Float, Generator, Layout, Shape};
use serde::{Deserialize, Serialize};

use crate::{Fan, GraphBuilder, Init, Mode, Module, NodeId, Op, Trace, Visitor};

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
}

impl Conv2dConfig {
    /// A convolution of this geometry with torchvision's initialisation.
    pub fn new(in_channels: usize, out_channels: usize, geometry: Conv2dGeometry) -> Self {
        Self { in_channels, out_channels, geometry, init: Init::He(Fan::Out) }
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
        Ok(Self { weight, geometry: config.geometry })
    }

    /// Kernel, stride, padding, dilation, groups.
    pub fn geometry(&self) -> &Conv2dGeometry {
        &self.geometry
    }

    /// The output with its statistics, for the normalization that follows.
    pub(crate) fn forward_with_statistics(&self, x: &Var<T>) -> Result<(Var<T>, BatchStatistics)> {
        x.conv2d_with_statistics(&x.tape().state(&self.weight), &self.geometry)
    }
}

impl<T: Float> Module<T> for Conv2d<T> {
    /// # Shapes
    /// `[n, in_channels, h, w]` to `[n, out_channels, oh, ow]`, where
    /// `oh = (h + 2·padding − dilation·(kernel − 1) − 1) / stride + 1`, rounded down.
    fn forward(&self, x: &Var<T>, _mode: Mode) -> Result<Var<T>> {
        x.conv2d(&x.tape().state(&self.weight), &self.geometry)
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        let weight = self.weight.shape();
        let shape = self.geometry.resolve(input, &weight)?;
        let detail = describe(&self.geometry);
        Ok(trace.layer("conv2d", detail, [input, &shape.y()], weight.elements(), shape.multiply_adds()))
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        graph.push("", Op::Conv2d { weight: self.weight.clone(), geometry: self.geometry }, &[x])
    }

    fn visit(&self, visitor: &mut Visitor<'_, T>) {
        visitor.state("weight", &self.weight);
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
