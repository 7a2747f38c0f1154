//! What every layer, block and network can do.

use residual_autograd::{Result, Role, State, Var};
use residual_tensor::{Float, Shape};
use serde::{Deserialize, Serialize};

use crate::{GraphBuilder, NodeId, Trace};

/// Whether a forward pass learns or only uses what was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Batch normalization uses the batch's statistics, and updates the running ones; where it is
    /// [frozen](State::set_frozen), as in [`Eval`](Self::Eval).
    Train,
    /// Batch normalization uses the running statistics.
    Eval,
}

/// A layer, block or network.
pub trait Module<T: Float>: Send + Sync {
    /// Runs the module.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the layer that refused it.
    fn forward(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>>;

    /// The shape of the output, worked out without running; each layer is noted in `trace`.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the layer that would refuse it.
    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape>;

    /// Adds the operations that [`forward`](Self::forward) applies to `x` in [`Mode::Eval`] to
    /// the graph, and returns the node of the result.
    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId;

    /// Shows every state to the visitor, by name. A module without states has nothing to do.
    fn visit(&self, visitor: &mut Visitor<'_, T>) {
        let _ = visitor;
    }

    /// [`forward`](Self::forward) as the child `name` of the calling module.
    ///
    /// # Errors
    /// As in [`forward`](Self::forward).
    fn call(&self, name: &str, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        x.tape().scope(name, || self.forward(x, mode))
    }

    /// Every state with its path, in the order of PyTorch's `state_dict`.
    fn states(&self) -> Vec<(String, State<T>)> {
        let mut states = Vec::new();
        self.visit(&mut Visitor {
            path: String::new(),
            found: &mut |path, state| states.push((path.to_owned(), state.clone())),
        });
        states
    }

    /// Every parameter, frozen or not, with its path.
    fn parameters(&self) -> Vec<(String, State<T>)> {
        self.states().into_iter().filter(|(_, state)| state.role() == Role::Parameter).collect()
    }

    /// The number of trainable numbers.
    fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, state)| state.shape().elements()).sum()
    }
}

/// [`Module::call`], of which only the input is kept if the tape
/// [asks for that](residual_autograd::Tape::checkpointing): of a network of n blocks that leaves n
/// inputs and the inside of one block, and costs one more forward pass. The results are the same, bit
/// for bit.
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
    let parameters = module.parameters().into_iter().map(|(_, state)| state).collect();
    let module = module.clone(); // which has the same states
    x.tape().scope(name, || x.checkpoint(parameters, move |x| module.forward(x, mode)))
}

/// Walks over a module and its children, keeping the path.
pub struct Visitor<'a, T: Float> {
    path: String,
    found: &'a mut dyn FnMut(&str, &State<T>),
}

impl<T: Float> Visitor<'_, T> {
    /// Shows a state of the module that is visited now.
    pub fn state(&mut self, name: &str, state: &State<T>) {
        let path = join(&self.path, name);
        (self.found)(&path, state);
    }

    /// Visits a child of the module that is visited now.
    pub fn child(&mut self, name: &str, module: &dyn Module<T>) {
        let path = join(&self.path, name);
        module.visit(&mut Visitor { path, found: self.found });
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
