//! How `eval`, `predict`, `explain` and `convert` open a network: a file, with what they are told about it if it
//! does not say everything itself, or the network that is part of the command.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use residual_data::PictureFiles;
use residual_model::{Description, ModelSpec, OpenOptions, Opened};
use residual_train::RunFolder;
use residual_weights::{Rename, Weights};

use crate::{error::Result, output::note};

/// What the network is called that is part of the command. A file of that name comes first.
const BUILT_IN: &str = "emotions";

/// The network that a command is given.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The one that is part of the command.
    BuiltIn,
    File(PathBuf),
}

impl From<OsString> for Source {
    fn from(name: OsString) -> Self {
        let path = PathBuf::from(name);
        if path == Path::new(BUILT_IN) && !path.exists() {
            return Self::BuiltIn;
        }
        Self::File(best_of_run(&path).unwrap_or(path))
    }
}

/// The best checkpoint in the folder of a run, if this is one.
fn best_of_run(path: &Path) -> Option<PathBuf> {
    Some(RunFolder::open(path).best()).filter(|best| best.exists())
}

impl Source {
    /// The parts of `[CKPT] PATH…`: whoever names pictures alone means the network that is part of the command.
    pub(super) fn with_pictures(mut arguments: Vec<PathBuf>) -> (Self, Vec<PathBuf>) {
        let is_network = |path: &PathBuf| match path.is_dir() {
            true => best_of_run(path).is_some(),
            false => !PictureFiles::is_picture(path),
        };
        match arguments.first().is_some_and(is_network) {
            true => (arguments.remove(0).into_os_string().into(), arguments),
            false => (Self::BuiltIn, arguments),
        }
    }

    pub(super) fn is_built_in(&self) -> bool {
        matches!(self, Self::BuiltIn)
    }

    /// The file, or the name that stands for it.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::BuiltIn => Path::new(BUILT_IN),
            Self::File(path) => path,
        }
    }

    /// Its tensors.
    pub(super) fn weights(&self, options: &OpenOptions) -> Result<Weights> {
        match self {
            Self::BuiltIn => Ok(residual_emotions::weights()),
            Self::File(path) => Ok(options.weights(path)?),
        }
    }

    /// The network with its weights.
    pub(super) fn read(&self, options: &OpenOptions) -> Result<Opened<f32>> {
        Ok(options.build(self.weights(options)?, self.path())?)
    }
}

const HEADING: &str = "Weights from elsewhere";

/// What a file does not say.
#[derive(clap::Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Opening {
    /// The network: a name (`residual summary --list`) or a TOML file [default: recognized by its tensors].
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Option<String>,
    /// Subtracted from each channel (of 0 to 1), such as 0.485,0.456,0.406.
    #[arg(long, value_delimiter = ',', requires = "std")]
    pub(super) mean: Vec<f32>,
    /// Divides each channel, such as 0.229,0.224,0.225.
    #[arg(long, value_delimiter = ',', requires = "mean")]
    pub(super) std: Vec<f32>,
    /// Height and width of the network's input [default: what the network is made for].
    #[arg(long, value_name = "HxW", value_parser = super::size)]
    pub(super) input: Option<[usize; 2]>,
    /// Resize the shorter side of pictures to this before they are cropped to the input.
    #[arg(long, value_name = "N")]
    pub(super) resize: Option<usize>,
    /// Rename tensors, such as linear=fc.
    #[arg(long, value_name = "A=B")]
    pub(super) rename: Vec<Rename>,
}

impl Opening {
    /// The options that a file is opened with.
    pub(super) fn options(&self) -> Result<OpenOptions> {
        let mut options = OpenOptions::new().rename(self.rename.clone());
        if let Some(model) = &self.model {
            options = options.model(ModelSpec::open(model)?);
        }
        if !self.mean.is_empty() {
            options = options.mean(&*self.mean).std(&*self.std);
        }
        if let Some(input) = self.input {
            options = options.input(input);
        }
        if let Some(resize) = self.resize {
            options = options.resize(resize);
        }
        Ok(options)
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        let Self { model, mean, std, input, resize, rename } = self;
        let lists_are_empty = mean.is_empty() && std.is_empty() && rename.is_empty();
        model.is_none() && input.is_none() && resize.is_none() && lists_are_empty
    }

    /// Reports which network was recognized in a file without a description.
    pub(super) fn tell(&self, about: &Description, path: &Path) {
        if about.is_said || self.model.is_some() {
            return;
        }
        let preprocess = about.preprocess.as_ref().filter(|_| self.mean.is_empty());
        let preprocess = preprocess.map(|preprocess| {
            let numbers =
                |numbers: &[f32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let [mean, std] = [&preprocess.mean, &preprocess.std].map(|values| numbers(values));
            format!(", and taken to be trained with --mean {mean} --std {std}")
        });
        note(format_args!(
            "{} does not say what it is; by its tensors it is {}{}",
            path.display(),
            about.network.name,
            preprocess.unwrap_or_default()
        ));
    }
}
