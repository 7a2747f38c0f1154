//! A network with everything that is needed to use it, and the file that holds it: a safetensors
//! file with the weights under torchvision's names, and the rest as JSON in the metadata.

use std::{collections::BTreeMap, path::Path};

use residual_data::Preprocess;
use residual_tensor::Float;
use residual_weights::{Weights, onnx, safetensors};
use residual_zoo::Network;
use serde::Serialize;

use crate::{OpenOptions, Result, onnx_graph, weights_of};

/// A network with its weights, the names of its classes and what is done to a picture before the
/// network sees it.
///
/// ```no_run
/// use residual_model::Model;
///
/// let model = Model::<f32>::open("runs/faces-1/best.safetensors")?;
/// println!("{}: {}", model.net.config().name, model.classes.join(", "));
/// # Ok::<(), residual_model::ModelError>(())
/// ```
#[derive(Debug)]
pub struct Model<T: Float> {
    /// The network.
    pub net: Network<T>,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// What is done to a picture before the network sees it.
    pub preprocess: Preprocess,
}

/// What the metadata's `format` says.
pub(crate) const FORMAT: &str = "residual model 1";
/// What it said in the checkpoints of a version that knew no other files. They hold the same.
pub(crate) const FORMAT_OF_CHECKPOINTS: &str = "residual checkpoint 1";

impl<T: Float> Model<T> {
    /// Reads a model from a file that [`save`](Self::save) has written, a checkpoint of
    /// `residual-train`, or weights that are recognized as [`OpenOptions`] says.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        OpenOptions::new().read(path)?.model(path)
    }

    /// The content of a file that holds the model.
    pub fn to_weights(&self) -> Weights {
        let mut weights = weights_of(&self.net);
        weights.metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("model".to_owned(), json(self.net.config())),
            ("classes".to_owned(), json(&self.classes)),
            ("preprocess".to_owned(), json(&self.preprocess)),
        ]);
        weights
    }

    /// The model as ONNX, as [`onnx_graph`] has it, with `classes` and `preprocess` as JSON in the metadata.
    ///
    /// # Errors
    /// If pictures of that size are too small, with the layer that would refuse them.
    pub fn to_onnx(&self, size: Option<[usize; 2]>, folded: bool) -> Result<onnx::OnnxGraph> {
        let mut graph = onnx_graph(&self.net, size, folded)?;
        graph.weights.metadata = BTreeMap::from([
            ("classes".to_owned(), json(&self.classes)),
            ("preprocess".to_owned(), json(&self.preprocess)),
        ]);
        Ok(graph)
    }

    /// Writes the model, replacing a file that is there only when the new one is complete.
    ///
    /// # Errors
    /// [`ModelError::Weights`](crate::ModelError::Weights) with the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(safetensors::write(path, &self.to_weights())?)
    }
}

fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part).expect("names, numbers and lists")
}
