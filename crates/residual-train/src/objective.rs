//! What a network is trained for: the loss of its outputs, and which of them count as right.

use residual_autograd::Var;
use residual_kernels::KernelError;
use residual_nn::{Mode, Result};
use residual_tensor::{Float, Shape, Tensor};

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
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CrossEntropy {
    /// How much of the target is spread over all classes (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// How much each class counts while a network learns; all the same if empty. The loss is the weighted mean,
    /// as PyTorch's.
    pub weights: Vec<f64>,
}

impl CrossEntropy {
    /// `−Σ target·log softmax(x)`, where target and sum are weighted by class.
    fn weighted<T: Float>(&self, logits: &Var<T>, targets: &[usize]) -> Result<Var<T>> {
        let classes = self.weights.len();
        if logits.shape()[1] != classes {
            return Err(KernelError::ShapeMismatch {
                operation: "cross-entropy",
                left: "class weights",
                left_shape: Shape::new([classes])?,
                right: "logits",
                right_shape: logits.shape().clone(),
                rule: "there must be a weight for each class",
            }
            .into());
        }
        let whole: f64 = targets.iter().map(|&target| self.weights[target]).sum();
        let spread = self.label_smoothing / classes as f64;
        let mut target = Tensor::try_zeros([targets.len(), classes])?;
        for (row, &label) in target.as_mut_slice().chunks_exact_mut(classes).zip(targets) {
            for (class, value) in row.iter_mut().enumerate() {
                let own = if class == label { 1.0 - self.label_smoothing } else { 0.0 };
                *value = T::of(-(own + spread) * self.weights[class] / whole);
            }
        }
        logits.log_softmax(1)?.mul(&logits.tape().input(target))?.sum(..)
    }
}

impl<T: Float> Objective<T, usize> for CrossEntropy {
    fn loss(&self, outputs: &Var<T>, targets: &[usize], mode: Mode) -> Result<Var<T>> {
        match mode {
            // Labels and shapes are checked by the plain loss, too.
            Mode::Train if !self.weights.is_empty() => {
                outputs.cross_entropy(targets, 0.0)?;
                self.weighted(outputs, targets)
            }
            Mode::Train => outputs.cross_entropy(targets, self.label_smoothing),
            Mode::Eval => outputs.cross_entropy(targets, 0.0),
        }
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

#[cfg(test)]
mod tests {
    use residual_autograd::Tape;

    use super::*;

    #[test]
    fn weights_of_classes_are_pytorchs() {
        // torch.nn.functional.cross_entropy(z, [0, 2], weight=[1, 2, 3], label_smoothing=0.1)
        let tape = Tape::<f64>::new();
        let logits = tape.leaf(Tensor::from_vec([2, 3], vec![0.5, -1.0, 2.0, 1.0, 0.0, -1.0]).unwrap());
        let objective = CrossEntropy { label_smoothing: 0.1, weights: vec![1.0, 2.0, 3.0] };
        let loss = objective.loss(&logits, &[0, 2], Mode::Train).unwrap();
        assert!((loss.value().item().unwrap() - 2.178_541_597_469_561).abs() < 1e-12);
        let gradients = loss.backward().unwrap();
        let expected = [
            -0.185_128_475_494_823_25,
            -0.005_910_709_017_227_617,
            0.191_039_184_512_050_87,
            0.473_966_359_603_412_55,
            0.160_761_474_848_061_64,
            -0.634_727_834_451_474_3,
        ];
        for (found, expected) in gradients.of(&logits).unwrap().to_vec().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert!(objective.loss(&logits, &[0, 3], Mode::Train).is_err());
        let objective = CrossEntropy { weights: vec![1.0, 2.0], ..CrossEntropy::default() };
        let error = objective.loss(&logits, &[0, 2], Mode::Train).unwrap_err();
        assert!(error.to_string().contains("a weight for each class"), "{error}");
    }
}
