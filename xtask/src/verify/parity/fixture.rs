//! What is in a fixture; the format is described in `fixtures/README.md`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use residual_tensor::{Float, Shape, Tensor};
use serde::{Deserialize, de::IgnoredAny};

use super::formula::uniform;
use crate::verify::Failure;

/// A file of any kind.
pub(in crate::verify) enum Fixture {
    Network(Box<NetworkCase>),
    Operations(Operations),
    Pictures(Pictures),
}

/// What PyTorch computes with a network.
#[derive(Deserialize)]
pub(in crate::verify) struct NetworkCase {
    pub(super) model: String,
    pub(in crate::verify) input_shape: Vec<usize>,
    pub(super) classes: usize,
    pub(super) parameters: usize,
    /// Shapes by key, in PyTorch's order.
    pub(super) state_dict: IndexMap<String, Shape>,
    pub(in crate::verify) eval: Eval,
    pub(super) train: Option<Train>,
}

#[derive(Deserialize)]
pub(in crate::verify) struct Eval {
    pub(in crate::verify) logits: Vec<Vec<f64>>,
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
    /// Sums over all elements, each with a weight of its own from a formula: whichever element is
    /// wrong, these are, too. Older files have none.
    #[serde(default)]
    pub(super) projections: Vec<f64>,
}

/// Projections in a digest.
const PROJECTIONS: usize = 4;

impl Digest {
    pub(super) fn of<T: Float>(tensor: &Tensor<T>) -> Self {
        let values = doubles(tensor);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let l2 = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let first8 = values[..values.len().min(8)].to_vec();
        let last4 = values[values.len().saturating_sub(4)..].to_vec();
        let projection = |k: usize| {
            let weights = uniform(&format!("projection.{k}"), values.len());
            values.iter().zip(weights).map(|(value, weight)| value * (2.0 * weight - 1.0)).sum()
        };
        let projections = (0..PROJECTIONS).map(projection).collect();
        Self { shape: tensor.shape().to_vec(), mean, l2, first8, last4, projections }
    }

    /// The number of elements.
    pub(super) fn elements(&self) -> f64 {
        self.shape.iter().product::<usize>() as f64
    }
}

/// The elements in row-major order.
pub(in crate::verify) fn doubles<T: Float>(tensor: &Tensor<T>) -> Vec<f64> {
    tensor.to_vec().into_iter().map(Float::to_f64).collect()
}

/// What PyTorch computes with single operations.
#[derive(Deserialize)]
pub(in crate::verify) struct Operations {
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
    pub(super) stride: Pair,
    #[serde(default)]
    pub(super) padding: Pair,
    #[serde(default)]
    pub(super) dilation: Pair,
    #[serde(default)]
    pub(super) groups: usize,
    #[serde(default)]
    pub(super) kernel: Pair,
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

/// For rows and columns, or one number for both.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(super) enum Pair {
    Same(usize),
    Each([usize; 2]),
}

impl Default for Pair {
    fn default() -> Self {
        Self::Same(0)
    }
}

impl Pair {
    pub(super) fn each(self) -> [usize; 2] {
        match self {
            Self::Same(both) => [both; 2],
            Self::Each(each) => each,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Values {
    pub(super) shape: Shape,
    pub(super) values: Vec<f64>,
}

/// An input's shape, alone or as generate.py writes it. Values stand there if they do not follow
/// the formula.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Input {
    Short(Shape),
    Long { shape: Shape, values: Option<Vec<f64>> },
}

impl Input {
    pub(super) fn shape(&self) -> &Shape {
        let (Self::Short(shape) | Self::Long { shape, .. }) = self;
        shape
    }

    pub(super) fn values(&self) -> Option<&[f64]> {
        match self {
            Self::Long { values: Some(values), .. } => Some(values),
            _ => None,
        }
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

/// What Pillow and torchvision make of pictures.
#[derive(Deserialize)]
pub(in crate::verify) struct Pictures {
    pub(super) pictures: Vec<PictureCase>,
}

#[derive(Deserialize)]
pub(super) struct PictureCase {
    /// The formula of its pixels: `noise` or `ramp`.
    pub(super) kind: String,
    /// Rows and columns before.
    pub(super) source: [usize; 2],
    /// Before it is resized, it is made grey if this is 1.
    pub(super) channels: usize,
    pub(super) shorter_side: usize,
    /// Rows and columns that are cut out of the middle.
    pub(super) crop: [usize; 2],
    /// The pixels after that, channels innermost, two hexadecimal digits each.
    pub(super) pixels: String,
    pub(super) mean: Vec<f32>,
    pub(super) std: Vec<f32>,
    pub(super) normalised: Digest,
}

/// Reads a fixture.
pub(super) fn read(path: &Path) -> Result<Fixture, Failure> {
    #[derive(Deserialize)]
    struct Kind {
        operations: Option<IgnoredAny>,
        pictures: Option<IgnoredAny>,
    }
    let text = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let fixture =
        serde_json::from_slice::<Kind>(&text).and_then(|kind| match (kind.operations, kind.pictures) {
            (Some(_), _) => serde_json::from_slice(&text).map(Fixture::Operations),
            (None, Some(_)) => serde_json::from_slice(&text).map(Fixture::Pictures),
            (None, None) => serde_json::from_slice(&text).map(Fixture::Network),
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
