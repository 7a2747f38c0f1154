//! First values of weights (He et al. 2015, "Delving Deep into Rectifiers").

use residual_tensor::{Float, Generator, Layout, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// Which side of a weight keeps its variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fan {
    /// Inputs of one output: activations keep their variance forwards. The paper's.
    In,
    /// Outputs of one input: gradients keep theirs backwards. torchvision's.
    Out,
}

/// How weights begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Normal with variance 2 / fan: for layers that a ReLU follows.
    He(Fan),
    /// Uniform in ±1/√fan_in: PyTorch's default for linear layers.
    Uniform,
    /// Unspecified, for weights that are loaded next: takes no time, and no memory until then.
    #[serde(skip)]
    Blank,
}

impl Init {
    /// A tensor of weights `[outputs, inputs, …]`; what follows the first two axes is the window.
    pub fn draw<T: Float>(self, shape: impl Into<Shape>, generator: &mut Generator) -> Tensor<T> {
        let shape = shape.into();
        let window: usize = shape.iter().skip(2).product();
        let fan = |axis: usize| (shape.get(axis).copied().unwrap_or(1) * window).max(1) as f64;
        match self {
            Init::He(Fan::In) => generator.normal_tensor(&shape, (2.0 / fan(1)).sqrt()),
            Init::He(Fan::Out) => generator.normal_tensor(&shape, (2.0 / fan(0)).sqrt()),
            Init::Uniform => {
                let bound = fan(1).sqrt().recip();
                generator.uniform_tensor(&shape, -bound, bound)
            }
            Init::Blank => {
                let layout = if shape.rank() == 4 { Layout::ChannelsLast } else { Layout::Contiguous };
                Tensor::unfilled(shape, layout)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(init: Init, shape: [usize; 4]) -> f64 {
        let weights = init.draw::<f64>(shape, &mut Generator::new(3)).to_vec();
        (weights.iter().map(|w| w * w).sum::<f64>() / weights.len() as f64).sqrt()
    }

    #[test]
    fn variance_is_two_over_the_fan() {
        let shape = [64, 32, 3, 3];
        for (init, fan) in [(Init::He(Fan::In), 32.0 * 9.0), (Init::He(Fan::Out), 64.0 * 9.0)] {
            let expected = (2.0f64 / fan).sqrt();
            assert!((deviation(init, shape) / expected - 1.0).abs() < 0.03);
        }
        // A uniform distribution in ±b has variance b²/3.
        let expected = (1.0f64 / (32.0 * 9.0 * 3.0)).sqrt();
        assert!((deviation(Init::Uniform, shape) / expected - 1.0).abs() < 0.03);
    }
}
