//! Opening a file: what it says about the model in it, what its tensors show, and what the caller says.

use std::{collections::BTreeMap, path::Path};

use residual_data::{ImageShape, Preprocess};
use residual_tensor::Float;
use residual_weights::{Rename, Weights};
use residual_zoo::{Network, NetworkConfig};
use serde::de::DeserializeOwned;

use crate::{
    Classifier, Model, ModelError, ModelSpec, Result, labels,
    model::{FORMAT, FORMAT_OF_CHECKPOINTS},
    recognize::{fitted, recognize},
    weights::{load_weights, take_training},
};

/// How to open the file of a model. What is not said here is taken from the file:
///
/// 1. A file of this project says which network it holds, its classes and its preprocessing.
/// 2. Else the network is recognized by the names and shapes of the tensors, if the zoo has it; names of
///    well-known repositories are translated first. Networks that differ in what no tensor shows are taken
///    for torchvision's: `resnet50` is version 1.5, with the stride in the 3×3.
/// 3. A network for ImageNet is given ImageNet's preprocessing, as torchvision has it (the shorter side to
///    256, the middle 224×224), and with 1000 classes ImageNet's names; a network for CIFAR the mean and
///    deviation of CIFAR-10, and with 10 classes its names. Other classes are called `0`, `1`, ….
///
/// ```no_run
/// use residual_model::Classifier;
///
/// let model = Classifier::options()
///     .model("cifar_resnet20")
///     .mean([0.485, 0.456, 0.406])
///     .std([0.229, 0.224, 0.225])
///     .open("resnet20-12fca82f.th")?;
/// # Ok::<(), residual_model::ModelError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenOptions {
    model: Option<ModelSpec>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    input: Option<[usize; 2]>,
    resize: Option<usize>,
    rename: Vec<Rename>,
    classes: Option<Vec<String>>,
}

/// What a file holds.
#[derive(Debug)]
pub struct Opened<T: Float> {
    /// The network with its weights.
    pub net: Network<T>,
    /// What is known about it.
    pub about: Description,
}

/// What is known about the model in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The network.
    pub network: NetworkConfig,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// Whether the file or the options name the classes; else they have well-known names, or numbers.
    pub has_class_names: bool,
    /// What is done to a picture before the network sees it, if that is known.
    pub preprocess: Option<Preprocess>,
    /// Whether the file says all of this. Else it is what its tensors show and the options say.
    pub is_said: bool,
}

/// Which network a file holds.
struct Identity {
    network: NetworkConfig,
    /// Whether it is one by name, of which well-known facts are true.
    is_of_zoo: bool,
    /// All that the file says, if it is one of this project.
    said: Option<Description>,
}

impl OpenOptions {
    /// Everything as the file has it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The network: a name of the zoo, or a description.
    #[must_use]
    pub fn model(self, model: impl Into<ModelSpec>) -> Self {
        Self { model: Some(model.into()), ..self }
    }

    /// What is subtracted from each channel, of values from 0 to 1.
    #[must_use]
    pub fn mean(self, mean: impl Into<Vec<f32>>) -> Self {
        Self { mean: Some(mean.into()), ..self }
    }

    /// What divides each channel.
    #[must_use]
    pub fn std(self, std: impl Into<Vec<f32>>) -> Self {
        Self { std: Some(std.into()), ..self }
    }

    /// Height and width of the network's input. Pictures are resized to cover it, unless
    /// [`resize`](Self::resize) says otherwise, and the middle is taken.
    #[must_use]
    pub fn input(self, input: [usize; 2]) -> Self {
        Self { input: Some(input), ..self }
    }

    /// The length that the shorter side of a picture is resized to before the middle is taken.
    #[must_use]
    pub fn resize(self, shorter_side: usize) -> Self {
        Self { resize: Some(shorter_side), ..self }
    }

    /// How tensors are renamed; without rules, as well-known repositories need it.
    #[must_use]
    pub fn rename(self, rules: impl IntoIterator<Item = Rename>) -> Self {
        Self { rename: rules.into_iter().collect(), ..self }
    }

    /// The names of the classes.
    #[must_use]
    pub fn classes<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { classes: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Opens a file, to classify pictures.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`ModelError::Preprocessing`] if it is not known what is done to a picture.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Classifier> {
        let path = path.as_ref();
        Ok(Classifier::new(self.read(path)?.model(path)?))
    }

