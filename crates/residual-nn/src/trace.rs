//! What an input's shape becomes on its way through a network, and what each layer costs.

use residual_autograd::Result;
use residual_tensor::{Float, Shape};
use serde::Serialize;

use crate::{Graph, graph::Scope};

/// One layer, as shape propagation saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Where it is in the network: `layer1.0.conv2`.
    pub path: String,
    /// What it is: `conv2d`, `batch_norm`, …
    pub kind: &'static str,
    /// Its configuration in short: `3×3, stride 2`.
    pub detail: String,
    /// Shape of the input.
    pub input: Shape,
    /// Shape of the output.
    pub output: Shape,
    /// Elements of its own parameters, not of its children's.
    pub parameters: usize,
    /// Multiplications, each with an addition, of convolutions and linear layers; the paper
    /// calls these FLOPs and does not count anything else.
    pub multiply_adds: u64,
}

/// What [`Graph::trace`] worked out.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The shape of each node's result.
    pub shapes: Vec<Shape>,
    /// The layers in order of execution. A block stands behind its layers.
    pub layers: Vec<Layer>,
    /// Multiply-adds of all operations.
    pub multiply_adds: u64,
    output: usize,
}

impl Trace {
    /// The shape of the network's result.
    pub fn output(&self) -> &Shape {
        &self.shapes[self.output]
    }
}

impl<T: Float> Graph<T> {
    /// The shapes that an input of this shape leads to, worked out without running, and what each layer
    /// costs.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the layer that would refuse it.
    pub fn trace(&self, input: &Shape) -> Result<Trace> {
        let mut trace =
            Trace { shapes: Vec::new(), layers: Vec::new(), multiply_adds: 0, output: self.output().index() };
        let mut scopes = self.scopes().iter().filter(|scope| !scope.kind.is_empty()).peekable();
        for (index, node) in self.nodes().iter().enumerate() {
            let Some(operation) = &node.operation else {
                trace.shapes.push(input.clone());
                continue;
            };
            let inputs: Vec<&Shape> = node.inputs.iter().map(|input| &trace.shapes[input.index()]).collect();
            let output = operation.output(&inputs).map_err(|error| error.at(&node.path))?;
            let multiply_adds = operation.multiply_adds(&inputs);
            let states = operation.states();
            let layer = (node.is_layer || !states.is_empty()).then(|| Layer {
                path: node.path.clone(),
                kind: operation.name(),
                detail: operation.detail(),
                input: inputs[0].clone(),
                output: output.clone(),
                parameters: parameters(&states),
                multiply_adds,
            });
            trace.multiply_adds = trace.multiply_adds.saturating_add(multiply_adds);
            trace.layers.extend(layer);
            trace.shapes.push(output);
            while let Some(scope) = scopes.next_if(|scope| scope.nodes.end == index + 1) {
                trace.layers.push(block(scope, &trace.shapes));
            }
        }
        Ok(trace)
    }
}

fn parameters<T: Float>(states: &[(&str, &residual_autograd::State<T>)]) -> usize {
    let parameters = states.iter().filter(|(_, state)| state.role() == residual_autograd::Role::Parameter);
    parameters.map(|(_, state)| state.shape().elements()).sum()
}

/// A module that is listed behind its layers, with nothing of its own.
fn block(scope: &Scope, shapes: &[Shape]) -> Layer {
    Layer {
        path: scope.path.clone(),
        kind: scope.kind,
        detail: String::new(),
        input: shapes[scope.input.index()].clone(),
        output: shapes[scope.output.index()].clone(),
        parameters: 0,
        multiply_adds: 0,
    }
}
