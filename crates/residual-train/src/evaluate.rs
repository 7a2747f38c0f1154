//! A trained network on pictures: evaluation where the classes are known, prediction where they
//! are not.

use std::ops::ControlFlow;

use residual_autograd::Tape;
use residual_data::{Image, Loader, Placement, Preprocess};
use residual_kernels::{cross_entropy, softmax};
use residual_nn::{Mode, Module};
use residual_tensor::{Float, Layout, Tensor};
use residual_weights::Entry;
use serde::Serialize;

use crate::{
    ClassScore, Confusion, Result, Tally,
    metrics::{predicted, rows},
};

/// How good a network is on labelled pictures. Accuracies are fractions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Pictures evaluated.
    pub samples: u64,
    /// Pictures classified correctly.
    pub correct: u64,
    /// Fraction classified correctly.
    pub accuracy: f64,
    /// Fraction whose class is among the five most probable ones.
    pub top5_accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Precision and recall of each class.
    pub classes: Vec<ClassScore>,
    /// Counts: rows are true classes, columns predictions.
    pub confusion: Confusion,
    /// The most confident mistakes, the worst first.
    #[serde(skip)]
    pub mistakes: Vec<Mistake>,
}

/// A picture that was taken for another class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mistake {
    /// Its place in the data set.
    pub index: usize,
    /// Its class.
    pub label: usize,
    /// The class that it was taken for.
    pub predicted: usize,
    /// How probable that class was to the network.
    pub probability: f64,
}

/// How many mistakes an evaluation keeps.
const MISTAKES: usize = 24;

/// Evaluates a network on all pictures of a loader. `answer` gives its logits for a batch: through
/// the [layers](layer_by_layer), or as whatever the network was compiled to.
///
/// After each batch `watch` is told how many pictures are done; it can end the evaluation, whose
/// result is then that of the pictures so far.
///
/// # Errors
/// What reading the pictures, or the network, reports.
pub fn evaluate<T: Float>(
    mut answer: impl FnMut(Tensor<f32>) -> residual_nn::Result<Tensor<T>>,
    loader: &Loader,
    mut watch: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<Evaluation> {
    let names = loader.dataset().classes();
    let mut tally = Tally::default();
    let mut confusion = Confusion::new(names.len());
    let mut mistakes: Vec<Mistake> = Vec::new();
    for batch in loader.epoch(0)? {
        let batch = batch?;
        let logits = answer(batch.images)?;
        let (loss, probabilities) =
            cross_entropy::forward(&logits, &batch.labels, 0.0).map_err(residual_nn::Error::from)?;
        tally.add(&logits, &batch.labels, loss.to_f64());
        let images = rows(&logits, &batch.labels).zip(rows(&probabilities, &batch.labels));
        for ((logits, probabilities), (&label, &index)) in images.zip(batch.labels.iter().zip(&batch.indices))
        {
            let predicted = predicted(logits);
            confusion.add(label, predicted);
            if predicted != label {
                let probability = probabilities[predicted].to_f64();
                mistakes.push(Mistake { index, label, predicted, probability });
            }
        }
        mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.index.cmp(&b.index)));
        mistakes.truncate(MISTAKES);
        if watch(tally.images as usize).is_break() {
            break;
        }
    }
    Ok(Evaluation {
        samples: tally.images,
        correct: tally.correct,
        accuracy: tally.accuracy(),
        top5_accuracy: tally.top5_accuracy(),
        loss: tally.loss(),
        classes: confusion.per_class(names),
        confusion,
        mistakes,
    })
}

/// The probability of each class for each picture. `answer` gives the network's logits for a batch,
/// as in [`evaluate`].
///
/// # Shapes
/// `n` pictures of any size → `[n, classes]`.
///
/// # Errors
/// If the preprocessing contradicts itself, or the network refuses what it makes of the pictures.
pub fn predict<T: Float>(
    answer: impl FnOnce(Tensor<f32>) -> residual_nn::Result<Tensor<T>>,
    preprocess: &Preprocess,
    pictures: &[Image],
) -> Result<Tensor<T>> {
    preprocess.check()?;
    let input = preprocess.input;
    let shape = [pictures.len(), input.channels, input.height, input.width];
    let mut images = Tensor::try_unfilled(shape, Layout::ChannelsLast).map_err(residual_nn::Error::from)?;
    for (picture, slot) in pictures.iter().zip(images.as_mut_slice().chunks_exact_mut(input.elements())) {
        let resized = preprocess.resize(picture.clone())?;
        preprocess.write(&resized, Placement::default(), slot)?;
    }
    let probabilities = softmax::forward(&answer(images)?).map_err(residual_nn::Error::from)?;
    Ok(probabilities)
}

/// What a network answers to a batch when it goes through its layers, one after the other.
pub fn layer_by_layer<T: Float>(
    net: &dyn Module<T>,
) -> impl FnMut(Tensor<f32>) -> residual_nn::Result<Tensor<T>> {
    move |images| {
        let tape = Tape::without_recording();
        Ok(net.forward(&tape.input(in_precision(images)), Mode::Eval)?.value().clone())
    }
}

/// A loader's images in the precision of the network.
pub(crate) fn in_precision<T: Float>(images: Tensor<f32>) -> Tensor<T> {
    Entry::from(images).to_float()
}
