//! A trained network on pictures whose classes are known.

use std::{fmt, ops::ControlFlow, sync::Arc};

use residual_autograd::Tape;
use residual_data::{Dataset, Loader, LoaderConfig, Pictures, Preprocess};
use residual_kernels::cross_entropy;
use residual_nn::{Mode, Module};
use residual_tensor::{Float, Tensor};
use residual_weights::Entry;
use serde::Serialize;

use crate::{
    Calibration, ClassScore, Confusion, Result, Tally, TrainError,
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
    /// Whether it is right as often as it is sure.
    #[serde(skip)]
    pub calibration: Calibration,
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
    let names = loader.samples().dataset().classes();
    let mut tally = Tally::default();
    let mut confusion = Confusion::new(names.len());
    let mut calibration = Calibration::new();
    let mut mistakes: Vec<Mistake> = Vec::new();
    for batch in loader.epoch(0)? {
        let batch = batch?;
        let logits = answer(batch.inputs)?;
        let (loss, probabilities) =
            cross_entropy::forward(&logits, &batch.targets, 0.0).map_err(residual_nn::Error::from)?;
        tally.add(&logits, &batch.targets, loss.to_f64());
        let images = rows(&logits, &batch.targets).zip(rows(&probabilities, &batch.targets));
        for ((logits, probabilities), (&label, &index)) in
            images.zip(batch.targets.iter().zip(&batch.indices))
        {
            let predicted = predicted(logits);
            confusion.add(label, predicted);
            let probability = probabilities[predicted].to_f64();
            calibration.add(probability, predicted == label);
            if predicted != label {
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
        calibration,
        mistakes,
    })
}

/// The pictures of a data set as a network sees them, all of them, in order, for [`evaluate`].
///
/// # Errors
/// [`TrainError::Classes`] if the data has other classes than the network;
/// [`TrainError::Data`] if it is empty.
pub fn loader(
    classes: &[String],
    preprocess: &Preprocess,
    data: Arc<dyn Dataset>,
    batch: usize,
) -> Result<Loader> {
    if data.classes() != classes {
        let listed = |classes: &[String]| format!("{} classes ({})", classes.len(), FirstFew(classes));
        let (network, found) = (listed(classes), listed(data.classes()));
        return Err(TrainError::Classes { network, data: data.name().to_owned(), found });
    }
    Ok(Loader::new(Pictures::new(data, preprocess.clone())?, LoaderConfig::eval(batch))?)
}

/// The first names of many.
pub(crate) struct FirstFew<'a>(pub(crate) &'a [String]);

impl fmt::Display for FirstFew<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FEW: usize = 5;
        let shown: Vec<String> =
            self.0.iter().take(FEW).map(|name| name.escape_debug().to_string()).collect();
        f.write_str(&shown.join(", "))?;
        if self.0.len() > FEW { f.write_str(", …") } else { Ok(()) }
    }
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
