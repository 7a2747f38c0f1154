//! What is in a fixture; the format is described in `fixtures/README.md`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use residual_tensor::{Float, Shape, Tensor};
use serde::{Deserialize, de::IgnoredAny};

use crate::verify::Failure;

/// A file of either kind.
pub(super) enum Fixture {
    Network(Box<Network>),
    Operations(Operations),
}

/// What PyTorch computes with a network.
#[derive(Deserialize)]
pub(super) struct Network {
    pub(super) model: String,
    pub(super) input_shape: Vec<usize>,
    pub(super) classes: usize,
    pub(super) parameters: usize,
    /// Shapes by key, in PyTorch's order.
    pub(super) state_dict: IndexMap<String, Shape>,
    pub(super) eval: Eval,
    pub(super) train: Option<Train>,
}

#[derive(Deserialize)]
pub(super) struct Eval {
    pub(super) logits: Vec<Vec<f64>>,
    pub(super) stages: IndexMap<String, Digest>,
}

/// Some steps of SGD.
#[derive(Deserialize)]
pub(super) struct Train {
    pub(super) labels: Vec<usize>,
    pub(super) optimizer: String,
    /// Of each step, before it.
    pub(super) losses: Vec<f64>,
    pub(super) first_step_gradients: IndexMap<String, Digest>,
    pub(super) after_steps: AfterSteps,
}

#[derive(Deserialize)]
pub(super) struct AfterSteps {
    pub(super) eval_logits: Vec<Vec<f64>>,
    pub(super) buffers: IndexMap<String, Digest>,
}

/// A tensor in short.
#[derive(Deserialize)]
pub(super) struct Digest {
    pub(super) shape: Vec<usize>,
    pub(super) mean: f64,
    pub(super) l2: f64,
    pub(super) first8: Vec<f64>,
    pub(super) last4: Vec<f64>,
}

impl Digest {
    pub(super) fn of<T: Float>(tensor: &Tensor<T>) -> Self {
        let values = doubles(tensor);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let l2 = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let first8 = values[..values.len().min(8)].to_vec();
        let last4 = values[values.len().saturating_sub(4)..].to_vec();
        Self { shape: tensor.shape().to_vec(), mean, l2, first8, last4 }
    }

    /// The number of elements.
    pub(super) fn elements(&self) -> f64 {
        self.shape.iter().product::<usize>() as f64
    }
}

/// The elements in row-major order.
pub(super) fn doubles<T: Float>(tensor: &Tensor<T>) -> Vec<f64> {
    tensor.to_vec().into_iter().map(Float::to_f64).collect()
}

/// What PyTorch computes with single operations.
#[derive(Deserialize)]
pub(super) struct Operations {
    pub(super) operations: Vec<Operation>,
    pub(super) sgd: Vec<Sgd>,
}

#[derive(Deserialize)]
pub(super) struct Operation {
    pub(super) op: String,
    pub(super) attrs: Attributes,
    pub(super) inputs: IndexMap<String, Input>,
    pub(super) output: Values,
    pub(super) gradients: IndexMap<String, Gradient>,
    pub(super) running_mean_after: Option<Vec<f64>>,
    pub(super) running_var_after: Option<Vec<f64>>,
}

/// Whatever the operations have, one or the other.
#[derive(Deserialize)]
pub(super) struct Attributes {
    #[serde(default)]
    pub(super) stride: usize,
    #[serde(default)]
    pub(super) padding: usize,
    #[serde(default)]
    pub(super) dilation: usize,
    #[serde(default)]
    pub(super) groups: usize,
    #[serde(default)]
    pub(super) kernel: usize,
    #[serde(default)]
    pub(super) training: bool,
    #[serde(default)]
    pub(super) momentum: f64,
    #[serde(default)]
    pub(super) eps: f64,
    #[serde(default)]
    pub(super) labels: Vec<usize>,
    #[serde(default)]
    pub(super) label_smoothing: f64,
    pub(super) logits_scale: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Values {
    pub(super) shape: Shape,
    pub(super) values: Vec<f64>,
}

/// An input's shape, alone or as generate.py writes it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Input {
    Short(Shape),
    Long { shape: Shape },
}

impl Input {
    pub(super) fn shape(&self) -> &Shape {
        let (Self::Short(shape) | Self::Long { shape }) = self;
        shape
    }
}

/// A gradient's values, alone or as generate.py writes them.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Gradient {
    Short(Vec<f64>),
    Long(Values),
}

impl Gradient {
    pub(super) fn values(&self) -> &[f64] {
        let (Self::Short(values) | Self::Long(Values { values, .. })) = self;
        values
    }
}

/// Steps of SGD on one parameter.
#[derive(Deserialize)]
pub(super) struct Sgd {
    pub(super) nesterov: bool,
    pub(super) lr: Vec<f64>,
    pub(super) momentum: f64,
    pub(super) weight_decay: f64,
    pub(super) parameters_after_each_step: Vec<Vec<f64>>,
}

/// Reads a fixture.
pub(super) fn read(path: &Path) -> Result<Fixture, Failure> {
    #[derive(Deserialize)]
    struct Kind {
        operations: Option<IgnoredAny>,
    }
    let text = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let fixture = serde_json::from_slice::<Kind>(&text).and_then(|kind| match kind.operations {
        Some(_) => serde_json::from_slice(&text).map(Fixture::Operations),
        None => serde_json::from_slice(&text).map(Fixture::Network),
    });
    Ok(fixture.map_err(|error| format!("{} is no fixture: {error}", path.display()))?)
}

/// Every JSON file of a folder, in the order of their names.
pub(super) fn all(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| format!("cannot read the fixtures in {}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let paths =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(unreadable)?;
    let mut files: Vec<PathBuf> = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("there are no fixtures in {}; generate.py writes them", folder.display()).into());
    }
    Ok(files)
}
