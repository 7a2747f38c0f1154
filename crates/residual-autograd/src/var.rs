//! A value on a tape.

use std::{fmt, rc::Rc};

use residual_kernels::batch_norm::Fused;
use residual_tensor::{Float, Shape, Tensor};

use crate::{Operation, Tape, tape::Backward};

/// A tensor that knows how it was computed.
///
/// The operations are methods, each defined next to its backward in `operation/`.
#[derive(Clone)]
pub struct Var<T: Float> {
    tape: Tape<T>,
    value: Tensor<T>,
    /// Its place on the tape; none if the tape does not record.
    node: Option<usize>,
    /// How to compute the value again, if that is cheap: whoever needs it in the backward pass keeps
    /// this instead.
    recipe: Option<Rc<Fused<T>>>,
}

impl<T: Float> Var<T> {
    pub(crate) fn new(tape: Tape<T>, value: Tensor<T>, node: Option<usize>) -> Self {
        Self { tape, value, node, recipe: None }
    }

    /// What it holds.
    pub fn value(&self) -> &Tensor<T> {
        &self.value
    }

    /// The shape of the value.
    pub fn shape(&self) -> &Shape {
        self.value.shape()
    }

    /// The tape that it is on.
    pub fn tape(&self) -> &Tape<T> {
        &self.tape
    }

    /// The same value, which need not be kept for the backward pass.
    pub(crate) fn with_recipe(self, recipe: Rc<Fused<T>>) -> Self {
        Self { recipe: Some(recipe), ..self }
    }

    pub(crate) fn recipe(&self) -> Option<&Rc<Fused<T>>> {
        self.recipe.as_ref()
    }

    pub(crate) fn node(&self) -> Option<usize> {
        self.node
    }

    /// Puts an operation that was run on `inputs` and gave `output` onto the tape.
    ///
    /// This is how operations outside of this crate are added, too. What the operation saved is
    /// dropped at once if no input needs a gradient.
    pub fn record(
        &self,
        operation: impl Operation<T> + 'static,
        inputs: &[&Self],
        output: Tensor<T>,
    ) -> Self {
        let nodes: Vec<usize> = inputs.iter().filter_map(|input| input.node).collect();
        debug_assert!(nodes.is_empty() || nodes.len() == inputs.len(), "inputs of one tape");
        let needs_gradient = {
            let tape = self.tape.0.borrow();
            nodes.iter().any(|&node| tape.nodes[node].needs_gradient)
        };
        let name = operation.name();
        let backward =
            if needs_gradient { Backward::Operation(Box::new(operation)) } else { Backward::Unneeded };
        let node = self.tape.push(name, nodes, output.shape().clone(), needs_gradient, backward);
        Self::new(self.tape.clone(), output, node)
    }
}

impl<T: Float> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Var").field("node", &self.node).field("value", &self.value).finish()
    }
}
