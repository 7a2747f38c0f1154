//! Stochastic gradient descent over the parameters of a network. How one parameter moves is
//! computed in `residual_kernels::sgd`.

use std::collections::BTreeMap;

use residual_kernels::sgd;
use residual_nn::{Error, Module};
use residual_tensor::{Float, Tensor};

use super::{DecayOn, GradientSource, Groups};

pub use residual_kernels::sgd::SgdRule;

/// Stochastic gradient descent with momentum, in PyTorch's convention.
///
/// ```
/// use residual_autograd::Tape;
/// use residual_nn::{Mode, Module};
/// use residual_tensor::Generator;
/// use residual_train::{Sgd, SgdRule};
/// use residual_zoo::NetworkConfig;
///
/// let mut generator = Generator::new(0);
/// let net = NetworkConfig::named("cifar_resnet8")?.build::<f32>(&mut generator)?;
/// let rule = SgdRule { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4, nesterov: false };
/// let mut sgd = Sgd::new(rule);
///
/// let gradients = {
///     let tape = Tape::new();
///     let images = tape.input(generator.normal_tensor([4, 3, 8, 8], 1.0));
///     net.forward(&images, Mode::Train)?.cross_entropy(&[0, 1, 2, 3], 0.0)?.backward()?
/// }; // the tape is gone: the parameters can change in place
/// sgd.step(&net, &gradients)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sgd<T: Float> {
    /// The coefficients of the next step.
    pub rule: SgdRule,
    /// What holds for some of the parameters only.
    pub groups: Groups,
    /// The velocity of each parameter that has been moved, by path.
    velocity: BTreeMap<String, Tensor<T>>,
}

impl<T: Float> Sgd<T> {
    /// An optimizer at rest.
    pub fn new(rule: SgdRule) -> Self {
        Self { rule, groups: Groups::default(), velocity: BTreeMap::new() }
    }

    /// Sets what the weight decay applies to.
    #[must_use]
    pub fn decay_on(self, decay_on: DecayOn) -> Self {
        Self { groups: Groups { decay_on, ..self.groups }, ..self }
    }

    /// Moves every trained parameter that has a gradient.
    ///
    /// # Errors
    /// If a gradient or a velocity does not have the shape of its parameter, which is named.
    pub fn step(&mut self, net: &dyn Module<T>, gradients: &impl GradientSource<T>) -> Result<(), Error> {
        self.step_at(net, gradients, 1.0, None)
    }

    /// A step at a part of the rate, with another momentum.
    pub(super) fn step_at(
        &mut self,
        net: &dyn Module<T>,
        gradients: &impl GradientSource<T>,
        factor: f64,
        momentum: Option<f64>,
    ) -> Result<(), Error> {
        let momentum = momentum.unwrap_or(self.rule.momentum);
        for (path, state) in net.parameters() {
            let Some(gradient) = gradients.of(&path, &state).filter(|_| state.is_trained()) else { continue };
            state
                .update(|parameter| {
                    let (rate, decay) = self.groups.factors(&path, parameter.shape());
                    let rule = SgdRule {
                        learning_rate: factor * self.rule.learning_rate * rate,
                        momentum,
                        weight_decay: decay * self.rule.weight_decay,
                        ..self.rule
                    };
                    let velocity = (momentum != 0.0).then(|| {
                        let at_rest = || parameter.map(|_| T::zero());
                        self.velocity.entry(path.clone()).or_insert_with(at_rest)
                    });
                    sgd::step(parameter, gradient, velocity, &rule)
                })
                .map_err(|error| Error::from(error).at(&path))?;
        }
        Ok(())
    }

    /// The velocities by the path of their parameter: all that there is to save.
    pub fn velocity(&self) -> &BTreeMap<String, Tensor<T>> {
        &self.velocity
    }

    /// Takes over saved velocities.
    pub fn set_velocity(&mut self, velocity: BTreeMap<String, Tensor<T>>) {
        self.velocity = velocity;
    }
}

#[cfg(test)]
mod tests {
    use residual_autograd::{Gradients, Tape};
    use residual_nn::{Linear, Mode};
    use residual_tensor::Generator;

    use super::*;

    const RULE: SgdRule = SgdRule { learning_rate: 0.5, momentum: 0.9, weight_decay: 0.0, nesterov: false };

