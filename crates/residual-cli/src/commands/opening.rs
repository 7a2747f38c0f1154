//! What `eval`, `predict` and `convert` are told about files that do not say everything themselves.

use std::path::Path;

use residual_model::{Description, ModelSpec, OpenOptions};
use residual_weights::Rename;

use crate::{error::Result, output::note};

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

    /// Tells what a file is taken for that does not say what it is.
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
