//! AdamW (Loshchilov & Hutter 2019) over the parameters of a network, in PyTorch's convention.

use std::collections::BTreeMap;

use residual_macros::compiled_here;
use residual_nn::{Error, Module};
use residual_tensor::{Float, Tensor};

use super::{GradientSource, Groups};

/// The coefficients of a step, with PyTorch's meaning:
///
/// ```text
/// parameter −= learning_rate · weight_decay · parameter
/// m = β₁ · m + (1 − β₁) · gradient,  v = β₂ · v + (1 − β₂) · gradient²
/// parameter −= learning_rate · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + epsilon)      in step t = 1, 2, …
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWRule {
    /// The size of the step.
    pub learning_rate: f64,
    /// β₁ and β₂: what remains of the mean and of the mean square of the gradients.
    pub betas: [f64; 2],
    /// What the step is divided by at least.
    pub epsilon: f64,
    /// How strongly parameters are pulled towards zero, whatever the gradients.
    pub weight_decay: f64,
}

/// Adam with decoupled weight decay.
#[derive(Debug, Clone)]
pub struct AdamW<T: Float> {
    /// The coefficients of the next step.
    pub rule: AdamWRule,
    /// What holds for some of the parameters only.
    pub groups: Groups,
    steps: u64,
    /// Means of gradients and of their squares, by path.
    moments: [BTreeMap<String, Tensor<T>>; 2],
}

impl<T: Float> AdamW<T> {
    /// An optimizer at rest.
    pub fn new(rule: AdamWRule) -> Self {
        Self { rule, groups: Groups::default(), steps: 0, moments: Default::default() }
    }

    /// Moves every trained parameter that has a gradient.
    ///
    /// # Errors
    /// If a gradient or a moment does not have the shape of its parameter, which is named.
    pub fn step(&mut self, net: &dyn Module<T>, gradients: &impl GradientSource<T>) -> Result<(), Error> {
        self.step_at(net, gradients, 1.0, None)
    }

    /// A step at a part of the rate, with another β₁.
    pub(super) fn step_at(
        &mut self,
        net: &dyn Module<T>,
        gradients: &impl GradientSource<T>,
        factor: f64,
        momentum: Option<f64>,
    ) -> Result<(), Error> {
        self.steps += 1;
        let AdamWRule { learning_rate, betas: [beta, gamma], epsilon, weight_decay } = self.rule;
        let beta = momentum.unwrap_or(beta);
        let exponent = self.steps.min(i32::MAX as u64) as i32;
        let [first_sum, second_sum] = [beta, gamma].map(|beta| 1.0 - beta.powi(exponent));
        let [means, squares] = &mut self.moments;
        for (path, state) in net.parameters() {
            let Some(gradient) = gradients.of(&path, &state).filter(|_| state.is_trained()) else { continue };
            let (rate, decay) = self.groups.factors(&path, gradient.shape());
            let learning_rate = factor * rate * learning_rate;
            let kept = T::of(1.0 - learning_rate * decay * weight_decay);
            let size = T::of(learning_rate / first_sum);
            let [beta, gamma, epsilon, root] = [beta, gamma, epsilon, second_sum.sqrt().recip()].map(T::of);
            state
                .update(|parameter| -> Result<(), Error> {
                    let gradient = gradient.to_layout(parameter.layout());
                    let at_rest = || parameter.map(|_| T::zero());
                    let of = |tensors: &mut BTreeMap<String, Tensor<T>>| {
                        let held = tensors.remove(&path).unwrap_or_else(at_rest);
                        held.to_layout(parameter.layout())
                    };
                    let (mut mean, mut square) = (of(means), of(squares));
                    for tensor in [&gradient, &mean, &square] {
                        let operands = (("moment", tensor.shape()), ("parameter", parameter.shape()));
                        residual_kernels::KernelError::unless_same("adamw", operands.0, operands.1)?;
                    }
                    let moments = [mean.as_mut_slice(), square.as_mut_slice()];
                    let factors = Factors { beta, gamma, kept, size, epsilon, root };
                    step(parameter.as_mut_slice(), gradient.as_slice(), moments, factors);
                    means.insert(path.clone(), mean);
                    squares.insert(path.clone(), square);
                    Ok(())
                })
                .map_err(|error| error.at(&path))?;
        }
        Ok(())
    }

