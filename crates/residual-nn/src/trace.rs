//! A record of the layers that a shape went through.

use residual_autograd::Result;
use residual_tensor::{Float, Shape};
use serde::Serialize;

use crate::{Module, module::join};

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
    /// Trainable numbers of its own, not of its children.
    pub parameters: usize,
    /// Multiplications, each with an addition, of convolutions and linear layers; the paper
    /// calls these FLOPs and does not count anything else.
    pub multiply_adds: u64,
}

/// Collects [`Layer`]s during [`Module::propagate`].
#[derive(Debug, Default)]
pub struct Trace {
    path: String,
    layers: Vec<Layer>,
}

impl Trace {
    /// An empty trace.
    pub fn new() -> Self {
        Self::default()
    }

    /// The layers so far, in order of execution. A block stands behind its layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layers, owned.
    pub fn into_layers(self) -> Vec<Layer> {
        self.layers
    }

    /// The sum over all layers.
    pub fn multiply_adds(&self) -> u64 {
        self.layers.iter().map(|layer| layer.multiply_adds).sum()
    }

    /// Propagates `input` through a child of the module that is traced now.
    ///
    /// # Errors
    /// What the child reports, with its path.
    pub fn child<T: Float>(&mut self, name: &str, module: &dyn Module<T>, input: &Shape) -> Result<Shape> {
        self.scope(name, |trace| module.propagate(input, trace))
    }

    /// Runs `f` with `name` added to the path, for modules that are no type of their own.
    ///
    /// # Errors
    /// What `f` reports, with the path.
    pub fn scope(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Result<Shape>) -> Result<Shape> {
        let outer = self.path.clone();
        self.path = join(&outer, name);
        let result = f(self).map_err(|error| error.at(&self.path));
        self.path = outer;
        result
    }

    /// Notes the layer that is traced now, and gives its output shape back.
    pub fn layer(
        &mut self,
        kind: &'static str,
        detail: impl Into<String>,
        [input, output]: [&Shape; 2],
        parameters: usize,
        multiply_adds: u64,
    ) -> Shape {
        self.layers.push(Layer {
            path: self.path.clone(),
            kind,
            detail: detail.into(),
            input: input.clone(),
            output: output.clone(),
            parameters,
            multiply_adds,
        });
        output.clone()
    }
}
