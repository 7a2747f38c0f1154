//! Shrinking without skipping what is too fine for it (Zhang 2019, "Making Convolutional Networks
//! Shift-Invariant Again").

use residual_autograd::{Result, Var};
use residual_kernels::{Conv2dGeometry, KernelError, Pool2dGeometry, blur_pool};
use residual_tensor::{Float, Generator, Shape};

use crate::{
    BlockConfig, Kept, MaxPool2d, Mode, Module, Operation, Sequential, Value,
    onnx::{Operand, Operator},
    operation::only,
    plugin::{InBranch, Position},
    registry::{Sample, draw},
};

/// Every `stride`-th pixel after a blur of 3×3 that has no parameters.
#[derive(Debug, Clone, Copy)]
pub struct BlurPool2d {
    /// Every how many pixels one is taken.
    pub stride: usize,
    /// Channels of input and output.
    pub channels: usize,
}

impl<T: Float> Operation<T> for BlurPool2d {
    fn name(&self) -> &'static str {
        "blur_pool2d"
    }

    fn detail(&self) -> String {
        format!("3×3, stride {}", self.stride)
    }

    /// # Shapes
    /// `[n, channels, h, w]` to `[n, channels, ⌈h / stride⌉, ⌈w / stride⌉]`.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let [n, c, h, w] = only(inputs).dims("blur_pool2d")?;
        if self.stride == 0 || c != self.channels || h * w == 0 {
            let wanted = Shape::new([n, self.channels, h.max(1), w.max(1)])?;
            let rule = "the input has other channels or no pixels, or the stride is 0";
            return Err(KernelError::mismatch(
                "blur_pool2d",
                ("x", only(inputs)),
                ("expected", &wanted),
                rule,
            ))?;
        }
        Ok(Shape::new([n, c, h.div_ceil(self.stride), w.div_ceil(self.stride)])?)
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        Operation::<T>::output(self, &[only(inputs).shape()])?;
        only(inputs).blur_pool2d(self.stride)
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        let shape = inputs[0].shape.dims("blur_pool2d")?;
        Ok(blur_pool::forward_into(inputs[0].elements, y, shape, self.stride)?)
    }

    fn keeps(&self) -> Kept {
        Kept::Nothing
    }

    fn onnx(&self) -> Vec<Operator> {
        let pads = Operand::Integers("pads", vec![0, 0, 1, 1, 0, 0, 1, 1]);
        let triangle = [0.25, 0.5, 0.25];
        let filter: Vec<f64> = (0..9).map(|tap| triangle[tap / 3] * triangle[tap % 3]).collect();
        let weight = Operand::Numbers("filter", vec![self.channels, 1, 3, 3], filter.repeat(self.channels));
        let geometry = Conv2dGeometry::new(3, 3).stride(self.stride).groups(self.channels);
        let blur = Operator::convolution([Operand::Previous, weight], &geometry);
        vec![Operator::new("Pad", [Operand::Input(0), pads]).with("mode", "reflect"), blur]
    }
}

/// In place of the stride of a convolution; a stem's maxima are taken at every pixel, and then blurred.
impl<T: Float> InBranch<T> for BlurPool2d {
    const NAME: &'static str = "aa";
    const POSITION: Position = Position::Stride;

    fn new(block: &BlockConfig, _g: &mut Generator) -> Result<Self> {
        Ok(Self { stride: block.stride, channels: block.width })
    }

    fn stem_pool(channels: usize) -> Option<Box<dyn Module<T>>> {
        let maxima: Box<dyn Module<T>> = Box::new(MaxPool2d(Pool2dGeometry::new(3, 3).stride(1).padding(1)));
        Some(Box::new(Sequential::numbered([maxima, Box::new(Self { stride: 2, channels })])))
    }
}

impl Sample for BlurPool2d {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let shape = draw::shape(g, 1)?;
        Ok((Self { stride: 1 + g.below(3), channels: shape[1] }, shape))
    }
}
