//! What a network is trained for: the loss of its outputs, and which of them count as right.

use residual_autograd::Var;
use residual_nn::{Mode, Result};
use residual_tensor::{Float, Tensor};

use crate::{Tally, evaluate::in_precision};

/// A loss for targets `Y`.
pub trait Objective<T: Float, Y>: Send + Sync {
    /// The mean loss of a batch: a scalar. What only helps to learn, such as smoothed targets, is left
    /// out in [`Mode::Eval`].
    ///
    /// # Errors
    /// If the outputs do not fit the targets.
    fn loss(&self, outputs: &Var<T>, targets: &[Y], mode: Mode) -> Result<Var<T>>;

    /// Adds a batch to the loss and hits so far.
    fn count(&self, outputs: &Tensor<T>, targets: &[Y], mean_loss: f64, tally: &mut Tally);
}

/// Cross-entropy of logits `[n, classes]` with the numbers of the classes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CrossEntropy {
    /// How much of the target is spread over all classes (Szegedy et al. 2016).
    pub label_smoothing: f64,
}

impl<T: Float> Objective<T, usize> for CrossEntropy {
    fn loss(&self, outputs: &Var<T>, targets: &[usize], mode: Mode) -> Result<Var<T>> {
        let smoothing = match mode {
            Mode::Train => self.label_smoothing,
            Mode::Eval => 0.0,
        };
        outputs.cross_entropy(targets, smoothing)
    }

    fn count(&self, outputs: &Tensor<T>, targets: &[usize], mean_loss: f64, tally: &mut Tally) {
        tally.add(outputs, targets, mean_loss);
    }
}

/// The mean squared difference of outputs `[n, k]` from `k` numbers per sample. Nothing counts as
/// right: the best epoch is that of the smallest loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeanSquaredError;

impl<T: Float, Y: AsRef<[f32]>> Objective<T, Y> for MeanSquaredError {
    fn loss(&self, outputs: &Var<T>, targets: &[Y], _mode: Mode) -> Result<Var<T>> {
        let numbers = targets.iter().flat_map(|target| target.as_ref()).copied().collect();
        let targets = Tensor::from_vec(outputs.shape().clone(), numbers)?;
        let difference = outputs.sub(&outputs.tape().input(in_precision(targets)))?;
        difference.mul(&difference)?.mean(..)
    }

    fn count(&self, _outputs: &Tensor<T>, targets: &[Y], mean_loss: f64, tally: &mut Tally) {
        tally.add_loss(targets.len(), mean_loss);
    }
}
