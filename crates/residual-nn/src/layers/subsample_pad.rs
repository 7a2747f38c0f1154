//! The parameter-free shortcut where the shape changes (He et al. 2015, option A).

use residual_autograd::{Result, Var};
use residual_kernels::{KernelError, subsample_pad};
use residual_tensor::{Float, Generator, Shape};

use crate::{
    Kept, Mode, Operation, Value,
    onnx::{Operand, Operator},
    operation::only,
    registry::{Sample, draw},
};

/// Every `stride`-th pixel, with zero channels before and after (one more after, if their number is odd).
#[derive(Debug, Clone, Copy)]
pub struct SubsamplePad {
    /// Every how many pixels one is taken.
    pub stride: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output, at least as many.
    pub out_channels: usize,
}

impl<T: Float> Operation<T> for SubsamplePad {
    fn name(&self) -> &'static str {
        "subsample_pad"
    }

    fn detail(&self) -> String {
        format!("stride {}", self.stride)
    }

    /// # Shapes
    /// `[n, in_channels, h, w]` to `[n, out_channels, ⌈h / stride⌉, ⌈w / stride⌉]`.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only(inputs);
        let [n, c, h, w] = input.dims("subsample_pad")?;
        if self.stride == 0 || c != self.in_channels || c > self.out_channels {
            let wanted = Shape::new([n, self.in_channels, h, w])?;
            let rule = "the input has other channels, fewer come out, or the stride is 0";
            return Err(KernelError::mismatch("subsample_pad", ("x", input), ("expected", &wanted), rule))?;
        }
        Ok(Shape::new([n, self.out_channels, h.div_ceil(self.stride), w.div_ceil(self.stride)])?)
    }

    fn record(&self, inputs: &[&Var<T>], _mode: Mode) -> Result<Var<T>> {
        Operation::<T>::output(self, &[only(inputs).shape()])?;
        only(inputs).subsample_pad(self.stride, self.out_channels)
    }

    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        let shape = inputs[0].shape.dims("subsample_pad")?;
        Ok(subsample_pad::forward_into(inputs[0].elements, y, shape, self.stride, self.out_channels)?)
    }

    fn keeps(&self) -> Kept {
        Kept::Nothing
    }

    fn onnx(&self) -> Vec<Operator> {
        let stride = self.stride as i64;
        let pixels = Operator::new(
            "Slice",
            [
                Operand::Input(0),
                Operand::Integers("starts", vec![0, 0]),
                Operand::Integers("ends", vec![i64::MAX; 2]),
                Operand::Integers("axes", vec![2, 3]),
                Operand::Integers("steps", vec![stride; 2]),
            ],
        );
        let missing = (self.out_channels - self.in_channels) as i64;
        let (before, after) = (missing / 2, missing - missing / 2);
        let pads = Operand::Integers("pads", vec![0, before, 0, 0, 0, after, 0, 0]);
        vec![pixels, Operator::new("Pad", [Operand::Previous, pads])]
    }
}

impl Sample for SubsamplePad {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let shape = draw::shape(g, 1)?;
        let layer =
            Self { stride: 1 + g.below(3), in_channels: shape[1], out_channels: shape[1] + g.below(4) };
        Ok((layer, shape))
    }
}