    /// Reads a file, in any precision, and whether or not all of it is known.
    ///
    /// # Errors
    /// As [`weights`](Self::weights) and [`build`](Self::build).
    pub fn read<T: Float>(&self, path: impl AsRef<Path>) -> Result<Opened<T>> {
        let path = path.as_ref();
        self.build(self.weights(path)?, path)
    }

    /// Reads the tensors of a file of any format and gives them torchvision's names. Of a checkpoint, the
    /// optimizer's tensors are left out.
    ///
    /// # Errors
    /// [`ModelError::Weights`] if the file cannot be read, [`ModelError::Rename`] if a rule does not fit
    /// it; both with the path.
    pub fn weights(&self, path: impl AsRef<Path>) -> Result<Weights> {
        let path = path.as_ref();
        let mut weights = residual_weights::load(path)?;
        drop(take_training(&mut weights));
        if self.rename.is_empty() {
            weights.rename_known();
        }
        weights.rename(&self.rename).map_err(|source| ModelError::Rename { path: path.into(), source })?;
        Ok(weights)
    }

    /// Builds the network that the content of a file, which was read from `path`, belongs to. Each weight is
    /// let go of as soon as it is in its place.
    ///
    /// # Errors
    /// As [`describe`](Self::describe); [`ModelError::Mismatch`] if the tensors are not the network's,
    /// with all differences and the path.
    pub fn build<T: Float>(&self, weights: Weights, path: impl AsRef<Path>) -> Result<Opened<T>> {
        let path = path.as_ref();
        let identity = self.identify(&weights, path)?;
        // Before the rest: that a tensor is missing explains more than what follows from it.
        let net = identity.network.build_blank()?;
        load_weights(&net, weights).map_err(|mismatch| ModelError::mismatch(path, mismatch))?;
        Ok(Opened { net, about: self.complete(identity, path)? })
    }

    /// What is known about the content of a file, which was read from `path`.
    ///
    /// # Errors
    /// [`ModelError::Unrecognized`] if neither the file nor the options say which network it is, and the
    /// tensors do not show it; [`ModelError::Description`] if what the file says makes no sense;
    /// [`ModelError::Zoo`] if there is no such network; [`ModelError::Data`] for preprocessing that
    /// contradicts itself, [`ModelError::Classes`] for another number of names.
    pub fn describe(&self, weights: &Weights, path: impl AsRef<Path>) -> Result<Description> {
        let path = path.as_ref();
        self.complete(self.identify(weights, path)?, path)
    }

    /// Which network it is.
    fn identify(&self, weights: &Weights, path: &Path) -> Result<Identity> {
        let said = Description::said(weights, path)?;
        let (network, is_of_zoo) = match (&self.model, &said) {
            (Some(model), _) => (fitted(model.config()?, weights), matches!(model, ModelSpec::Named(_))),
            (None, Some(said)) => (said.network.clone(), false),
            (None, None) => {
                let found = recognize(weights);
                (found.ok_or_else(|| ModelError::Unrecognized { path: path.into() })?, true)
            }
        };
        Ok(Identity { network, is_of_zoo, said })
    }

    /// What else is known about it.
    fn complete(&self, identity: Identity, path: &Path) -> Result<Description> {
        let Identity { network, is_of_zoo, said } = identity;
        let is_said = said.is_some() && self.model.is_none();
        let names_said = said.as_ref().is_some_and(|said| said.classes.len() == network.classes);
        let has_class_names = self.classes.is_some() || names_said;
        let (classes, preprocess) = match said {
            Some(said) if said.classes.len() == network.classes => (said.classes, said.preprocess),
            _ if is_of_zoo => (class_names(&network), well_known(&network)),
            _ => (labels::numbers(network.classes), None),
        };
        let classes = self.classes.clone().unwrap_or(classes);
        if classes.len() != network.classes {
            let (names, network) = (classes.len(), network.classes);
            return Err(ModelError::Classes { path: path.into(), names, network });
        }
        let preprocess = self.preprocess(&network, preprocess)?;
        Ok(Description { network, classes, has_class_names, preprocess, is_said })
    }

