//! A run as its folder tells it: for those who look at runs, whether or not they go on.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::{EpochRecord, Result, RunFolder, TrainError};

/// What is known about a run without opening its checkpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its folder.
    pub path: PathBuf,
    /// Each setting by its place in the configuration, such as `optimizer.learning_rate`.
    pub settings: BTreeMap<String, String>,
    /// The epochs so far.
    pub history: Vec<EpochRecord>,
}

impl RunRecord {
    /// Reads `config.toml` and, if there is one yet, `metrics.csv`.
    ///
    /// # Errors
    /// [`TrainError::Io`] with the file that is missing or cannot be understood.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        let config = folder.config();
        let text = fs::read_to_string(&config).map_err(TrainError::io(&config))?;
        let table = text.parse::<Table>().map_err(|error| unreadable(&config, error.message()))?;
        let mut settings = BTreeMap::new();
        flatten("", table, &mut settings);
        Ok(Self { path: folder.path().to_owned(), settings, history: history(&folder.metrics())? })
    }

    /// The network: its name, or that of its description.
    pub fn model(&self) -> &str {
        ["model", "model.name"].iter().find_map(|key| self.settings.get(*key)).map_or("", String::as_str)
    }

    /// The best epoch on the validation pictures.
    pub fn best(&self) -> Option<&EpochRecord> {
        EpochRecord::best(&self.history)
    }

    /// The settings that are not the same in all of these runs, with the value in each, if it has one.
    pub fn differences(runs: &[Self]) -> BTreeMap<&str, Vec<Option<&str>>> {
        let names = runs.iter().flat_map(|run| run.settings.keys());
        names
            .map(|name| {
                let values = runs.iter().map(|run| run.settings.get(name).map(String::as_str));
                (name.as_str(), values.collect::<Vec<_>>())
            })
            .filter(|(_, values)| values.windows(2).any(|two| two[0] != two[1]))
            .collect()
    }
}

fn history(path: &Path) -> Result<Vec<EpochRecord>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let rows = csv::Reader::from_path(path).map_err(|error| TrainError::io(path)(error.into()))?;
    let rows: std::result::Result<_, csv::Error> = rows.into_deserialize().collect();
    rows.map_err(|error| unreadable(path, &error.to_string()))
}

fn unreadable(path: &Path, reason: &str) -> TrainError {
    let reason = reason.lines().next().unwrap_or_default();
    TrainError::io(path)(io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn flatten(place: &str, table: Table, into: &mut BTreeMap<String, String>) {
    for (name, value) in table {
        let place = if place.is_empty() { name } else { format!("{place}.{name}") };
        match value {
            Value::Table(table) => flatten(&place, table, into),
            Value::String(text) => drop(into.insert(place, text)),
            value => drop(into.insert(place, value.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: &str, metrics: Option<&str>) -> Result<RunRecord> {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("config.toml"), config).unwrap();
        if let Some(metrics) = metrics {
            fs::write(place.path().join("metrics.csv"), metrics).unwrap();
        }
        RunRecord::read(&RunFolder::open(place.path()))
    }

    const HEADER: &str = "epoch,iteration,learning_rate,train_loss,train_accuracy,val_loss,val_accuracy,\
                          val_top5_accuracy,seconds,images_per_second,data_wait\n";

    #[test]
    fn a_folder_tells_settings_and_epochs() {
        let rows =
            format!("{HEADER}1,10,0.1,2,0.2,2.1,0.3,0.9,5,100,0\n2,20,0.1,1,0.6,1.5,0.3,0.9,5,100,0\n");
        let first = run("model = \"a\"\nbatch = 8\n[optimizer]\nlearning_rate = 0.1\n", Some(&rows)).unwrap();
        assert_eq!((first.model(), first.history.len(), first.best().unwrap().epoch), ("a", 2, 2));
        let second =
            run("batch = 8\n[model]\nname = \"b\"\n[optimizer]\nlearning_rate = 0.2\n", None).unwrap();
        assert_eq!((second.model(), second.best()), ("b", None));
        let runs = [first, second];
        let differences = RunRecord::differences(&runs).into_iter().collect::<Vec<_>>();
        assert_eq!(differences.len(), 3, "{differences:?}");
        assert_eq!(differences[0], ("model", vec![Some("a"), None]));
        assert_eq!(differences[2], ("optimizer.learning_rate", vec![Some("0.1"), Some("0.2")]));
    }

    #[test]
    fn what_is_no_run_or_a_damaged_one_is_named() {
        let nowhere = RunRecord::read(&RunFolder::open("nowhere")).unwrap_err().to_string();
        assert!(nowhere.contains("config.toml"), "{nowhere}");
        let damaged = run("model = \"a\"", Some(&format!("{HEADER}1,2,3\n"))).unwrap_err().to_string();
        assert!(damaged.contains("metrics.csv") && damaged.lines().count() == 1, "{damaged}");
        assert!(run("model =", None).unwrap_err().to_string().contains("config.toml"));
    }
}
