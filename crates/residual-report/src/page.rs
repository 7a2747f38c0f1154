//! A run as a page: what was trained, how it went, where it errs, how to use it. One file that
//! needs nothing else, beside the drawings as SVG. What is measured is decided elsewhere.

use std::{ops::ControlFlow, path::PathBuf};

use minijinja::{AutoEscape, Environment, Value, value::Serde};
use residual_data::{Dataset, ImageShape, Loader, Picture, Preprocess};
use residual_model::Model;
use residual_nn::Module;
use residual_train::{
    Calibration, Confusion, EpochRecord, Evaluation, GradientLength, Mistake, RunFolder, Trainer, Training,
    evaluate, layer_by_layer,
};
use residual_weights::replace_file;
use serde::Serialize;

use crate::{
    Machine, Result, confusion, curves, data_uri,
    drawing::Drawn,
    error::failed,
    numbers::count,
    plot::{self, Axis, COLOURS, Line, Plot},
};

/// How all pages look, in light and in dark.
pub(crate) const STYLE: &str = include_str!("style.css");

/// What a report was made of.
#[derive(Debug)]
pub struct Report {
    /// The best checkpoint on the validation pictures.
    pub evaluation: Evaluation,
    /// The class that [`RunFolder::sample`] shows.
    pub sample_class: Option<String>,
}

/// Evaluates the best network of a run, which is in the run's folder, on the pictures that it is validated on, and
/// writes `report.html`, `curves.svg`, `confusion.svg` and `sample.png` beside it.
///
/// # Errors
/// If the network or a picture cannot be read, or a file cannot be written; with its path.
pub fn write(folder: &RunFolder, trainer: &Trainer<f32>) -> Result<Report> {
    let training = &trainer.checkpoint().training;
    let val = trainer.validation();
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
        style: STYLE,
        model: &best.net.config().name,
        data: training.config.data.to_string(),
        parameters: best.net.parameter_count(),
        input: best.preprocess.input.to_string(),
        best: training.best(),
        evaluation: &evaluation,
        history: &training.history,
        seconds: training.history.iter().map(|record| record.seconds).sum(),
        curves,
        over_time: over_time(training, trainer.gradient_lengths()).map_err(failed)?,
        batch: first_batch(trainer.training())?,
        confusion,
        confused: Confused::pairs(&evaluation.confusion, &best.classes),
        calibration: calibration(&evaluation.calibration).map_err(failed)?,
        calibration_error: evaluation.calibration.error(),
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

/// Writes a file of a report, replacing one that is there only when it is complete.
pub(crate) fn write_file(path: PathBuf, content: impl AsRef<[u8]>) -> Result<()> {
    Ok(replace_file(path, content.as_ref())?)
}

/// Writes a picture that the network probably gets right, and returns its class.
fn write_sample(folder: &RunFolder, data: &dyn Dataset, mistakes: &[Mistake]) -> Result<Option<String>> {
    let right = |index: &usize| mistakes.iter().all(|mistake| mistake.index != *index);
    let Some(index) = (0..data.len()).find(right) else { return Ok(None) };
    let sample = data.get(index)?;
    write_file(folder.sample(), sample.image.to_png())?;
    Ok(data.classes().get(sample.label).cloned())
}

/// Where templates are filled in, with what they may do to a value.
pub(crate) fn environment() -> Environment<'static> {
    let mut pages = Environment::new();
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.add_filter("percent", |fraction: f64| format!("{:.1} %", 100.0 * fraction));
    pages.add_filter("count", count);
    pages.add_filter("decimals", |value: f64, digits: usize| format!("{value:.digits$}"));
    pages
}

/// What the page is filled with.
#[derive(Serialize)]
struct Page<'a> {
    style: &'static str,
    model: &'a str,
    data: String,
    parameters: usize,
    input: String,
    best: Option<&'a EpochRecord>,
    evaluation: &'a Evaluation,
    history: &'a [EpochRecord],
    seconds: f64,
    curves: String,
    over_time: String,
    /// The first pictures that the network learnt from.
    batch: Vec<String>,
    confusion: String,
    confused: Vec<Confused<'a>>,
    calibration: String,
    calibration_error: f64,
    mistakes: Vec<ShownMistake>,
    config: String,
    machine: Machine,
    version: &'static str,
    folder: String,
    sample_class: Option<&'a str>,
}

