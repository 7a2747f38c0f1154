//! A value on a tape.

use std::{cell::OnceCell, fmt, rc::Rc};

use residual_kernels::fused::Fused;
use residual_tensor::{Float, Shape, Tensor};

use crate::{
    AutogradError, Operation, Result, Tape,
    operation::{BuiltIn, Own},
    tape::Backward,
};

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

    /// Whether [`backward`](Self::backward) passes through here: a leaf or a trained state leads to
    /// this variable, and the tape records.
    pub fn needs_gradient(&self) -> bool {
        self.node.is_some_and(|node| self.tape.0.borrow().nodes[node].needs_gradient)
    }

    /// Keeps the gradient with respect to this variable, although it is the result of an operation, so that
    /// [`Gradients::of`](crate::Gradients::of) has it: PyTorch's `retain_grad`. Does nothing on a tape that
    /// does not record.
    ///
    /// What a checkpointed block computes inside runs on a tape of its own; only its result can be retained.
    pub fn retain_gradient(&self) {
        if let Some(node) = self.node {
            self.tape.0.borrow_mut().retained.insert(node);
        }
    }

    /// Puts an operation that was run on `inputs` and gave `output` onto this variable's tape, and
    /// returns the output as a variable.
    ///
    /// This is how operations outside of this crate are added, too. What the operation saved is
    /// dropped at once if no input needs a gradient.
    ///
    /// # Errors
    /// [`AutogradError::MixedTapes`] if an input is on another tape.
    pub fn record(
        &self,
        operation: impl Operation<T> + 'static,
        inputs: &[&Self],
        output: Tensor<T>,
    ) -> Result<Self> {
        let node = self.push(operation, inputs, output.shape())?;
        Ok(Self::new(self.tape.clone(), output, node))
    }

    /// [`record`](Self::record) for an operation of this crate.
    pub(crate) fn record_own(
        &self,
        operation: impl BuiltIn<T> + 'static,
        inputs: &[&Self],
        output: Tensor<T>,
    ) -> Result<Self> {
        self.record(Own(operation), inputs, output)
    }

    /// [`record_own`](Self::record_own) for an output that is computed by `recipe` if it is asked for.
    pub(crate) fn record_deferred(
        &self,
        operation: impl BuiltIn<T> + 'static,
        inputs: &[&Self],
        recipe: Rc<Fused<T>>,
    ) -> Result<Self> {
        let node = self.push(Own(operation), inputs, recipe.x.shape())?;
        let value = Value::Deferred(Rc::new(Deferred { recipe, value: OnceCell::new() }));
        Ok(Self { tape: self.tape.clone(), value, node })
    }

    fn push(
        &self,
        operation: impl Operation<T> + 'static,
        inputs: &[&Self],
        output: &Shape,
    ) -> Result<Option<usize>> {
        let name = operation.name();
        if inputs.iter().any(|input| !input.tape.is_same(&self.tape)) {
            return Err(AutogradError::MixedTapes { operation: name });
        }
        // On a tape that records, every variable has a node, and on one that does not, none has.
        let Some(nodes) = inputs.iter().map(|input| input.node).collect::<Option<Vec<usize>>>() else {
            return Ok(None);
        };
        let needs_gradient = inputs.iter().any(|input| input.needs_gradient());
        let backward =
            if needs_gradient { Backward::Operation(Box::new(operation)) } else { Backward::Unneeded };
        Ok(self.tape.push(name, nodes, output.clone(), needs_gradient, backward))
    }
}

impl<T: Float> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Var").field("node", &self.node).field("value", self.value()).finish()
    }
}
