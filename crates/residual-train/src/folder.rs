//! A run's folder: what its files are called, and the small ones among them. The checkpoints and
//! the report are written by those who make them.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use residual_weights::replace_file;
use serde::Serialize;

use crate::{EpochRecord, GradientLength, Result, TrainError};

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A new folder for a run, or an existing one that does not hold a checkpoint yet.
    ///
    /// # Errors
    /// [`TrainError::RunExists`], [`TrainError::Io`] with the path.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(TrainError::io(&path))?;
        let folder = Self { path };
        if folder.last().exists() {
            return Err(TrainError::RunExists { path: folder.path });
        }
        Ok(folder)
    }

    /// A new folder in `parent` that is called `name` with the first number that is free.
    ///
    /// # Errors
    /// [`TrainError::Io`] with the path.
    pub fn numbered(parent: impl AsRef<Path>, name: &str) -> Result<Self> {
        let parent = parent.as_ref();
        fs::create_dir_all(parent).map_err(TrainError::io(parent))?;
        let mut number = 1;
        loop {
            let path = parent.join(format!("{name}-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(TrainError::io(path)(error)),
            }
        }
    }

    /// The folder of a run that has been started before.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.toml`: everything needed to run it again.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// `metrics.csv`: a row per epoch.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// `gradients.csv`: a row per weight and epoch, of how long its gradient was.
    pub fn gradients(&self) -> PathBuf {
        self.path.join("gradients.csv")
    }

    /// `best.safetensors`: the checkpoint of the best epoch.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// `last.safetensors`: the checkpoint to go on from.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// `report.html`: the run as a page.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// `curves.svg`: loss and accuracy over the epochs.
    pub fn curves(&self) -> PathBuf {
        self.path.join("curves.svg")
    }

    /// `confusion.svg`: the confusion matrix.
    pub fn confusion(&self) -> PathBuf {
        self.path.join("confusion.svg")
    }

    /// `sample.png`: a validation picture to try the network on.
    pub fn sample(&self) -> PathBuf {
        self.path.join("sample.png")
    }

    /// Keeps other programs from training in this folder until the lock is dropped or the program
    /// ends, however it ends. What a killed program left half written is removed.
    ///
    /// # Errors
    /// [`TrainError::Running`] if another program trains here, [`TrainError::Io`] with the path.
    pub(crate) fn lock(&self) -> Result<RunLock> {
        let path = self.path.join(".lock");
        let file = File::options().create(true).append(true).open(&path).map_err(TrainError::io(&path))?;
        match file.try_lock() {
            // Alone here: what is half written is nobody's.
            Ok(()) => residual_weights::remove_partial(&self.path).map_err(TrainError::io(&self.path))?,
            Err(TryLockError::WouldBlock) => return Err(TrainError::Running { path: self.path.clone() }),
            // Some network file systems know no locks; that is no reason not to train there.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(TrainError::io(path)(error)),
        }
        Ok(RunLock { _file: file })
    }

    pub(crate) fn write_config(&self, config: &str) -> Result<()> {
        Ok(replace_file(self.config(), config.as_bytes())?)
    }

    pub(crate) fn write_metrics(&self, history: &[EpochRecord]) -> Result<()> {
        write_table(self.metrics(), history)
    }

    pub(crate) fn write_gradients(&self, lengths: &[GradientLength]) -> Result<()> {
        write_table(self.gradients(), lengths)
    }

    /// What [`write_gradients`](Self::write_gradients) wrote. Nothing depends on it: what is missing or damaged is
    /// left out.
    pub(crate) fn read_gradients(&self) -> Vec<GradientLength> {
        let rows = csv::Reader::from_path(self.gradients()).ok().map(csv::Reader::into_deserialize);
        rows.into_iter().flatten().map_while(|row| row.ok()).collect()
    }
}

/// Writes a whole table, so that a run that goes on cannot leave a row twice.
fn write_table(path: PathBuf, rows: &[impl Serialize]) -> Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let written = rows.iter().try_for_each(|row| table.serialize(row));
    written.map_err(|error| TrainError::io(&path)(error.into()))?;
    let table = table.into_inner().map_err(|error| TrainError::io(&path)(error.into_error()))?;
    Ok(replace_file(path, &table)?)
}

/// A run's folder is taken while this lives.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}
