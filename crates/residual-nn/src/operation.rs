//! What an operation is, in one place: its shapes, its cost, how it runs, what may be fused into it, and
//! what it is called in ONNX. Each operation is a struct in `layers/` that implements this trait.

use std::{any::Any, fmt};

use residual_autograd::{Result, State, Tape, Var};
use residual_kernels::KernelError;
use residual_tensor::{Float, Layout, Shape, Tensor};

use crate::{BatchNorm2d, Conv2d, Linear, Mode, onnx::Operator};

/// A piece of a network that is computed in one go: a node of a [`Graph`](crate::Graph).
///
/// As a `dyn Any` it can be asked for its type.
pub trait Operation<T: Float>: Any + fmt::Debug + Send + Sync {
    /// What it is: `conv2d`.
    fn name(&self) -> &'static str;

    /// Its configuration in short: `3×3, stride 2`.
    fn detail(&self) -> String {
        String::new()
    }

    /// The states that it computes with, each with its name below the operation's path, in the order of
    /// PyTorch's `state_dict`.
    fn states(&self) -> Vec<(&'static str, &State<T>)> {
        Vec::new()
    }

    /// The shape of the result, worked out without running.
    ///
    /// # Errors
    /// If the inputs do not fit, with the same words as [`record`](Self::record).
    fn output(&self, inputs: &[&Shape]) -> Result<Shape>;

    /// Multiplications, each with an addition, of convolutions and linear layers; the paper calls these
    /// FLOPs and does not count anything else.
    fn multiply_adds(&self, inputs: &[&Shape]) -> u64 {
        let _ = inputs;
        0
    }

    /// Runs on the tape of its inputs, in the kernels that training uses.
    ///
    /// # Errors
    /// If the inputs do not fit.
    fn record(&self, inputs: &[&Var<T>], mode: Mode) -> Result<Var<T>>;

    /// Runs in evaluation mode, without a tape, into memory that is there already: what a compiled network
    /// calls for an operation that nothing is fused into. Values of rank 4 lie channels-last, the result too.
    ///
    /// # Errors
    /// If the inputs do not fit.
    fn compute(&self, inputs: &[Value<'_, T>], y: &mut [T]) -> Result<()> {
        compute_on_tape(inputs, y, |inputs| self.record(inputs, Mode::Eval))
    }

    /// What a training step keeps for the backward pass, besides states.
    fn keeps(&self) -> Kept {
        Kept::Inputs
    }

    /// Whether it gives what it is given, unless something is learnt:
    /// [`Graph::in_evaluation`](crate::Graph::in_evaluation) leaves it out.
    fn is_identity_in_evaluation(&self) -> bool {
        false
    }

    /// What [fusion](crate::fusion) may do with it.
    fn pattern(&self) -> Pattern<'_, T> {
        Pattern::Other
    }

    /// The operators that it comes to in ONNX (in evaluation mode), each reading the one before.
    fn onnx(&self) -> Vec<Operator>;
}

/// What an operation's backward pass needs of its forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Its inputs.
    Inputs,
    /// Its result.
    Output,
    /// Where each element of the result came from, in four bytes.
    Positions,
    /// No more than shapes.
    Nothing,
}

/// The kinds of operation that run together with their neighbours.
#[derive(Debug)]
pub enum Pattern<'a, T: Float> {
    /// Takes up a normalization, an addition and a ReLU behind it.
    Conv2d(&'a Conv2d<T>),
    /// Takes up an addition and a ReLU behind it.
    Linear(&'a Linear<T>),
    /// Is taken up by a convolution before it; takes up a ReLU behind it.
    BatchNorm2d(&'a BatchNorm2d<T>),
    /// The sum of two values. Is taken up by what computes one of them; takes up a ReLU behind it.
    Add,
    /// Is taken up by whatever computes its input in registers.
    Relu,
    /// Runs alone.
    Other,
}

/// A value as a compiled network has it: elements, channels-last if there are four axes, and their shape.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a, T: Float> {
    /// The elements.
    pub elements: &'a [T],
    /// Their shape.
    pub shape: &'a Shape,
}

impl<T: Float> Value<'_, T> {
    /// A copy as a tensor.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn to_tensor(&self) -> Result<Tensor<T>> {
        let mut tensor = Tensor::try_unfilled(self.shape, layout(self.shape))?;
        tensor.as_mut_slice().copy_from_slice(self.elements);
        Ok(tensor)
    }
}

/// What [`Operation::compute`] does without kernels of its own: it copies inputs and result.
pub(crate) fn compute_on_tape<T: Float>(
    inputs: &[Value<'_, T>],
    y: &mut [T],
    record: impl FnOnce(&[&Var<T>]) -> Result<Var<T>>,
) -> Result<()> {
    let tape = Tape::without_recording();
    let inputs = inputs.iter().map(|input| Ok(tape.input(input.to_tensor()?)));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let inputs: Vec<&Var<T>> = inputs.iter().collect();
    let result = record(&inputs)?;
    y.copy_from_slice(result.value().to_layout(layout(result.shape())).as_slice());
    Ok(())
}

fn layout(shape: &Shape) -> Layout {
    if shape.rank() == 4 { Layout::ChannelsLast } else { Layout::Contiguous }
}

/// The only input of an operation.
pub(crate) fn only<'a, V: ?Sized>(inputs: &[&'a V]) -> &'a V {
    inputs[0]
}

/// An error unless axis 1 of `x` is as long as a state of one value per channel.
pub(crate) fn check_channels(name: &'static str, x: &Shape, channels: &Shape) -> Result<()> {
    let [_, c, _, _] = x.dims(name)?;
    if [c] == **channels {
        return Ok(());
    }
    let rule = "axis 1 of x must be as long as weight";
    Err(KernelError::mismatch(name, ("x", x), ("weight", channels), rule))?
}
