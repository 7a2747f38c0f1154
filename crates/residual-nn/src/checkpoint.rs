//! Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): a
//! module keeps its input only, and runs again when its gradient is asked for.
//!
//! Of a network of n blocks that leaves n inputs and the inside of one block, instead of
//! everything; a step costs one more forward pass. The results are the same, bit for bit.

use residual_autograd::{Operation, Result, State, Tape, Var};
use residual_tensor::{Float, Tensor};

use crate::{Mode, Module};

/// [`Module::call`], keeping only the input if the tape [asks for that](Tape::checkpointing).
/// Clones of the module share its states.
///
/// # Errors
/// As [`Module::call`].
pub fn call_checkpointed<T: Float, M: Module<T> + Clone + 'static>(
    module: &M,
    name: &str,
    x: &Var<T>,
    mode: Mode,
) -> Result<Var<T>> {
    if !x.tape().is_checkpointing() {
        return module.call(name, x, mode);
    }
    x.tape().scope(name, || {
        let input = x.value().clone();
        let aside = Tape::without_recording();
        let output = module.forward(&aside.input(input.clone()), mode)?.value().clone();
        let parameters: Vec<State<T>> = module.parameters().into_iter().map(|(_, state)| state).collect();
        let vars: Vec<Var<T>> = parameters.iter().map(|state| x.tape().state(state)).collect();
        let inputs: Vec<&Var<T>> = std::iter::once(x).chain(&vars).collect();
        Ok(x.record(Again { module: module.clone(), mode, input, parameters }, &inputs, output))
    })
}

/// What is recorded: run it again.
struct Again<T: Float, M> {
    module: M,
    mode: Mode,
    input: Tensor<T>,
    parameters: Vec<State<T>>,
}

impl<T: Float, M: Module<T> + 'static> Operation<T> for Again<T, M> {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn backward(self: Box<Self>, upstream: Tensor<T>, wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let Self { module, mode, input, parameters } = *self;
        let tape = Tape::replay();
        let x = if wanted[0] { tape.leaf(input) } else { tape.input(input) };
        let gradients = module.forward(&x, mode)?.backward_with(upstream)?;
        let of_parameters = parameters.iter().map(|state| gradients.of_state(state).cloned());
        Ok(std::iter::once(gradients.of(&x).cloned()).chain(of_parameters).collect())
    }
}
