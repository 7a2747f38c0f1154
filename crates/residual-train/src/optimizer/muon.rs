//! Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"), as its author trains
//! networks for CIFAR-10 with it: the velocity of a convolution's filters, one per row, is brought near to the
//! closest orthogonal matrix before it is applied, and the filters keep their length.

use std::collections::BTreeMap;

use residual_kernels::matmul;
use residual_nn::{Error, Module};
use residual_tensor::{Float, Tensor};

use super::{GradientSource, Sgd, SgdRule, gradient::GradientSum};
use crate::slices::{combine, scale, squares};

/// The coefficients of a step of Muon:
///
/// ```text
/// v = momentum · v + gradient
/// parameter = parameter · √rows / ‖parameter‖ − learning_rate · orthogonal(nesterov ? gradient + momentum · v : v)
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MuonRule {
    /// The size of the step.
    pub learning_rate: f64,
    /// The part of the velocity that remains from step to step.
    pub momentum: f64,
    /// Whether to step as if the velocity had been applied already.
    pub nesterov: bool,
}

/// Muon for the weights of convolutions, behind which a normalization makes their length indifferent; SGD
/// for everything else.
#[derive(Debug, Clone)]
pub struct Muon<T: Float> {
    /// The coefficients of the next step.
    pub rule: MuonRule,
    /// What moves the other parameters.
    pub rest: Sgd<T>,
    /// The velocity of each weight that has been moved, by path.
    velocity: BTreeMap<String, Tensor<T>>,
}

impl<T: Float> Muon<T> {
    /// An optimizer at rest.
    pub fn new(rule: MuonRule, rest: SgdRule) -> Self {
        Self { rule, rest: Sgd::new(rest), velocity: BTreeMap::new() }
    }

    /// Moves every trained parameter that has a gradient.
    ///
    /// # Errors
    /// If a gradient or a velocity does not have the shape of its parameter, which is named.
    pub fn step(&mut self, net: &dyn Module<T>, gradients: &impl GradientSource<T>) -> Result<(), Error> {
        self.step_at(net, gradients, 1.0, None)
    }

    /// A step at a part of the rates, with another momentum if there is one.
    pub(super) fn step_at(
        &mut self,
        net: &dyn Module<T>,
        gradients: &impl GradientSource<T>,
        factor: f64,
        momentum: Option<f64>,
    ) -> Result<(), Error> {
        let MuonRule { learning_rate, momentum: own, nesterov } = self.rule;
        let [rate, velocity_kept] = [factor * learning_rate, momentum.unwrap_or(own)].map(T::of);
        let mut rest = GradientSum::new();
        for (path, state) in net.parameters() {
            let Some(gradient) = gradients.of(&path, &state).filter(|_| state.is_trained()) else { continue };
            if gradient.shape().rank() != 4 {
                rest.insert(path, gradient.clone());
                continue;
            }
            state
                .update(|parameter| -> Result<(), Error> {
                    let gradient = gradient.to_layout(parameter.layout());
                    let at_rest = || parameter.map(|_| T::zero());
                    let velocity = self.velocity.entry(path.clone()).or_insert_with(at_rest);
                    let operands = (("velocity", velocity.shape()), ("parameter", parameter.shape()));
                    residual_kernels::KernelError::unless_same("muon", operands.0, operands.1)?;
                    if velocity.layout() != parameter.layout() {
                        *velocity = velocity.to_layout(parameter.layout());
                    }
                    combine(velocity_kept, velocity.as_mut_slice(), T::one(), gradient.as_slice());
                    let mut ahead = velocity.as_slice().to_vec();
                    if nesterov {
                        combine(velocity_kept, &mut ahead, T::one(), gradient.as_slice());
                    }
                    // A filter is a row: its weights are neighbours in memory, in whatever order.
                    let rows = parameter.shape()[0];
                    let update = Tensor::from_vec([rows, parameter.len() / rows.max(1)], ahead)?;
                    let update = orthogonal(&update)?;
                    let length = squares(parameter.as_slice()).sqrt();
                    let kept = if length > 0.0 { T::of((rows as f64).sqrt() / length) } else { T::one() };
                    combine(kept, parameter.as_mut_slice(), -rate, update.as_slice());
                    Ok(())
                })
                .map_err(|error| error.at(&path))?;
        }
        self.rest.step_at(net, &rest, factor, momentum)
    }

    /// The velocities of the convolutions by the path of their weight.
    pub fn velocity(&self) -> &BTreeMap<String, Tensor<T>> {
        &self.velocity
    }

    /// Takes over saved velocities.
    pub fn set_velocity(&mut self, velocity: BTreeMap<String, Tensor<T>>) {
        self.velocity = velocity;
    }
}

/// Coefficients of the iteration `X ← a·X + (b·A + c·A²)·X, A = X·Xᵀ`, which brings singular values near to 1,
/// and how often it is made.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];
const ITERATIONS: usize = 3;