    /// A layer, and its gradients for an upstream gradient of ones: the sums of the inputs.
    fn layer() -> (Linear<f64>, impl Fn(&Linear<f64>) -> Gradients<f64>) {
        let layer = Linear::new(2, 1, &mut Generator::new(1)).unwrap();
        layer.weight.set(&Tensor::from_vec([1, 2], vec![1.0, -2.0]).unwrap()).unwrap();
        layer.bias.set(&Tensor::full([1], 4.0)).unwrap();
        let gradients = |layer: &Linear<f64>| {
            let x = Tensor::from_vec([2, 2], vec![1.0, 2.0, 3.0, 5.0]).unwrap();
            let y = layer.forward(&Tape::new().input(x), Mode::Train).unwrap();
            y.backward_with(Tensor::full([2, 1], 1.0)).unwrap()
        };
        (layer, gradients)
    }

    #[test]
    fn velocity_is_kept_by_path() {
        let (layer, gradients) = layer();
        let mut sgd = Sgd::new(RULE);
        sgd.step(&layer, &gradients(&layer)).unwrap();
        assert_eq!(layer.weight.value().to_vec(), [1.0 - 2.0, -2.0 - 3.5]); // gradient [4, 7]
        assert_eq!(layer.bias.value().to_vec(), [4.0 - 1.0]); // gradient 2
        sgd.step(&layer, &gradients(&layer)).unwrap();
        assert_eq!(layer.bias.value().to_vec(), [3.0 - 0.5 * (0.9 * 2.0 + 2.0)]);
        assert_eq!(sgd.velocity().keys().collect::<Vec<_>>(), ["bias", "weight"]);

        let mut resumed = Sgd::new(RULE);
        resumed.set_velocity(sgd.velocity().clone());
        let before = layer.bias.value().to_vec()[0];
        resumed.step(&layer, &gradients(&layer)).unwrap();
        assert_eq!(layer.bias.value().to_vec(), [before - 0.5 * (0.9 * 3.8 + 2.0)]);
    }

    #[test]
    fn weight_decay_can_spare_what_is_no_weight() {
        for (decay_on, bias) in [(DecayOn::All, 4.0 - 0.5 * (2.0 + 0.25 * 4.0)), (DecayOn::Weights, 3.0)] {
            let (layer, gradients) = layer();
            let mut sgd = Sgd::new(SgdRule { weight_decay: 0.25, ..RULE }).decay_on(decay_on);
            sgd.step(&layer, &gradients(&layer)).unwrap();
            assert_eq!(layer.bias.value().to_vec(), [bias]);
            assert_eq!(layer.weight.value().to_vec(), [1.0 - 0.5 * 4.25, -2.0 - 0.5 * 6.5]);
        }
    }

    #[test]
    fn biases_can_have_a_rate_of_their_own() {
        let (layer, gradients) = layer();
        let mut sgd = Sgd::new(SgdRule { weight_decay: 0.25, momentum: 0.0, ..RULE });
        sgd.groups.bias_rate = 4.0;
        sgd.step(&layer, &gradients(&layer)).unwrap();
        // Four times the rate, and the same pull towards zero.
        assert_eq!(layer.bias.value().to_vec(), [4.0 - 0.5 * (4.0 * 2.0 + 0.25 * 4.0)]);
        assert_eq!(layer.weight.value().to_vec(), [1.0 - 0.5 * 4.25, -2.0 - 0.5 * 6.5]);
    }

    #[test]
    fn frozen_parameters_stay() {
        let (layer, gradients) = layer();
        layer.weight.set_frozen(true);
        let mut sgd = Sgd::new(SgdRule { weight_decay: 0.25, ..RULE });
        sgd.step(&layer, &gradients(&layer)).unwrap();
        assert_eq!(layer.weight.value().to_vec(), [1.0, -2.0]);
        assert_ne!(layer.bias.value().to_vec(), [4.0]);
    }

    #[test]
    fn a_velocity_of_another_shape_is_named() {
        let (layer, gradients) = layer();
        let mut sgd = Sgd::new(RULE);
        sgd.set_velocity(BTreeMap::from([("weight".to_owned(), Tensor::zeros([3]))]));
        let message = sgd.step(&layer, &gradients(&layer)).unwrap_err().to_string();
        assert!(message.starts_with("weight: sgd: velocity [3]"), "{message}");
    }
}
