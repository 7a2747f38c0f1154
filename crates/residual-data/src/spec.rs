//! A data set named in one word, as on the command line and in configuration files.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    Corrupt, DataError, Dataset, Faces, ImageFolder, Result, Split, cifar10, cifar100, fer2013, idx,
};

/// Which data set, and where it is. Written as one word: `faces`, `faces:N`,
/// `faces:train=N,val=N,test=N,seed=N`, `cifar10:DIR`, `cifar100:DIR`, `fer2013:PATH`,
/// `folder:DIR`, `idx:DIR`.
///
/// ```
/// use residual_data::{Corrupt, DataSpec, Split};
///
/// let spec: DataSpec = "faces:700".parse()?;
/// let train = spec.open(Split::Train, Corrupt::Refuse)?;
/// assert_eq!((train.len(), train.classes().len()), (700, 7));
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DataSpec {
    /// The built-in faces.
    Faces(FacesSpec),
    /// CIFAR-10's binary files in this folder.
    Cifar10(PathBuf),
    /// CIFAR-100's binary files in this folder.
    Cifar100(PathBuf),
    /// Kaggle's table, or a folder of class folders.
    Fer2013(PathBuf),
    /// A folder of class folders.
    Folder(PathBuf),
    /// MNIST-like IDX files in this folder.
    Idx(PathBuf),
}

/// How many of the built-in faces, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FacesSpec {
    /// Faces to train on.
    pub train: usize,
    /// Faces to validate on.
    pub val: usize,
    /// Faces to test on.
    pub test: usize,
    /// Another seed draws other faces.
    pub seed: u64,
}

impl Default for FacesSpec {
    fn default() -> Self {
        Self { train: 7000, val: 1400, test: 1400, seed: 0 }
    }
}

impl DataSpec {
    /// Opens a part of the data set. What happens to pictures that cannot be decoded is up to
    /// `corrupt`; only folders of pictures have them.
    ///
    /// # Errors
    /// [`DataError`] saying which file or folder is missing or wrong.
    pub fn open(&self, split: Split, corrupt: Corrupt) -> Result<Arc<dyn Dataset>> {
        Ok(match self {
            Self::Faces(spec) => Arc::new(Faces::new(spec.seed, split, spec.size(split))),
            Self::Cifar10(dir) => Arc::new(cifar10(dir, split)?),
            Self::Cifar100(dir) => Arc::new(cifar100(dir, split)?),
            Self::Fer2013(path) => fer2013(path, split, corrupt)?,
            Self::Folder(dir) => Arc::new(ImageFolder::open(dir, split, corrupt)?),
            Self::Idx(dir) => Arc::new(idx(dir, split)?),
        })
    }
}

impl Default for DataSpec {
    fn default() -> Self {
        Self::Faces(FacesSpec::default())
    }
}

impl FacesSpec {
    fn size(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Val => self.val,
            Split::Test => self.test,
        }
    }
}

impl FromStr for DataSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        let path = || match rest {
            Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
            _ => Err(DataError::NoPath { kind: kind.into() }),
        };
        match kind {
            "faces" => rest.map_or(Ok(FacesSpec::default()), str::parse).map(Self::Faces),
            "cifar10" => path().map(Self::Cifar10),
            "cifar100" => path().map(Self::Cifar100),
            "fer2013" => path().map(Self::Fer2013),
            "folder" => path().map(Self::Folder),
            "idx" => path().map(Self::Idx),
            _ => Err(DataError::UnknownKind { spec: text.into() }),
        }
    }
}

/// More faces than anybody draws by intention.
const MOST_FACES: usize = 10_000_000;

/// `N` (with a fifth of it each for validation and test) or `train=N,val=N,test=N,seed=N` in
/// any order, each with its default.
impl FromStr for FacesSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(train @ ..=MOST_FACES) = text.parse::<usize>() {
            let held_out = train.div_ceil(5);
            return Ok(Self { train, val: held_out, test: held_out, ..Self::default() });
        }
        let mut spec = Self::default();
        for part in text.split(',') {
            let refuse = || DataError::FacesSetting { part: part.into() };
            let (key, value) = part.split_once('=').ok_or_else(refuse)?;
            let number: u64 = value.parse().map_err(|_| refuse())?;
            let count =
                || usize::try_from(number).ok().filter(|&count| count <= MOST_FACES).ok_or_else(refuse);
            match key {
                "train" => spec.train = count()?,
                "val" => spec.val = count()?,
                "test" => spec.test = count()?,
                "seed" => spec.seed = number,
                _ => return Err(refuse()),
            }
        }
        Ok(spec)
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faces(spec) if *spec == FacesSpec::default() => f.write_str("faces"),
            Self::Faces(FacesSpec { train, val, test, seed }) => {
                write!(f, "faces:train={train},val={val},test={test},seed={seed}")
            }
            Self::Cifar10(dir) => write!(f, "cifar10:{}", dir.display()),
            Self::Cifar100(dir) => write!(f, "cifar100:{}", dir.display()),
            Self::Fer2013(path) => write!(f, "fer2013:{}", path.display()),
            Self::Folder(dir) => write!(f, "folder:{}", dir.display()),
            Self::Idx(dir) => write!(f, "idx:{}", dir.display()),
        }
    }
}

impl TryFrom<String> for DataSpec {
    type Error = DataError;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DataSpec> for String {
    fn from(spec: DataSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "faces",
            "faces:train=70,val=14,test=7,seed=3",
            "cifar10:data/cifar",
            "cifar100:/data",
            "fer2013:C:\\fer.csv",
            "folder:my pets",
            "idx:mnist",
        ] {
            let spec: DataSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<DataSpec>(&json).unwrap(), spec);
        }
        let spec: DataSpec = "faces:701".parse().unwrap();
        assert_eq!(spec.to_string(), "faces:train=701,val=141,test=141,seed=0");
        let spec: DataSpec = "faces:seed=9".parse().unwrap();
        assert_eq!(spec, DataSpec::Faces(FacesSpec { seed: 9, ..FacesSpec::default() }));
    }

    #[test]
    fn what_is_mistyped_gets_an_answer() {
        for (text, expected) in [
            ("face", "unknown data set `face`: write faces,"),
            ("/data/pets", "unknown data set"),
            ("folder", "write folder:PATH"),
            ("cifar10:", "write cifar10:PATH"),
            ("faces:many", "`many` is no setting"),
            ("faces:train=-1", "`train=-1` is no setting"),
            ("faces:size=4", "`size=4` is no setting"),
        ] {
            let message = text.parse::<DataSpec>().unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{message}");
        }
    }
}
