//! Where optimizers find gradients: those of one backward pass, or the weighted sum of several.

use std::collections::BTreeMap;

use residual_autograd::{Gradients, State};
use residual_nn::Module;
use residual_tensor::{Float, Tensor};

use crate::slices::{are_finite, combine, scale, squares};

/// Gradients of the parameters of a network.
pub trait GradientSource<T: Float> {
    /// That of a parameter, if there is one.
    fn of(&self, path: &str, state: &State<T>) -> Option<&Tensor<T>>;
}

impl<T: Float> GradientSource<T> for Gradients<T> {
    fn of(&self, _path: &str, state: &State<T>) -> Option<&Tensor<T>> {
        self.of_state(state)
    }
}

/// The sum of the gradients of several backward passes, each with its weight: of a batch that goes through
/// the network in parts.
#[derive(Debug, Clone, Default)]
pub struct GradientSum<T: Float> {
    by_path: BTreeMap<String, Tensor<T>>,
}

impl<T: Float> GradientSum<T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { by_path: BTreeMap::new() }
    }

    /// Adds the gradients of a pass.
    pub fn add(&mut self, net: &dyn Module<T>, gradients: &Gradients<T>, weight: f64) {
        let weight = T::of(weight);
        for (path, state) in net.parameters() {
            let Some(gradient) = gradients.of_state(&state) else { continue };
            match self.by_path.get_mut(&path) {
                Some(sum) => {
                    let gradient = gradient.to_layout(sum.layout());
                    combine(T::one(), sum.as_mut_slice(), weight, gradient.as_slice());
                }
                None if weight == T::one() => drop(self.by_path.insert(path, gradient.clone())),
                None => {
                    let mut scaled = gradient.clone();
                    scale(scaled.as_mut_slice(), weight);
                    self.by_path.insert(path, scaled);
                }
            }
        }
    }

    /// A gradient as it is.
    pub(super) fn insert(&mut self, path: String, gradient: Tensor<T>) {
        self.by_path.insert(path, gradient);
    }

    /// The length of all gradients as one vector.
    pub fn norm(&self) -> f64 {
        self.by_path.values().map(|gradient| squares(gradient.as_slice())).sum::<f64>().sqrt()
    }

    /// The length of the gradient of a parameter, if it has one.
    pub fn norm_of(&self, path: &str) -> Option<f64> {
        Some(squares(self.by_path.get(path)?.as_slice()).sqrt())
    }

    /// Shortens all gradients by one factor if they are longer than this together, as PyTorch's
    /// `clip_grad_norm_` does. Returns what they were.
    pub fn clip(&mut self, longest: f64) -> f64 {
        let norm = self.norm();
        let factor = T::of(longest / (norm + 1e-6));
        if factor < T::one() {
            self.by_path.values_mut().for_each(|gradient| scale(gradient.as_mut_slice(), factor));
        }
        norm
    }

    /// The first parameter whose gradient is infinite or no number.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.by_path
            .iter()
            .find(|(_, gradient)| !are_finite(gradient.as_slice()))
            .map(|(path, _)| path.as_str())
    }
}

impl<T: Float> GradientSource<T> for GradientSum<T> {
    fn of(&self, path: &str, _state: &State<T>) -> Option<&Tensor<T>> {
        self.by_path.get(path)
    }
}

#[cfg(test)]
mod tests {
    use residual_autograd::Tape;
    use residual_nn::{Linear, Mode};
    use residual_tensor::Generator;

    use super::*;

    /// The gradients of a layer of one output are the sums of its inputs, and their number.
    fn pass(layer: &Linear<f64>, inputs: [f64; 2]) -> Gradients<f64> {
        let x = Tensor::from_vec([1, 2], inputs.to_vec()).unwrap();
        let y = layer.forward(&Tape::new().input(x), Mode::Train).unwrap();
        y.backward_with(Tensor::full([1, 1], 1.0)).unwrap()
    }

    #[test]
    fn parts_are_added_by_their_weight_and_clipped_as_in_pytorch() {
        let layer = Linear::<f64>::new(2, 1, &mut Generator::new(1)).unwrap();
        let mut sum = GradientSum::new();
        sum.add(&layer, &pass(&layer, [1.0, 2.0]), 0.25);
        sum.add(&layer, &pass(&layer, [3.0, -2.0]), 0.75);
        let of = |sum: &GradientSum<f64>, path: &str, state| sum.of(path, state).unwrap().to_vec();
        assert_eq!(of(&sum, "weight", &layer.weight), [2.5, -1.0]);
        assert_eq!(of(&sum, "bias", &layer.bias), [1.0]);
        // torch.nn.utils.clip_grad_norm_ of [2.5, -1], [1] to 10 and to 1: 2.872281…
        assert_eq!((sum.norm_of("weight"), sum.norm_of("none")), (Some(7.25f64.sqrt()), None));
        assert!((sum.clip(10.0) - 8.25f64.sqrt()).abs() < 1e-12);
        assert_eq!(of(&sum, "bias", &layer.bias), [1.0]);
        sum.clip(1.0);
        assert!((of(&sum, "weight", &layer.weight)[0] - 0.870_387_976).abs() < 1e-6);
        assert!((sum.norm() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_number_is_named() {
        let layer = Linear::<f64>::new(2, 1, &mut Generator::new(1)).unwrap();
        let mut sum = GradientSum::new();
        sum.add(&layer, &pass(&layer, [1.0, 2.0]), 1.0);
        assert_eq!(sum.broken(), None);
        sum.add(&layer, &pass(&layer, [1.0, f64::NAN]), 1.0);
        assert_eq!(sum.broken(), Some("weight"));
    }
}
