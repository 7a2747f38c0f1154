//! What a network costs: parameters, multiply-adds, memory. Nothing is run for it.

use residual_nn::{Layer, Module, Trace};
use residual_tensor::{Float, IntoShape, Shape};
use serde::Serialize;

use crate::{ResNet, Result};

/// The cost of a network for one input shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The network's name.
    pub model: String,
    /// Shape of the input, batch first.
    pub input: Shape,
    /// Trainable numbers.
    pub parameters: usize,
    /// Multiply-adds of convolutions and the linear layer, for the whole batch. The paper calls
    /// them FLOPs.
    pub multiply_adds: u64,
    /// Bytes of all layers' outputs: what a training step has to keep.
    pub activation_bytes: usize,
    /// The layers in order of execution.
    pub layers: Vec<Layer>,
}

impl Summary {
    /// Works out the cost of `net` for inputs of shape `[n, c, h, w]`.
    ///
    /// # Errors
    /// If the input does not fit, naming the layer that would refuse it.
    pub fn of<T: Float>(net: &ResNet<T>, input: impl IntoShape) -> Result<Self> {
        let input = input.into_shape().map_err(residual_nn::Error::from)?;
        let mut trace = Trace::new();
        net.propagate(&input, &mut trace)?;
        let layers = trace.into_layers();
        Ok(Self {
            model: net.config().name.clone(),
            parameters: net.parameter_count(),
            multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
            activation_bytes: layers.iter().map(|layer| layer.output.elements()).sum::<usize>()
                * size_of::<T>(),
            input,
            layers,
        })
    }
}