impl Page<'_> {
    fn render(&self) -> std::result::Result<String, minijinja::Error> {
        environment().render_str(include_str!("report.html"), Value::from(Serde(self)))
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

/// The learning rate at the end of each epoch, and how long the gradients of some weights were then.
fn over_time(training: &Training, lengths: &[GradientLength]) -> Drawn<String> {
    let rates = training.history.iter().map(|record| (record.epoch as f64, record.learning_rate));
    let rates = Plot {
        title: "Learning rate at the end of each epoch".into(),
        x: Axis::linear("epoch"),
        y: Axis::linear("rate").including(0.0),
        lines: vec![Line {
            name: "learning rate".into(),
            points: rates.collect(),
            colour: COLOURS[6],
            dashed: false,
        }],
    };
    let lines = spread(lengths).into_iter().zip(COLOURS).map(|(name, colour)| {
        let of_weight = lengths.iter().filter(|length| length.parameter == name);
        let points = of_weight.map(|length| (length.epoch as f64, length.length)).collect();
        Line { name: name.trim_end_matches(".weight").to_owned(), points, colour, dashed: false }
    });
    let gradients = Plot {
        title: "Length of the gradient at the end of each epoch".into(),
        x: Axis::linear("epoch"),
        y: Axis::log("length"),
        lines: lines.collect(),
    };
    let plots = [rates, gradients];
    plot::lines(if lengths.is_empty() { &plots[..1] } else { &plots })
}

/// Weights from the first to the last, as many as can be told apart, evenly spread.
fn spread(lengths: &[GradientLength]) -> Vec<&str> {
    const MOST: usize = 6;
    let first_epoch = lengths.first().map_or(0, |length| length.epoch);
    let weights = lengths.iter().take_while(|length| length.epoch == first_epoch);
    let weights: Vec<&str> = weights.map(|length| length.parameter.as_str()).collect();
    let shown = weights.len().min(MOST);
    (0..shown).map(|number| weights[number * (weights.len() - 1) / (shown - 1).max(1)]).collect()
}

/// A reliability diagram, and how many pictures the network gives which confidence.
fn calibration(calibration: &Calibration) -> Drawn<String> {
    let images: u64 = calibration.bins().iter().map(|bin| bin.images).sum();
    let filled = || calibration.bins().iter().filter(|bin| bin.images > 0);
    let line = |name: &str, points: Vec<(f64, f64)>, colour: usize, dashed| Line {
        name: name.into(),
        points,
        colour: COLOURS[colour],
        dashed,
    };
    let reliability = Plot {
        title: "Accuracy by confidence".into(),
        x: Axis::percent("confidence"),
        y: Axis::percent("accuracy"),
        lines: vec![
            line("perfectly calibrated", vec![(0.0, 0.0), (1.0, 1.0)], 6, true),
            line("the network", filled().map(|bin| (bin.confidence(), bin.accuracy())).collect(), 0, false),
        ],
    };
    let shares = filled().map(|bin| (bin.confidence(), bin.images as f64 / images.max(1) as f64));
    let shares = Plot {
        title: "Share of the pictures by confidence".into(),
        x: Axis::percent("confidence").including(1.0),
        y: Axis::percent("share"),
        lines: vec![line("the network", shares.collect(), 0, false)],
    };
    plot::lines(&[reliability, shares])
}

/// Two classes that are mistaken for each other.
#[derive(Serialize)]
struct Confused<'a> {
    class: &'a str,
    taken_for: &'a str,
    count: u64,
    /// The part of the pictures of the class.
    part: f64,
}

impl<'a> Confused<'a> {
    /// The pairs with the most mistakes, those first that are the largest part of their class.
    fn pairs(confusion: &Confusion, classes: &'a [String]) -> Vec<Self> {
        const MOST: usize = 8;
        let rows = confusion.rows().iter().enumerate();
        let mut pairs: Vec<Self> = rows
            .flat_map(|(class, counts)| {
                let support = counts.iter().sum::<u64>().max(1) as f64;
                let mistakes =
                    counts.iter().enumerate().filter(move |&(other, &count)| other != class && count > 0);
                mistakes.map(move |(other, &count)| Self {
                    class: &classes[class],
                    taken_for: &classes[other],
                    count,
                    part: count as f64 / support,
                })
            })
            .collect();
        pairs.sort_by(|a, b| b.count.cmp(&a.count).then(b.part.total_cmp(&a.part)));
        pairs.truncate(MOST);
        pairs
    }
}

/// The first pictures of the first epoch as the network saw them: shifted, mirrored, erased, whatever the
/// run says.
fn first_batch(training: &Loader) -> Result<Vec<String>> {
    const MOST: usize = 24;
    let Some(batch) = training.epoch(0)?.next() else { return Ok(Vec::new()) };
    let batch = batch?;
    let preprocess = training.samples().preprocess();
    let inputs = batch.inputs.as_slice().chunks_exact(preprocess.input.elements()).take(MOST);
    inputs.map(|input| Ok(data_uri::png(&data_uri::shrunk(restored(input, preprocess)?)?.to_png()))).collect()
}

/// The picture of a standardised input, channels innermost. What varied it may have left it outside of what a
/// picture can hold.
fn restored(input: &[f32], preprocess: &Preprocess) -> Result<Picture> {
    let ImageShape { channels, .. } = preprocess.input;
    let pixels = input.iter().enumerate().map(|(at, value)| {
        let channel = at % channels;
        let mean = preprocess.pixel_mean.as_ref().map_or(preprocess.mean[channel], |means| means[at]);
        (255.0 * (value * preprocess.std[channel] + mean)).round().clamp(0.0, 255.0) as u8
    });
    Ok(Picture::new(preprocess.input, pixels.collect())?)
}

#[cfg(test)]
mod tests {
    use residual_data::{Faces, Placement, Split, Standardise};

    use super::*;

    #[test]
    fn a_standardised_picture_is_restored() {
        let faces = Faces::new(0, Split::Train, 14);
        let face = faces.get(5).unwrap().image;
        for standardise in [Standardise::Channel, Standardise::PixelMean] {
            let preprocess = Preprocess::new(Faces::SHAPE).fit(&faces, standardise, 14).unwrap();
            let mut input = vec![0.0; Faces::SHAPE.elements()];
            preprocess.write(&face, Placement::default(), &mut input).unwrap();
            assert_eq!(restored(&input, &preprocess).unwrap(), face);
        }
    }

    #[test]
    fn the_most_confused_come_first() {
        let classes = ["a", "b", "c"].map(str::to_owned);
        let mut confusion = Confusion::new(3);
        let mistakes = [(0, 0, 5), (0, 1, 2), (1, 2, 3), (2, 0, 2), (2, 2, 1)];
        for (class, predicted, count) in mistakes {
            (0..count).for_each(|_| confusion.add(class, predicted));
        }
        let pairs = Confused::pairs(&confusion, &classes);
        let named: Vec<_> = pairs.iter().map(|pair| (pair.class, pair.taken_for, pair.count)).collect();
        assert_eq!(named, [("b", "c", 3), ("c", "a", 2), ("a", "b", 2)]);
        assert_eq!(pairs[0].part, 1.0);
    }
}
