//! A value on a tape.

use std::{cell::OnceCell, fmt, rc::Rc};

use residual_kernels::batch_norm::Fused;
use residual_tensor::{Float, Shape, Tensor};

use crate::{Operation, Tape, tape::Backward};

/// A tensor that knows how it was computed.
///
/// The operations are methods, each defined next to its backward in `operation/`.
#[derive(Clone)]
pub struct Var<T: Float> {
    tape: Tape<T>,
    value: Value<T>,
    /// Its place on the tape; none if the tape does not record.
    node: Option<usize>,
}

/// What a [`Var`] holds.
#[derive(Clone)]
enum Value<T: Float> {
    Tensor(Tensor<T>),
    /// What a normalization gives, computed when somebody asks for it. A convolution does not: it
    /// normalizes its input on the way, and once more in the backward pass.
    Deferred(Rc<Deferred<T>>),
}

struct Deferred<T: Float> {
    recipe: Rc<Fused<T>>,
    value: OnceCell<Tensor<T>>,
}

impl<T: Float> Var<T> {
    pub(crate) fn new(tape: Tape<T>, value: Tensor<T>, node: Option<usize>) -> Self {
        Self { tape, value: Value::Tensor(value), node }
    }

    /// What it holds.
    pub fn value(&self) -> &Tensor<T> {
        match &self.value {
            Value::Tensor(value) => value,
            Value::Deferred(deferred) => deferred.value.get_or_init(|| {
                deferred.recipe.forward().expect("shapes that were found to fit when it was recorded")
            }),
        }
    }

    /// How to compute the value, if it is cheap to compute and need not be kept.
    pub(crate) fn recipe(&self) -> Option<&Rc<Fused<T>>> {
        match &self.value {
            Value::Tensor(_) => None,
            Value::Deferred(deferred) => Some(&deferred.recipe),
        }
    }

    /// The shape of the value.
    pub fn shape(&self) -> &Shape {
        match &self.value {
            Value::Tensor(value) => value.shape(),
            Value::Deferred(deferred) => deferred.recipe.x.shape(),
        }
    }

    /// The tape that it is on.
    pub fn tape(&self) -> &Tape<T> {
        &self.tape
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
        let node = self.push(operation, inputs, output.shape());
        Self::new(self.tape.clone(), output, node)
    }

    /// [`record`](Self::record) for an output that is computed by `recipe` if it is asked for.
    pub(crate) fn record_deferred(
        &self,
        operation: impl Operation<T> + 'static,
        inputs: &[&Self],
        recipe: Rc<Fused<T>>,
    ) -> Self {
        let node = self.push(operation, inputs, recipe.x.shape());
        let value = Value::Deferred(Rc::new(Deferred { recipe, value: OnceCell::new() }));
        Self { tape: self.tape.clone(), value, node }
    }

    fn push(
        &self,
        operation: impl Operation<T> + 'static,
        inputs: &[&Self],
        output: &Shape,
    ) -> Option<usize> {
        let nodes: Vec<usize> = inputs.iter().filter_map(|input| input.node).collect();
        debug_assert!(nodes.is_empty() || nodes.len() == inputs.len(), "inputs of one tape");
        let needs_gradient = {
            let tape = self.tape.0.borrow();
            nodes.iter().any(|&node| tape.nodes[node].needs_gradient)
        };
        let name = operation.name();
        let backward =
            if needs_gradient { Backward::Operation(Box::new(operation)) } else { Backward::Unneeded };
        self.tape.push(name, nodes, output.clone(), needs_gradient, backward)
    }
}

impl<T: Float> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Var").field("node", &self.node).field("value", self.value()).finish()
    }
}
