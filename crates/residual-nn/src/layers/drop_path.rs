//! Stochastic depth (Huang et al. 2016, "Deep Networks with Stochastic Depth"): in training the branch of a block
//! is left out for some of the samples.

use residual_autograd::{Result, Var};
use residual_tensor::{Float, Generator, Shape, Tensor};

use crate::{
    Mode, Operation,
    onnx::{Operand, Operator},
    operation::only,
    registry::{Sample, draw},
};

/// In training each sample becomes zero with probability `rate`, and others are divided by `1 - rate`, so that
/// the mean stays what it is. In evaluation nothing happens.
///
/// Which samples is drawn from the tape's [generator](residual_autograd::Tape::with_generator).
#[derive(Debug, Clone, Copy)]
pub struct DropPath {
    /// The probability, from 0 to 1.
    pub rate: f64,
}

impl DropPath {
    /// The rate of a block, by its number among all of them: none for the first, all of `rate` for the last,
    /// evenly between (Huang et al. 2016, figure 2).
    pub fn linear(rate: f64, block: usize, blocks: usize) -> f64 {
        rate * block as f64 / blocks.saturating_sub(1).max(1) as f64
    }
}

impl<T: Float> Operation<T> for DropPath {
    fn name(&self) -> &'static str {
        "drop_path"
    }

    fn detail(&self) -> String {
        format!("{:.3}", self.rate)
    }

    /// # Shapes
    /// `[n, …]`, unchanged.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only(inputs).clone())
    }

    fn record(&self, inputs: &[&Var<T>], mode: Mode) -> Result<Var<T>> {
        let x = only(inputs);
        if mode == Mode::Eval || self.rate <= 0.0 {
            return Ok(x.clone());
        }
        let mut axes = vec![1; x.shape().rank()];
        axes.iter_mut().zip(x.shape().first()).for_each(|(axis, &n)| *axis = n);
        let (mut generator, kept) = (x.tape().generator()?, 1.0 - self.rate);
        let mut factor = || if generator.chance(kept) { T::of(1.0 / kept) } else { T::zero() };
        x.mul(&x.tape().input(Tensor::try_from_fn(axes, &mut factor)?))
    }

    fn is_identity_in_evaluation(&self) -> bool {
        true
    }

    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("Identity", [Operand::Input(0)])]
    }
}

impl Sample for DropPath {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        // Enough samples that some are left.
        Ok((Self { rate: 0.2 }, draw::shape(g, 8)?))
    }
}

#[cfg(test)]
mod tests {
    use residual_autograd::Tape;

    use super::*;
    use crate::Module;

    fn dropped(rate: f64, mode: Mode, seed: u64) -> Vec<f64> {
        let tape = Tape::without_recording().with_generator(Generator::new(seed));
        let x = tape.input(Tensor::<f64>::full([1000, 2, 1, 1], 3.0));
        Module::forward(&DropPath { rate }, &x, mode).unwrap().value().to_vec()
    }

    #[test]
    fn samples_are_left_out_or_scaled_and_the_mean_stays() {
        let y = dropped(0.25, Mode::Train, 1);
        assert!(y.chunks(2).all(|sample| sample[0] == sample[1] && [0.0, 4.0].contains(&sample[0])));
        let left_out = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
        assert!((left_out - 0.25).abs() < 0.05, "{left_out}");
        assert_eq!(y, dropped(0.25, Mode::Train, 1));
        assert_ne!(y, dropped(0.25, Mode::Train, 2));
        assert_eq!(dropped(0.25, Mode::Eval, 1), vec![3.0; 2000]);
        assert_eq!(dropped(1.0, Mode::Train, 1), vec![0.0; 2000]);
    }

    #[test]
    fn a_tape_without_generator_is_an_error_in_training_alone() {
        let x = Tape::without_recording().input(Tensor::<f64>::zeros([2, 1, 1, 1]));
        let forward = |mode| Module::forward(&DropPath { rate: 0.5 }, &x, mode);
        assert!(forward(Mode::Eval).is_ok());
        let message = forward(Mode::Train).unwrap_err().to_string();
        assert!(message.starts_with("drop_path: random numbers are drawn here"), "{message}");
    }
}
