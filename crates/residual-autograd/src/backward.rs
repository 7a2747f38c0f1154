//! Running a tape backwards.

use std::{collections::HashMap, mem, time::Instant};

use residual_tensor::{Float, Tensor};

use crate::{
    AutogradError, Pass, Result, State, Tape, Var, id::Id, operation::arrive, tape::Backward, timing::Span,
};

/// The gradients of the leaves and states that a backward pass reached.
pub struct Gradients<T: Float> {
    tape: Id,
    by_node: HashMap<usize, Tensor<T>>,
    states: HashMap<Id, usize>,
}

impl<T: Float> Gradients<T> {
    /// The gradient with respect to a [leaf](Tape::leaf), or the result of an operation whose gradient is
    /// [retained](Var::retain_gradient).
    ///
    /// `None` for a variable that has none: a [constant](Tape::input), one that does not lead to where the
    /// backward pass began, the result of an operation whose gradient is not retained, and any variable of
    /// another tape.
    pub fn of(&self, leaf: &Var<T>) -> Option<&Tensor<T>> {
        if leaf.tape().0.borrow().id != self.tape {
            return None;
        }
        self.by_node.get(&leaf.node()?)
    }

    /// The gradient with respect to a state of a module. `None` if it is frozen, or was not used on
    /// the way to where the backward pass began.
    pub fn of_state(&self, state: &State<T>) -> Option<&Tensor<T>> {
        self.by_node.get(self.states.get(&state.id())?)
    }
}

impl<T: Float> Var<T> {
    /// The gradients of this scalar with respect to the leaves and states that led to it.
    ///
    /// Frees saved tensors as they are used: a second backward over the same part of the tape
    /// is an error.
    ///
    /// # Errors
    /// [`AutogradError::NotScalar`], [`AutogradError::NoGradient`], [`AutogradError::Spent`].
    pub fn backward(&self) -> Result<Gradients<T>> {
        if self.value().len() != 1 {
            return Err(AutogradError::NotScalar { shape: self.shape().clone() });
        }
        self.backward_with(Tensor::full(self.shape(), T::one()))
    }

    /// The gradients of `Σ self · upstream`.
    ///
    /// # Errors
    /// [`AutogradError::Upstream`] if the shapes differ, [`AutogradError::NoGradient`],
    /// [`AutogradError::Spent`].
    pub fn backward_with(&self, upstream: Tensor<T>) -> Result<Gradients<T>> {
        if upstream.shape() != self.shape() {
            let (upstream, variable) = (upstream.shape().clone(), self.shape().clone());
            return Err(AutogradError::Upstream { upstream, variable });
        }
        let tape = self.tape();
        let end = self.node().filter(|_| self.needs_gradient()).ok_or(AutogradError::NoGradient)?;

        // What has arrived for each node so far. A node is complete when its turn comes, since
        // all its uses stand behind it.
        let mut arrived: Vec<Option<Tensor<T>>> = (0..=end).map(|_| None).collect();
        arrived[end] = Some(upstream);
        let mut by_node = HashMap::new();
        let mut spans = tape.is_timed().then(Vec::new);
        for node in (0..=end).rev() {
            let Some(gradient) = arrived[node].take() else { continue };
            if tape.is_source(node) {
                by_node.insert(node, gradient);
            } else {
                if tape.0.borrow().retained.contains(&node) {
                    by_node.insert(node, gradient.clone());
                }
                tape.step_back(node, gradient, &mut arrived, spans.as_mut())?;
            }
        }
        let (id, states) = {
            let mut tape = tape.0.borrow_mut();
            tape.states.values_mut().for_each(|used| used.value = None);
            (tape.id, tape.states.iter().filter_map(|(&id, used)| Some((id, used.node?))).collect())
        };
        // Only now: who is told may use the tape.
        tape.tell(Pass::Backward, spans.unwrap_or_default());
        Ok(Gradients { tape: id, by_node, states })
    }
}

impl<T: Float> Tape<T> {
    fn is_source(&self, node: usize) -> bool {
        matches!(self.0.borrow().nodes[node].backward, Backward::Source)
    }

    /// Passes the gradient of a node on to its inputs. The tape is not borrowed while the operation
    /// runs: it may come from outside of this crate, and use the tape.
    fn step_back(
        &self,
        node: usize,
        gradient: Tensor<T>,
        arrived: &mut [Option<Tensor<T>>],
        mut spans: Option<&mut Vec<Span>>,
    ) -> Result<()> {
        let (operation, inputs, wanted, path) = {
            let nodes = &mut self.0.borrow_mut().nodes;
            let Backward::Operation(operation) = mem::replace(&mut nodes[node].backward, Backward::Spent)
            else {
                return Err(AutogradError::Spent);
            };
            let inputs = nodes[node].inputs.clone();
            let wanted: Vec<bool> = inputs.iter().map(|&input| nodes[input].needs_gradient).collect();
            (operation, inputs, wanted, nodes[node].path.clone())
        };
        let name = operation.name();
        let mut sums: Vec<_> = inputs.iter().map(|&input| arrived[input].take()).collect();
        let started = spans.is_some().then(Instant::now);
        operation.accumulate(gradient, &wanted, &mut sums).map_err(|error| error.at(&path))?;
        if let (Some(spans), Some(started)) = (&mut spans, started) {
            spans.push(Span::Operation(node, started.elapsed()));
        }
        for (position, ((input, sum), wanted)) in inputs.into_iter().zip(sums).zip(wanted).enumerate() {
            let Some(sum) = sum.filter(|_| wanted) else { continue };
            let shape = self.0.borrow().nodes[input].shape.clone();
            if *sum.shape() != shape {
                let gradient = sum.shape().clone();
                let error =
                    AutogradError::GradientShape { operation: name, input: position, shape, gradient };
                return Err(error.at(&path));
            }
            // An input that was used twice by this operation has two sums.
            let is_second = arrived[input].is_some();
            let started = (is_second && spans.is_some()).then(Instant::now);
            arrive(&mut arrived[input], Some(sum))?;
            if let (Some(spans), Some(started)) = (&mut spans, started) {
                spans.push(Span::Sum(input, started.elapsed()));
            }
        }
        Ok(())
    }
}
