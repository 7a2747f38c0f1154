//! First values of weights (He et al. 2015, "Delving Deep into Rectifiers").

use residual_autograd::Result;
use residual_tensor::{Float, Generator, IntoShape, Layout, Tensor};
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
    /// The first output channels repeat the input channels (a 1 in the middle of the window), the others
    /// are [`Uniform`](Self::Uniform): information reaches the end of a network that has just begun
    /// (Zagoruyko & Komodakis 2017, "DiracNets"; partial as in Jordan 2024).
    Dirac,
    /// Normal with a deviation of 0.02: that of transformers and ConvNeXts.
    Narrow,
    /// Unspecified, for weights that are loaded next: takes no time, and no memory until then.
    #[serde(skip)]
    Blank,
}

impl Default for Init {
    /// torchvision's.
    fn default() -> Self {
        Self::He(Fan::Out)
    }
}

impl Init {
    /// A tensor of weights `[outputs, inputs, …]`; what follows the first two axes is the window.
    ///
    /// # Errors
    /// If there cannot be a tensor so large.
    pub fn draw<T: Float>(self, shape: impl IntoShape, generator: &mut Generator) -> Result<Tensor<T>> {
        let shape = shape.into_shape()?;
        let window: usize = shape.iter().skip(2).product();
        let fan = |axis: usize| (shape.get(axis).copied().unwrap_or(1) * window).max(1) as f64;
        let mut normal =
            |deviation: f64| Tensor::try_from_fn(&shape, || T::of(deviation * generator.normal()));
        Ok(match self {
            Init::He(Fan::In) => normal((2.0 / fan(1)).sqrt())?,
            Init::He(Fan::Out) => normal((2.0 / fan(0)).sqrt())?,
            Init::Narrow => normal(0.02)?,
            Init::Dirac => {
                let mut weights = Init::Uniform.draw::<T>(&shape, generator)?;
                let repeated = shape.first().min(shape.get(1)).copied().unwrap_or(0);
                let inputs = weights.len() / shape.first().copied().unwrap_or(1).max(1);
                let values = weights.as_mut_slice();
                values[..repeated * inputs].fill(T::zero());
                for channel in 0..repeated {
                    values[channel * inputs + channel * window + middle(&shape[2..])] = T::one();
                }
                weights
            }
            Init::Uniform => {
                let bound = fan(1).sqrt().recip();
                Tensor::try_from_fn(&shape, || T::of(generator.between(-bound, bound)))?
            }
            Init::Blank => {
                let layout = if shape.rank() == 4 { Layout::ChannelsLast } else { Layout::Contiguous };
                Tensor::try_unfilled(shape, layout)?
            }
        })
    }
}

/// The place of the middle of a window, counted in its elements.
fn middle(window: &[usize]) -> usize {
    window.iter().fold(0, |place, &length| place * length + length / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(init: Init, shape: [usize; 4]) -> f64 {
        let weights = init.draw::<f64>(shape, &mut Generator::new(3)).unwrap().to_vec();
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

    #[test]
    fn dirac_repeats_what_comes_in() {
        let weights = Init::Dirac.draw::<f64>([5, 3, 3, 3], &mut Generator::new(3)).unwrap().to_vec();
        // torch.nn.init.dirac_(w[:3])
        for (i, &weight) in weights.iter().enumerate().take(3 * 27) {
            let (output, input, place) = (i / 27, i / 9 % 3, i % 9);
            assert_eq!(weight, f64::from(output == input && place == 4));
        }
        assert!(weights[3 * 27..].iter().all(|weight| weight.abs() < (27.0f64).sqrt().recip()));
        assert!(weights[3 * 27..].iter().any(|&weight| weight != 0.0));
    }
}
