//! `residual predict`.

use std::path::PathBuf;

use owo_colors::OwoColorize;
use rayon::prelude::*;
use residual_data::{Picture, PictureFiles};
use residual_model::{Classifier, Guess, Views};
use residual_weights::shown;
use serde::Serialize;

use super::opening::Opening;
use crate::{
    Context,
    error::{Error, Result},
    output::{self, line, percent, table},
    progress::Pictures,
};

/// Give the probability of each class for pictures.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual predict runs/faces-cifar_resnet8-1/best.safetensors face.png
  residual predict resnet50.pth cat.jpg
  residual predict best.safetensors holiday/ --top 1 --csv > classes.csv")]
pub(crate) struct Args {
    /// A checkpoint of `residual train`, or weights (.safetensors, .pth) such as torchvision's.
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Pictures (PNG, JPEG), or folders of them.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How many classes to name for each picture.
    #[arg(long, value_name = "K", default_value_t = 3)]
    top: usize,
    /// Average over views of each picture: flip, flip-shift or ten-crop:N, as in `residual eval`.
    #[arg(long, value_name = "VIEWS", default_value_t = Views::One)]
    tta: Views,
    /// Print rows of path, rank, class and probability.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    opening: Opening,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    pictures: &'a [Prediction],
    failed: &'a [PathBuf],
}

#[derive(Serialize)]
struct Prediction {
    path: PathBuf,
    classes: Vec<ClassProbability>,
}

#[derive(Serialize)]
struct ClassProbability {
    class: String,
    probability: f64,
}

/// Pictures that are in memory at once.
const BATCH: usize = 32;

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let opened = args.opening.options()?.read(&args.checkpoint)?;
    args.opening.tell(&opened.about, &args.checkpoint);
    let classifier = Classifier::new(opened.model(&args.checkpoint)?).with_views(args.tta)?;
    let mut paths = Vec::new();
    for path in &args.paths {
        match path.is_dir() {
            true => {
                let PictureFiles { readable, unreadable } = PictureFiles::below(path)?;
                if readable.is_empty() && unreadable.is_empty() {
                    return Err(Error::NoPictures { path: path.clone() });
                }
                // Those in other formats fail by name, rather than being left out in silence.
                paths.extend(readable.into_iter().chain(unreadable));
            }
            false => paths.push(path.clone()),
        }
    }

    let mut predictions = Vec::new();
    let mut failed = Vec::new();
    let progress = Pictures::new("predicting", paths.len());
    for chunk in paths.chunks(BATCH) {
        let mut pictures = Vec::new();
        let mut good = Vec::new();
        let loaded: Vec<_> = chunk.par_iter().map(Picture::open).collect();
        for (path, loaded) in chunk.iter().zip(loaded) {
            match loaded {
                Ok(picture) => {
                    pictures.push(picture);
                    good.push(path);
                }
                Err(error) => {
                    progress.interrupt(|| output::error(&error));
                    failed.push(path.clone());
                }
            }
        }
        if !pictures.is_empty() {
            let answers = classifier.predict_batch(&pictures)?.into_iter();
            predictions.extend(good.into_iter().zip(answers).map(|(path, answer)| Prediction {
                path: path.clone(),
                classes: answer.top(args.top.max(1)).into_iter().map(ClassProbability::from).collect(),
            }));
        }
        progress.add(chunk.len() as u64);
    }
    drop(progress);

    if context.json {
        let model = &classifier.model().net.config().name;
        output::json(&Answer { model, pictures: &predictions, failed: &failed });
    } else if args.csv {
        print_csv(&predictions);
    } else if let ([prediction], []) = (&*predictions, &*failed) {
        print_one(prediction);
    } else if !predictions.is_empty() {
        print_table(&predictions);
    }
    match failed.len() {
        0 => Ok(()),
        failed => Err(Error::Pictures { failed, all: paths.len() }),
    }
}

impl From<Guess> for ClassProbability {
    fn from(Guess { class, probability, .. }: Guess) -> Self {
        Self { class, probability: probability.into() }
    }
}

fn print_one(prediction: &Prediction) {
    line(format_args!("{}\n", prediction.path.display()));
    let classes = prediction.classes.iter().map(|class| (shown(&class.class), class.probability));
    let width = classes.clone().map(|(class, _)| class.chars().count()).max().unwrap_or(0);
    for (class, probability) in classes {
        let bar = "━".repeat((40.0 * probability).round() as usize);
        line(format!("  {class:width$}  {:>7}  {}", percent(probability), bar.cyan()).trim_end());
    }
}

fn print_table(predictions: &[Prediction]) {
    let ranks = predictions[0].classes.len();
    let headings: Vec<String> = (1..=ranks).map(|rank| format!("#{rank}")).collect();
    let header: Vec<&str> = std::iter::once("picture").chain(headings.iter().map(String::as_str)).collect();
    let rows = predictions.iter().map(|prediction| {
        let classes = prediction.classes.iter();
        let classes = classes.map(|class| format!("{} {}", shown(&class.class), percent(class.probability)));
        std::iter::once(prediction.path.display().to_string()).chain(classes).collect()
    });
    line(table(&header, header.len(), rows));
}

fn print_csv(predictions: &[Prediction]) {
    line("path,rank,class,probability");
    let mut rows = csv::Writer::from_writer(Vec::new());
    for Prediction { path, classes } in predictions {
        for (rank, ClassProbability { class, probability }) in classes.iter().enumerate() {
            let row =
                [&*path.to_string_lossy(), &(rank + 1).to_string(), class, &format!("{probability:.6}")];
            rows.write_record(row).expect("four fields, to memory");
        }
    }
    let rows = rows.into_inner().expect("writing to memory");
    String::from_utf8_lossy(&rows).lines().for_each(line);
}
