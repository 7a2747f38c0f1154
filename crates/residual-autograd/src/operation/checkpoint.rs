//! Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): what a
//! piece of a network computes is not kept, but computed again when its gradient is asked for.

use std::collections::HashSet;

use residual_kernels::Conv2dGeometry;
use residual_tensor::{Float, Generator, Tensor};

use super::BuiltIn;
use crate::{AutogradError, Draw, Result, Sample, State, Tape, Var};

/// A piece of a network.
type Piece<T> = Box<dyn Fn(&Var<T>) -> Result<Var<T>>>;

pub(crate) struct Checkpoint<T: Float> {
    input: Tensor<T>,
    /// With the values that they have on the tape, which need not be their own.
    parameters: Vec<(State<T>, Tensor<T>)>,
    piece: Piece<T>,
    /// What the piece draws random numbers from, both times.
    generator: Option<Generator>,
}

impl<T: Float> Var<T> {
    /// `piece(self)`, of which only the input is kept. `parameters` are the states that it uses and
    /// that want a gradient.
    ///
    /// The piece runs a second time in the backward pass, on a [replay](Tape::replay) tape; it has to
    /// compute the same again. It computes from the variable that it is given and from states of
    /// that variable's tape, not from variables around it.
    ///
    /// # Errors
    /// What the piece reports; [`AutogradError::MixedTapes`] if it returns a variable of another tape.
    pub fn checkpoint(
        &self,
        mut parameters: Vec<State<T>>,
        piece: impl Fn(&Self) -> Result<Self> + 'static,
    ) -> Result<Self> {
        // A state that is used twice has one gradient.
        let mut seen = HashSet::new();
        parameters.retain(|state| seen.insert(state.id()));
        let vars: Vec<Self> = parameters.iter().map(|state| self.tape().state(state)).collect();
        let values = vars.iter().map(|var| var.value().clone());
        let operation = Checkpoint {
            input: self.value().clone(),
            parameters: parameters.into_iter().zip(values).collect(),
            piece: Box::new(piece),
            generator: self.tape().whole_generator(),
        };
        let (_, output) = operation.run(Tape::without_recording(), &[])?;
        let inputs: Vec<&Self> = std::iter::once(self).chain(&vars).collect();
        self.record_own(operation, &inputs, output.value().clone())
    }
}

impl<T: Float> Checkpoint<T> {
    /// Runs the piece on `tape`, on which the `wanted` ones of input and parameters are leaves.
    /// Returns its input and its output.
    fn run(&self, tape: Tape<T>, wanted: &[bool]) -> Result<(Var<T>, Var<T>)> {
        let tape = match &self.generator {
            Some(generator) => tape.with_generator(generator.clone()),
            None => tape,
        };
        let source = |number: usize, value: &Tensor<T>| match wanted.get(number) {
            Some(true) => tape.leaf(value.clone()),
            _ => tape.input(value.clone()),
        };
        for (number, (state, value)) in self.parameters.iter().enumerate() {
            tape.substitute(state, &source(number + 1, value))?;
        }
        let input = source(0, &self.input);
        let output = (self.piece)(&input)?;
        if !output.tape().is_same(&tape) {
            return Err(AutogradError::MixedTapes { operation: Self::NAME });
        }
        Ok((input, output))
    }
}

impl<T: Float> BuiltIn<T> for Checkpoint<T> {
    const NAME: &'static str = "checkpoint";

    /// Forward again, this time recorded, and back.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let (input, output) = self.run(Tape::replay(), wanted)?;
        if !output.needs_gradient() {
            return Ok(vec![None; wanted.len()]); // a constant
        }
        let gradients = output.backward_with(upstream)?;
        let of_parameters = self.parameters.iter().map(|(state, _)| gradients.of_state(state).cloned());
        Ok(std::iter::once(gradients.of(&input).cloned()).chain(of_parameters).collect())
    }

    /// A residual branch of one convolution.
    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape4();
        let inputs = vec![draw.normal(shape), draw.normal([shape[1], shape[1], 3, 3])];
        Sample::new(format!("{shape:?}"), inputs, |x| {
            let weight = State::parameter(x[1].value().clone());
            x[0].tape().substitute(&weight, &x[1])?;
            x[0].checkpoint(vec![weight.clone()], move |x| {
                x.conv2d(&x.tape().state(&weight), &Conv2dGeometry::new(3, 3).padding(1))?.add(x)
            })
        })
    }
}