    /// The preprocessing that is known, with what the options say instead.
    fn preprocess(&self, network: &NetworkConfig, known: Option<Preprocess>) -> Result<Option<Preprocess>> {
        let mean = self.mean.clone().or_else(|| Some(known.as_ref()?.mean.clone()));
        let std = self.std.clone().or_else(|| Some(known.as_ref()?.std.clone()));
        let (Some(mean), Some(std)) = (mean, std) else { return Ok(None) };
        let [height, width] = network.native_size();
        let native = || Preprocess::new(ImageShape::new(network.input_channels, height, width));
        let mut preprocess = known.unwrap_or_else(native);
        if self.mean.is_some() || self.std.is_some() {
            preprocess = preprocess.normalise(&mean, &std);
        }
        if let Some([height, width]) = self.input {
            preprocess.input = ImageShape { height, width, ..preprocess.input };
            preprocess.shorter_side = None;
        }
        preprocess.shorter_side = self.resize.or(preprocess.shorter_side);
        preprocess.check()?;
        Ok(Some(preprocess))
    }
}

impl<T: Float> Opened<T> {
    /// The model, if all of it is known. It was read from `path`.
    ///
    /// # Errors
    /// [`ModelError::Preprocessing`] if it is not known what is done to a picture.
    pub fn model(self, path: impl AsRef<Path>) -> Result<Model<T>> {
        let Description { network, classes, preprocess, .. } = self.about;
        let unknown = || ModelError::Preprocessing { path: path.as_ref().into(), network: network.name };
        Ok(Model { net: self.net, classes, preprocess: preprocess.ok_or_else(unknown)? })
    }
}

impl Description {
    /// What a file of this project says, which was read from `path`; nothing, if it is another's.
    fn said(weights: &Weights, path: &Path) -> Result<Option<Self>> {
        let metadata = &weights.metadata;
        let refuse = |key, reason| ModelError::Description { path: path.into(), key, reason };
        match metadata.get("format").map(String::as_str) {
            Some(FORMAT | FORMAT_OF_CHECKPOINTS) => {}
            Some(other) if other.starts_with("residual ") => return Err(refuse("format", other.to_owned())),
            _ => return Ok(None),
        }
        let network: NetworkConfig = part(path, metadata, "model")?;
        let classes: Vec<String> = part(path, metadata, "classes")?;
        let preprocess: Preprocess = part(path, metadata, "preprocess")?;
        check_size(&network, &preprocess, weights).map_err(|(key, reason)| refuse(key, reason))?;
        if classes.len() != network.classes {
            return Err(refuse(
                "classes",
                format!("{} names for {} classes", classes.len(), network.classes),
            ));
        }
        Ok(Some(Self {
            network,
            classes,
            has_class_names: true,
            preprocess: Some(preprocess),
            is_said: true,
        }))
    }
}

/// What the classes of a network of the zoo are called, if it is one for a well-known data set.
fn class_names(network: &NetworkConfig) -> Vec<String> {
    match (network.native_size(), network.input_channels, network.classes) {
        ([224, 224], 3, 1000) => labels::imagenet(),
        ([32, 32], 3, 10) => labels::cifar10(),
        (_, _, classes) => labels::numbers(classes),
    }
}

/// What is done to pictures for a network of the zoo.
fn well_known(network: &NetworkConfig) -> Option<Preprocess> {
    match (network.native_size(), network.input_channels) {
        ([224, 224], 3) => Some(Preprocess::imagenet()),
        // Mean and deviation of the training pictures of CIFAR-10.
        ([32, 32], 3) => Some(
            Preprocess::new(ImageShape::new(3, 32, 32))
                .normalise(&[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616]),
        ),
        _ => None,
    }
}

/// Refuses a description of something much larger than the file that it is in, before memory is
/// asked for: it may have been tampered with.
fn check_size(
    network: &NetworkConfig,
    preprocess: &Preprocess,
    weights: &Weights,
) -> std::result::Result<(), (&'static str, String)> {
    const LONGEST_SIDE: usize = 8192;
    preprocess.check().map_err(|error| ("preprocess", error.to_string()))?;
    if preprocess.input.height.max(preprocess.input.width) > LONGEST_SIDE {
        return Err(("preprocess", format!("an input of {}", preprocess.input)));
    }
    let wide = |n: usize| n as u128;
    let held: u128 = weights.iter().map(|(_, entry)| wide(entry.shape().elements())).sum();
    let blocks: u128 = network.depths.iter().copied().map(wide).sum();
    if network.least_parameters() > held || blocks > wide(weights.len()) {
        return Err(("model", "the network is larger than the file".to_owned()));
    }
    Ok(())
}

fn part<P: DeserializeOwned>(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<P> {
    let refuse = |reason| ModelError::Description { path: path.into(), key, reason };
    let text = metadata.get(key).ok_or_else(|| refuse("it is absent".to_owned()))?;
    serde_json::from_str(text).map_err(|error| refuse(error.to_string()))
}
