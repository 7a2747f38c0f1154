//! A run as a page: what was trained, how it went, where it errs, how to use it. One file that
//! needs nothing else, beside the drawings as SVG. What is measured is decided elsewhere.

use std::{fs, ops::ControlFlow, path::PathBuf};

use minijinja::{AutoEscape, Environment, Value, value::Serde};
use residual_data::{Dataset, Loader};
use residual_model::Model;
use residual_nn::Module;
use residual_train::{EpochRecord, Evaluation, Mistake, RunFolder, Training, evaluate, layer_by_layer};
use serde::Serialize;

use crate::{Machine, ReportError, Result, confusion, curves, data_uri};

/// What a report was made of.
#[derive(Debug)]
pub struct Report {
    /// The best checkpoint on the validation pictures.
    pub evaluation: Evaluation,
    /// The class that [`RunFolder::sample`] shows.
    pub sample_class: Option<String>,
}

/// Evaluates the best network of a run, which is in the run's folder, on the pictures of `val`, and
/// writes `report.html`, `curves.svg`, `confusion.svg` and `sample.png` beside it.
///
/// # Errors
/// If the network or a picture cannot be read, or a file cannot be written; with its path.
pub fn write(folder: &RunFolder, training: &Training, val: &Loader) -> Result<Report> {
    let best = Model::<f32>::open(folder.best())?;
    let evaluation = evaluate(layer_by_layer(&best.net), val, |_| ControlFlow::Continue(()))?;
    let data = val.samples().dataset();
    let sample_class = write_sample(folder, &**data, &evaluation.mistakes)?;

    let curves = curves::draw(&training.history).map_err(failed)?;
    let confusion = confusion::draw(&evaluation.confusion, &best.classes).map_err(failed)?;
    write_file(folder.curves(), &curves)?;
    write_file(folder.confusion(), &confusion)?;

    let mistakes = evaluation.mistakes.iter();
    let mistakes = mistakes.map(|mistake| ShownMistake::new(mistake, &**data, &best.classes));
    let page = Page {
        model: &best.net.config().name,
        data: training.config.data.to_string(),
        parameters: best.net.parameter_count(),
        input: best.preprocess.input.to_string(),
        best: training.best(),
        evaluation: &evaluation,
        history: &training.history,
        seconds: training.history.iter().map(|record| record.seconds).sum(),
        curves,
        confusion,
        mistakes: mistakes.collect::<Result<_>>()?,
        config: training.config.to_toml(),
        machine: Machine::here(),
        version: env!("CARGO_PKG_VERSION"),
        folder: folder.path().display().to_string(),
        sample_class: sample_class.as_deref(),
    };
    let page = page.render().map_err(failed)?;
    write_file(folder.report(), &page)?;
    Ok(Report { evaluation, sample_class })
}

fn failed(error: impl std::fmt::Display) -> ReportError {
    ReportError::Drawing { reason: error.to_string().replace('\n', " ") }
}

fn write_file(path: PathBuf, text: &str) -> Result<()> {
    fs::write(&path, text).map_err(|source| ReportError::Write { path, source })
}

/// Writes a picture that the network probably gets right, and returns its class.
fn write_sample(folder: &RunFolder, data: &dyn Dataset, mistakes: &[Mistake]) -> Result<Option<String>> {
    let right = |index: &usize| mistakes.iter().all(|mistake| mistake.index != *index);
    let Some(index) = (0..data.len()).find(right) else { return Ok(None) };
    let sample = data.get(index)?;
    sample.image.save_png(folder.sample())?;
    Ok(data.classes().get(sample.label).cloned())
}

/// What the page is filled with.
#[derive(Serialize)]
struct Page<'a> {
    model: &'a str,
    data: String,
    parameters: usize,
    input: String,
    best: Option<&'a EpochRecord>,
    evaluation: &'a Evaluation,
    history: &'a [EpochRecord],
    seconds: f64,
    curves: String,
    confusion: String,
    mistakes: Vec<ShownMistake>,
    config: String,
    machine: Machine,
    version: &'static str,
    folder: String,
    sample_class: Option<&'a str>,
}

impl Page<'_> {
    fn render(&self) -> std::result::Result<String, minijinja::Error> {
        let mut pages = Environment::new();
        pages.set_auto_escape_callback(|_| AutoEscape::Html);
        pages.add_filter("percent", |fraction: f64| format!("{:.1} %", 100.0 * fraction));
        pages.add_filter("decimals", |value: f64, digits: usize| format!("{value:.digits$}"));
        pages.render_str(include_str!("report.html"), Value::from(Serde(self)))
    }
}

/// A mistake as the page shows it.
#[derive(Serialize)]
struct ShownMistake {
    picture: String,
    class: String,
    taken_for: String,
    probability: f64,
}

impl ShownMistake {
    fn new(mistake: &Mistake, data: &dyn Dataset, classes: &[String]) -> Result<Self> {
        Ok(Self {
            picture: data_uri::png(&data_uri::shrunk(data.get(mistake.index)?.image)?.to_png()),
            class: classes[mistake.label].clone(),
            taken_for: classes[mistake.predicted].clone(),
            probability: mistake.probability,
        })
    }
}
