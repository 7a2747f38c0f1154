//! Pictures in, class names out.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;
use residual_data::{Picture, Placement, Preprocess};
use residual_infer::Compiled;
use residual_kernels::softmax;
use residual_nn::Error;
use residual_tensor::{Layout, Tensor};
use residual_weights::onnx;

use crate::{Model, OpenOptions, Prediction, Result, Views};

/// A trained network that classifies pictures. Any number of threads can ask it at once: they share its
/// weights, and each has memory of its own for what is between.
///
/// ```no_run
/// use residual_model::{Classifier, Picture};
///
/// let model = Classifier::open("resnet50.pth")?;
/// for guess in model.predict(&Picture::open("cat.jpg")?)?.top(3) {
///     println!("{:5.1} % {}", 100.0 * guess.probability, guess.class);
/// }
/// # Ok::<(), residual_model::ModelError>(())
/// ```
#[derive(Debug)]
pub struct Classifier {
    model: Model<f32>,
    classes: Arc<[String]>,
    compiled: Compiled,
    views: Views,
    /// How pictures are prepared for the views.
    preprocess: Preprocess,
}

/// How many pictures go through the network at once.
const BATCH: usize = 32;

impl Classifier {
    /// Opens a file of any supported format: one of this project, which says everything, or weights of a
    /// network of the zoo, such as torchvision's and timm's. [`OpenOptions`] says what is taken for granted
    /// then.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().open(path)
    }

    /// To say what a file does not.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// A classifier of a model that is there already. It reads the weights when they are first needed: do not
    /// train them from then on.
    ///
    /// # Panics
    /// If the model does not have a name for each class of its network.
    pub fn new(model: Model<f32>) -> Self {
        assert_eq!(model.classes.len(), model.net.config().classes, "a name for each class of the network");
        let (classes, compiled) = (model.classes.clone().into(), Compiled::new(&model.net));
        let preprocess = model.preprocess.clone();
        Self { model, classes, compiled, views: Views::One, preprocess }
    }

    /// The same, answering with the mean over these views of each picture.
    ///
    /// # Errors
    /// [`ModelError::Views`](crate::ModelError::Views) if the network cannot have them.
    pub fn with_views(self, views: Views) -> Result<Self> {
        Ok(Self { preprocess: views.preprocess(&self.model.preprocess)?, views, ..self })
    }

    /// What is done to a picture before [`logits`](Self::logits) gets it: what the model does, and the margin
    /// that the views need.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The network, its classes, and what is done to a picture before the network sees it.
    pub fn model(&self) -> &Model<f32> {
        &self.model
    }

    /// What a picture shows.
    ///
    /// # Errors
    /// If the picture cannot be brought to what the network takes.
    pub fn predict(&self, picture: &Picture) -> Result<Prediction> {
        let mut predictions = self.predict_batch(std::slice::from_ref(picture))?;
        Ok(predictions.remove(0))
    }

    /// What each of several pictures shows, of any sizes. Faster than one after the other.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_batch(&self, pictures: &[Picture]) -> Result<Vec<Prediction>> {
        let mut predictions = Vec::with_capacity(pictures.len());
        for pictures in pictures.chunks(BATCH) {
            let logits = self.logits(&prepared(pictures, &self.preprocess)?)?;
            let probabilities = softmax::forward(&logits).map_err(Error::from)?;
            let rows = probabilities.as_slice().chunks_exact(self.classes.len());
            predictions.extend(rows.map(|row| Prediction::new(row.to_vec(), self.classes.clone())));
        }
        Ok(predictions)
    }

    /// The network's answer to pictures that are prepared already, as [`preprocess`](Self::preprocess) says;
    /// the mean over the views, if there are several.
    ///
    /// # Shapes
    /// `[n, channels, height, width]` → `[n, classes]`.
    ///
    /// # Errors
    /// If the network cannot take pictures of that shape, with the layer that would refuse them.
    pub fn logits(&self, images: &Tensor<f32>) -> residual_nn::Result<Tensor<f32>> {
        self.views.logits(images, |view| self.compiled.run(view))
    }

    /// Writes the model to a file that says everything about it. A file that is there is replaced only
    /// when the new one is complete.
    ///
    /// # Errors
    /// [`ModelError::Weights`](crate::ModelError::Weights) with the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.model.save(path)
    }

    /// Writes the model as ONNX, with the names of the classes and the preprocessing in the metadata;
    /// `size` and `folded` as for [`onnx_graph`](crate::onnx_graph).
    ///
    /// # Errors
    /// If pictures of that size are too small, or the file cannot be written.
    pub fn export_onnx(&self, path: impl AsRef<Path>, size: Option<[usize; 2]>, folded: bool) -> Result<()> {
        Ok(onnx::write(path, &self.model.to_onnx(size, folded)?)?)
    }
}

/// Pictures as the network sees them, `[n, channels, height, width]`.
fn prepared(pictures: &[Picture], preprocess: &Preprocess) -> Result<Tensor<f32>> {
    preprocess.check()?;
    let input = preprocess.input;
    let shape = [pictures.len(), input.channels, input.height, input.width];
    let mut images = Tensor::try_unfilled(shape, Layout::ChannelsLast).map_err(Error::from)?;
    let slots = images.as_mut_slice().par_chunks_exact_mut(input.elements());
    pictures.par_iter().zip(slots).try_for_each(|(picture, slot)| {
        let resized = preprocess.resize(picture.clone())?;
        preprocess.write(&resized, Placement::default(), slot)
    })?;
    Ok(images)
}
