//! Running a tape backwards.

use std::{collections::HashMap, time::Instant};

use residual_tensor::{Float, Tensor};

use crate::{AutogradError, Pass, Result, State, Var, operation::arrive, tape::Backward, timing::Span};

/// The gradients of the leaves and states that a backward pass reached.
pub struct Gradients<T: Float> {
    by_node: HashMap<usize, Tensor<T>>,
    states: HashMap<usize, usize>,
}

impl<T: Float> Gradients<T> {
    /// The gradient with respect to a leaf of the tape.
    pub fn of(&self, leaf: &Var<T>) -> Option<&Tensor<T>> {
        self.by_node.get(&leaf.node()?)
    }

    /// The gradient with respect to a state of a module.
    pub fn of_state(&self, state: &State<T>) -> Option<&Tensor<T>> {
        self.by_node.get(self.states.get(&state.identity())?)
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
        // Nobody is told the times before the end: he might want to use the tape.
        let is_timed = self.tape().is_timed();
        let mut spans: Vec<Span> = Vec::new();
        let mut tape = self.tape().0.borrow_mut();
        let end = self.node().filter(|&node| tape.nodes[node].needs_gradient);
        let end = end.ok_or(AutogradError::NoGradient)?;

        // What has arrived for each node so far. A node is complete when its turn comes, since
        // all its uses stand behind it.
        let mut arrived: Vec<Option<Tensor<T>>> = (0..=end).map(|_| None).collect();
        arrived[end] = Some(upstream);
        let mut by_node = HashMap::new();
        for node in (0..=end).rev() {
            let Some(gradient) = arrived[node].take() else { continue };
            let step = &mut tape.nodes[node];
            if matches!(step.backward, Backward::Source) {
                by_node.insert(node, gradient);
                continue;
            }
            let Backward::Operation(operation) = std::mem::replace(&mut step.backward, Backward::Spent)
            else {
                return Err(AutogradError::Spent);
            };
            let inputs = tape.nodes[node].inputs.clone();
            let wanted: Vec<bool> = inputs.iter().map(|&i| tape.nodes[i].needs_gradient).collect();
            let mut sums: Vec<_> = inputs.iter().map(|&input| arrived[input].take()).collect();
            let started = is_timed.then(Instant::now);
            operation
                .accumulate(gradient, &wanted, &mut sums)
                .map_err(|error| error.at(&tape.nodes[node].path))?;
            spans.extend(started.map(|started| Span::Operation(node, started.elapsed())));
            for ((input, sum), wanted) in inputs.into_iter().zip(sums).zip(wanted) {
                // An input that was used twice by this operation has two sums.
                let is_second = arrived[input].is_some();
                let started = (is_timed && is_second).then(Instant::now);
                arrive(&mut arrived[input], sum.filter(|_| wanted))?;
                spans.extend(started.map(|started| Span::Sum(input, started.elapsed())));
            }
        }
        // Their values are let go of, so that a step can change them in place.
        let states = std::mem::take(&mut tape.states).into_iter();
        let states = states.filter_map(|(identity, (_, node))| Some((identity, node?))).collect();
        drop(tape);
        self.tape().tell(Pass::Backward, spans);
        Ok(Gradients { by_node, states })
    }
}
