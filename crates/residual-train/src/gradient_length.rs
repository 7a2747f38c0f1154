//! How long the gradients of weights are, from epoch to epoch.

use residual_nn::Module;
use residual_tensor::Float;
use serde::{Deserialize, Serialize};

use crate::GradientSum;

/// The length of a weight's gradient in the last step of an epoch, before clipping: a row of `gradients.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GradientLength {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The weight, by its path in the network.
    pub parameter: String,
    /// The root of the sum of the squares of its gradient's elements.
    pub length: f64,
}

impl GradientLength {
    /// Those of the weights of convolutions and classifiers that have a gradient, in the network's order.
    pub(crate) fn of<T: Float>(net: &dyn Module<T>, gradients: &GradientSum<T>, epoch: u64) -> Vec<Self> {
        let weights = net.parameters().into_iter().filter(|(_, state)| state.shape().rank() > 1);
        weights
            .filter_map(|(parameter, _)| {
                let length = gradients.norm_of(&parameter)?;
                Some(Self { epoch, parameter, length })
            })
            .collect()
    }
}
