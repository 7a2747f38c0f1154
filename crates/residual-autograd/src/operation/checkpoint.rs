//! Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): what a
//! piece of a network computes is not kept, but computed again when its gradient is asked for.

use residual_kernels::Conv2dGeometry;
use residual_tensor::{Float, Tensor};

use crate::{Operation, Result, Sample, State, Tape, Var};

/// A piece of a network.
type Piece<T> = Box<dyn Fn(&Var<T>) -> Result<Var<T>>>;

struct Checkpoint<T: Float> {
    input: Tensor<T>,
    parameters: Vec<State<T>>,
    piece: Piece<T>,
}

impl<T: Float> Var<T> {
    /// `piece(self)`, of which only the input is kept. `parameters` are the states that it uses and
    /// that want a gradient.
    ///
    /// The piece runs a second time in the backward pass, on a [replay](Tape::replay) tape; it has to
    /// compute the same again.
    ///
    /// # Errors
    /// What the piece reports.
    pub fn checkpoint(
        &self,
        parameters: Vec<State<T>>,
        piece: impl Fn(&Self) -> Result<Self> + 'static,
    ) -> Result<Self> {
        let input = self.value().clone();
        let output = piece(&Tape::without_recording().input(input.clone()))?.value().clone();
        let vars: Vec<Self> = parameters.iter().map(|state| self.tape().state(state)).collect();
        let inputs: Vec<&Self> = std::iter::once(self).chain(&vars).collect();
        Ok(self.record(Checkpoint { input, parameters, piece: Box::new(piece) }, &inputs, output))
    }
}

impl<T: Float> Operation<T> for Checkpoint<T> {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    /// Forward again, this time recorded, and back.
    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let Self { input, parameters, piece } = *self;
        let tape = Tape::replay();
        let x = if wanted[0] { tape.leaf(input) } else { tape.input(input) };
        let gradients = piece(&x)?.backward_with(upstream)?;
        let of_parameters = parameters.iter().map(|state| gradients.of_state(state).cloned());
        Ok(std::iter::once(gradients.of(&x).cloned()).chain(of_parameters).collect())
    }
}

/// A residual branch of one convolution.
pub(crate) fn sample(draw: &mut crate::registry::Draw) -> Sample {
    let shape = draw.shape4();
    let inputs = vec![draw.normal(shape), draw.normal([shape[1], shape[1], 3, 3])];
    Sample::new(format!("{shape:?}"), inputs, |x| {
        let weight = State::parameter(x[1].value().clone());
        x[0].tape().substitute(&weight, &x[1]);
        x[0].checkpoint(vec![weight.clone()], move |x| {
            x.conv2d(&x.tape().state(&weight), &Conv2dGeometry::new(3, 3).padding(1))?.add(x)
        })
    })
}