    /// The means of gradients and of their squares, by the path of their parameter.
    pub fn moments(&self) -> [&BTreeMap<String, Tensor<T>>; 2] {
        self.moments.each_ref()
    }

    /// Takes over what was saved after so many steps.
    pub fn set_moments(&mut self, moments: [BTreeMap<String, Tensor<T>>; 2], steps: u64) {
        (self.moments, self.steps) = (moments, steps);
    }
}

/// The numbers of a step that are the same for all elements of a parameter.
struct Factors<T> {
    beta: T,
    gamma: T,
    /// What decay leaves of an element.
    kept: T,
    size: T,
    epsilon: T,
    root: T,
}

#[compiled_here]
fn step<T: Float>(parameter: &mut [T], gradient: &[T], moments: [&mut [T]; 2], factors: Factors<T>) {
    let Factors { beta, gamma, kept, size, epsilon, root } = factors;
    let [means, squares] = moments;
    let moments = means.iter_mut().zip(squares);
    for ((value, &gradient), (mean, square)) in parameter.iter_mut().zip(gradient).zip(moments) {
        *mean = beta * *mean + (T::one() - beta) * gradient;
        *square = gamma * *square + (T::one() - gamma) * gradient * gradient;
        *value = kept * *value - size * *mean / (square.sqrt() * root + epsilon);
    }
}

#[cfg(test)]
mod tests {
    use residual_autograd::{Gradients, Tape};
    use residual_nn::{Linear, Mode};
    use residual_tensor::Generator;

    use super::*;
    use crate::optimizer::DecayOn;

    /// Gradients for an upstream gradient of ones: the inputs, and their number.
    fn gradients(layer: &Linear<f64>, inputs: [f64; 2]) -> Gradients<f64> {
        let halves = inputs.map(|x| x / 2.0);
        let x = Tensor::from_vec([2, 2], vec![halves[0], halves[1], halves[0], halves[1]]).unwrap();
        let y = layer.forward(&Tape::new().input(x), Mode::Train).unwrap();
        y.backward_with(Tensor::full([2, 1], 1.0)).unwrap()
    }

    fn layer() -> Linear<f64> {
        let layer = Linear::new(2, 1, &mut Generator::new(1)).unwrap();
        layer.weight.set(&Tensor::from_vec([1, 2], vec![1.0, -2.0]).unwrap()).unwrap();
        layer.bias.set(&Tensor::full([1], 4.0)).unwrap();
        layer
    }

    const RULE: AdamWRule =
        AdamWRule { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.5 };

    #[test]
    fn steps_are_pytorchs() {
        // torch.optim.AdamW(lr=0.1, weight_decay=0.5), the bias without decay
        let expected = [
            [0.850_000_000_249_999_9, -1.999_999_999_857_142_7, 3.900_000_000_5],
            [0.760_553_183_277_773, -1.999_999_999_721_427_7, 3.800_000_001_000_001],
            [0.651_987_451_276_331_6, -1.999_999_999_592_499, 3.700_000_001_500_000_7],
        ];
        let inputs = [[4.0, 7.0], [-1.0, 7.0], [4.0, 7.0]];
        let (layer, mut adamw) = (layer(), AdamW::new(RULE));
        adamw.groups.decay_on = DecayOn::Weights;
        for (expected, inputs) in expected.into_iter().zip(inputs) {
            adamw.step(&layer, &gradients(&layer, inputs)).unwrap();
            let found = [layer.weight.value().to_vec(), layer.bias.value().to_vec()].concat();
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn it_goes_on_where_it_was_saved() {
        let (whole, parts) = (layer(), layer());
        let (mut adamw, mut first, mut second) = (AdamW::new(RULE), AdamW::new(RULE), AdamW::new(RULE));
        for inputs in [[4.0, 7.0], [-1.0, 7.0]] {
            adamw.step(&whole, &gradients(&whole, inputs)).unwrap();
        }
        first.step(&parts, &gradients(&parts, [4.0, 7.0])).unwrap();
        second.set_moments(first.moments().map(Clone::clone), 1);
        second.step(&parts, &gradients(&parts, [-1.0, 7.0])).unwrap();
        assert_eq!(whole.weight.value().to_vec(), parts.weight.value().to_vec());
    }
}