/// Near to the closest matrix with orthogonal rows (or columns, if there are fewer of them).
fn orthogonal<T: Float>(matrix: &Tensor<T>) -> Result<Tensor<T>, Error> {
    let is_tall = matrix.shape()[0] > matrix.shape()[1];
    let mut x = if is_tall { matrix.permute(&[1, 0])? } else { matrix.clone() };
    let length = squares(x.as_slice()).sqrt();
    scale(x.as_mut_slice(), T::of((length + 1e-7).recip()));
    let [a, b, c] = COEFFICIENTS.map(T::of);
    for _ in 0..ITERATIONS {
        let square = matmul::forward(&x, &x.permute(&[1, 0])?)?;
        let mut factor = matmul::forward(&square, &square)?;
        combine(c, factor.as_mut_slice(), b, square.as_slice());
        let moved = matmul::forward(&factor, &x)?;
        combine(a, x.as_mut_slice(), T::one(), moved.as_slice());
    }
    Ok(if is_tall { x.permute(&[1, 0])? } else { x })
}

#[cfg(test)]
mod tests {
    use residual_autograd::{Gradients, Tape};
    use residual_nn::{Conv2d, Conv2dConfig, Mode};
    use residual_tensor::Generator;

    use super::*;

    #[test]
    fn three_iterations_are_the_formula() {
        // The same three lines in PyTorch, f64.
        let matrix = Tensor::from_vec([2, 3], vec![-0.5, -0.2, 0.1, 0.4, 0.7, 1.0]).unwrap();
        let expected = [
            -0.975_676_397_030_989_6,
            -0.236_826_102_059_912_06,
            0.502_024_192_911_166,
            0.090_041_062_238_614_63,
            0.349_377_429_858_180_43,
            0.608_713_797_477_744_6,
        ];
        let close = |found: Tensor<f64>| {
            let found = found.to_vec();
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        };
        close(orthogonal(&matrix).unwrap());
        close(orthogonal(&matrix.permute(&[1, 0]).unwrap()).unwrap().permute(&[1, 0]).unwrap());
    }

    #[test]
    fn a_schedule_may_change_the_momentum() {
        let rule = MuonRule { learning_rate: 0.1, momentum: 0.5, nesterov: true };
        let rest = SgdRule { learning_rate: 0.5, momentum: 0.5, weight_decay: 0.0, nesterov: false };
        let moved = |own: f64, instead: Option<f64>| {
            let conv = Conv2d::<f64>::new(&Conv2dConfig::three(2, 4).bias(), &mut Generator::new(1)).unwrap();
            let mut muon = Muon::new(MuonRule { momentum: own, ..rule }, SgdRule { momentum: own, ..rest });
            for seed in 0..3 {
                let x = Generator::new(seed).normal_tensor([2, 2, 5, 5], 1.0);
                let y = conv.forward(&Tape::new().input(x), Mode::Train).unwrap();
                let upstream = Tensor::full(y.shape().clone(), 1.0);
                muon.step_at(&conv, &y.backward_with(upstream).unwrap(), 1.0, instead).unwrap();
            }
            [conv.weight.value().to_vec(), conv.bias.as_ref().unwrap().value().to_vec()]
        };
        assert_eq!(moved(0.5, Some(0.9)), moved(0.9, None));
        assert_ne!(moved(0.5, None), moved(0.9, None));
    }

    #[test]
    fn many_equal_gradients_turn_into_a_step_of_unit_singular_values() {
        let conv = Conv2d::<f64>::new(&Conv2dConfig::three(2, 4).bias(), &mut Generator::new(1)).unwrap();
        let mut generator = Generator::new(2);
        let (x, upstream) =
            (generator.normal_tensor([2, 2, 5, 5], 1.0), generator.normal_tensor([2, 4, 5, 5], 1.0));
        let gradients = |conv: &Conv2d<f64>| -> Gradients<f64> {
            let y = conv.forward(&Tape::new().input(x.clone()), Mode::Train).unwrap();
            y.backward_with(upstream.clone()).unwrap()
        };
        let rule = MuonRule { learning_rate: 0.1, momentum: 0.5, nesterov: true };
        let rest = SgdRule { learning_rate: 0.5, momentum: 0.0, weight_decay: 0.0, nesterov: false };
        let mut muon = Muon::new(rule, rest);
        let before = conv.weight.value();
        let gradient = gradients(&conv);
        let of_bias = gradient.of_state(conv.bias.as_ref().unwrap()).unwrap().to_vec();
        muon.step(&conv, &gradient).unwrap();
        // √4 over the length of the weights, then 0.1 of an orthogonal matrix, whose length is near √4.
        let kept = 2.0 / squares(before.as_slice()).sqrt();
        let after = conv.weight.value().to_layout(before.layout());
        let pairs = after.as_slice().iter().zip(before.as_slice());
        let moved: Vec<f64> = pairs.map(|(after, before)| (after - kept * before) / 0.1).collect();
        let length = squares(&moved).sqrt();
        assert!((1.4..2.5).contains(&length), "{length}");
        let bias = conv.bias.as_ref().unwrap().value().to_vec();
        assert!(bias.iter().zip(of_bias).all(|(bias, gradient)| (bias + 0.5 * gradient).abs() < 1e-12));
        assert_eq!(muon.velocity().keys().collect::<Vec<_>>(), ["weight"]);
    }
}
