//! Defaults that a user sets once, for this machine or for a project: `residual.toml` in the folder
//! where the command runs, and `config.toml` in the folder `residual` of the platform's folder for
//! settings, or the file that `RESIDUAL_CONFIG` names.
//!
//! What is nearer counts: options, then the environment, then the project's file, then the user's,
//! then what is built in. What a run follows from is in a run's own `config.toml` and in nothing
//! else, so that a run can be repeated elsewhere.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use residual_data::DataSpec;
use serde::Deserialize;

use crate::{
    error::{Error, Result},
    output::Color,
};

/// What can be set. In the environment it is called `RESIDUAL_` and the key in capitals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Threads that compute.
    pub(crate) threads: Option<u16>,
    /// Whether output is colored.
    pub(crate) color: Option<Color>,
    /// Where `train` makes the folders of runs.
    pub(crate) runs: Option<PathBuf>,
    /// Where data sets are, if not in the folder where the command runs.
    pub(crate) data: Option<PathBuf>,
}

const PROJECT: &str = "residual.toml";
/// Names the user's file.
const USER: &str = "RESIDUAL_CONFIG";

impl Settings {
    /// Those of the environment, the project and the user.
    pub(crate) fn load() -> Result<Self> {
        let environment = Self {
            threads: parsed("RESIDUAL_THREADS")?,
            color: parsed("RESIDUAL_COLOR")?,
            runs: env::var_os("RESIDUAL_RUNS").map(PathBuf::from),
            data: env::var_os("RESIDUAL_DATA").map(PathBuf::from),
        };
        let project = Self::open(Path::new(PROJECT), false)?;
        let user = match (env::var_os(USER), etcetera::choose_base_strategy()) {
            (Some(named), _) => Self::open(Path::new(&named), true)?,
            (None, Ok(folders)) => Self::open(&folders.config_dir().join("residual/config.toml"), false)?,
            (None, Err(_)) => Self::default(), // a user without a home
        };
        environment.or(project).or(user).checked()
    }

    /// Reads a file; one that need not be there may be absent.
    fn open(path: &Path, must_exist: bool) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
                return Ok(Self::default());
            }
            Err(source) => return Err(Error::Read { path: path.into(), source }),
        };
        let mut settings: Self = toml::from_str(&text).map_err(|error| {
            let line = 1 + error.span().map_or(0, |span| text[..span.start].matches('\n').count());
            Error::Usage(format!("{}, line {line}: {}", path.display(), error.message()))
        })?;
        // Folders are relative to the file that names them.
        let folder = path.parent().unwrap_or(Path::new(""));
        for named in [&mut settings.runs, &mut settings.data].into_iter().flatten() {
            *named = folder.join(&*named);
        }
        Ok(settings)
    }

    /// These, and where they say nothing, those.
    fn or(self, those: Self) -> Self {
        Self {
            threads: self.threads.or(those.threads),
            color: self.color.or(those.color),
            runs: self.runs.or(those.runs),
            data: self.data.or(those.data),
        }
    }

    fn checked(self) -> Result<Self> {
        match self.threads {
            Some(threads) if !(1..=1024).contains(&threads) => {
                Err(Error::Usage(format!("threads must be between 1 and 1024, but is {threads}")))
            }
            _ => Ok(self),
        }
    }

    /// A data set whose relative path leads nowhere from here is looked for in the data folder.
    pub(crate) fn locate(&self, spec: DataSpec) -> DataSpec {
        let text = spec.to_string();
        let (Some(folder), Some((kind, path))) = (&self.data, text.split_once(':')) else { return spec };
        let there = folder.join(path);
        match Path::new(path).exists() || !there.exists() {
            true => spec,
            false => format!("{kind}:{}", there.display()).parse().unwrap_or(spec),
        }
    }
}

/// The value of a variable, if it is set.
fn parsed<T: serde::de::DeserializeOwned>(variable: &str) -> Result<Option<T>> {
    let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy();
    // A number or a word, as in the file.
    let as_number = value.parse().ok().map(toml::Value::Integer);
    let as_toml = as_number.unwrap_or_else(|| toml::Value::String(value.clone().into_owned()));
    let refused = |error: toml::de::Error| {
        Error::Usage(format!("the environment variable {variable} is '{value}': {}", error.message()))
    };
    as_toml.try_into().map(Some).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearer_counts() {
        let near = Settings { threads: Some(2), ..Settings::default() };
        let far = Settings { threads: Some(8), runs: Some("here".into()), ..Settings::default() };
        assert_eq!(
            near.or(far),
            Settings { threads: Some(2), runs: Some("here".into()), ..Settings::default() }
        );
    }

    #[test]
    fn files_say_where_they_are_wrong_and_what_their_folders_are_relative_to() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("residual.toml");
        fs::write(&path, "threads = 2\nruns = 'all'\ncolor = 'never'").unwrap();
        let settings = Settings::open(&path, true).unwrap();
        assert_eq!(settings.runs.unwrap(), place.path().join("all"));
        assert_eq!((settings.threads, settings.color), (Some(2), Some(Color::Never)));
        for (text, expected) in [
            ("threads = 2\nthread = 3", "residual.toml, line 2: unknown field `thread`"),
            ("color = 'sometimes'", "unknown variant `sometimes`"),
            ("threads = 'many'", "line 1: invalid type"),
        ] {
            fs::write(&path, text).unwrap();
            let message = Settings::open(&path, true).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{message}");
        }
        assert_eq!(Settings::open(&place.path().join("absent"), false).unwrap(), Settings::default());
        assert!(Settings::open(&place.path().join("absent"), true).is_err());
        assert!(Settings { threads: Some(0), ..Settings::default() }.checked().is_err());
    }

    #[test]
    fn data_is_looked_for_in_its_folder() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("pets")).unwrap();
        let settings = Settings { data: Some(place.path().into()), ..Settings::default() };
        let located = |spec: &str| settings.locate(spec.parse().unwrap()).to_string();
        assert_eq!(located("folder:pets"), format!("folder:{}", place.path().join("pets").display()));
        assert_eq!(located("folder:nowhere"), "folder:nowhere");
        assert_eq!(located("faces"), "faces");
        assert_eq!(Settings::default().locate("folder:pets".parse().unwrap()).to_string(), "folder:pets");
    }
}
