//! `residual predict`.

use std::path::{Path, PathBuf};

use clap::builder::{BoolishValueParser, RangedU64ValueParser};
use owo_colors::OwoColorize;
use rayon::prelude::*;
use residual_data::{Picture, PictureFiles};
use residual_emotions::{Card, Face, FaceFinder, VIEWS};
use residual_model::{Classifier, Guess, ModelError, Views};
use residual_weights::shown;
use serde::Serialize;

use super::opening::{Opening, Source};
use crate::{
    Context,
    error::{Error, Result},
    output::{self, line, note, percent, table},
    progress::Pictures,
};

/// Give the probability of each class for pictures, or for the faces in them.
///
/// Without a checkpoint, the network that is part of this command answers: which emotion each face shows.
#[derive(clap::Args)]
#[command(
    override_usage = "residual predict [OPTIONS] [CKPT] <PATH>...",
    after_help = "\
Examples:
  residual predict holiday.jpg
  residual predict runs/faces-cifar_resnet8-1/best.safetensors face.png
  residual predict resnet50.pth cat.jpg
  residual predict best.safetensors holiday/ --top 1 --csv > classes.csv"
)]
pub(crate) struct Args {
    /// A checkpoint of `residual train`, or weights (.safetensors, .pth) such as torchvision's [default: the network
    /// for emotions], then pictures (PNG, JPEG) or folders of them.
    #[arg(value_name = "PATH", required = true)]
    arguments: Vec<PathBuf>,
    /// How many classes to name for each picture.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    top: usize,
    /// Look for faces, and answer for each; for the whole picture where there is none [default: yes for the network
    /// for emotions, else no].
    #[arg(long, value_name = "yes|no", num_args = 0..=1, default_missing_value = "yes", require_equals = true,
        value_parser = BoolishValueParser::new())]
    faces: Option<bool>,
    /// Average over views of each picture: none, flip, flip-shift or ten-crop:N, as in `residual eval` [default:
    /// ten-crop:2 for the network for emotions, else none].
    #[arg(long, value_name = "VIEWS")]
    tta: Option<Views>,
    /// Print rows of path, rank, class and probability, with the place of the face if faces are looked for.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    opening: Opening,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    /// How good the network is, if it is the one that is part of this command.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<Card>,
    pictures: &'a [Prediction],
    #[serde(serialize_with = "output::paths_as_text")]
    failed: &'a [PathBuf],
}

#[derive(Serialize)]
struct Prediction {
    #[serde(serialize_with = "output::path_as_text")]
    path: PathBuf,
    /// Where the face is; nothing, if this is about the whole picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    face: Option<Face>,
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
    let (network, paths) = Source::with_pictures(args.arguments);
    let is_built_in = network.is_built_in();
    if paths.is_empty() {
        return Err(Error::Usage("which pictures? residual predict [CKPT] PATH…".into()));
    }
    let opened = network.read(&args.opening.options()?)?;
    args.opening.tell(&opened.about, network.path());
    let views = args.tta.unwrap_or(if is_built_in { VIEWS } else { Views::One });
    let classifier = Classifier::new(opened.model(network.path())?).with_views(views)?;
    let finder = args.faces.unwrap_or(is_built_in).then(FaceFinder::new);
    let paths = pictures_in(paths)?;

    let mut predictions = Vec::new();
    let mut failed = Vec::new();
    let progress = Pictures::new("predicting", paths.len());
    for chunk in paths.chunks(BATCH) {
        let mut pictures = Vec::new();
        let mut of = Vec::new();
        let subjects: Vec<_> = chunk.par_iter().map(|path| subjects(path, finder.as_ref())).collect();
        for (path, subjects) in chunk.iter().zip(subjects) {
            match subjects {
                Ok(subjects) => {
                    for (face, picture) in subjects {
                        pictures.push(picture);
                        of.push((path, face));
                    }
                }
                Err(error) => {
                    progress.interrupt(|| output::error(&error));
                    failed.push(path.clone());
                }
            }
        }
        if !pictures.is_empty() {
            let answers = classifier.predict_batch(&pictures)?.into_iter();
            predictions.extend(of.into_iter().zip(answers).map(|((path, face), answer)| Prediction {
                path: path.clone(),
                face,
                classes: answer.top(args.top).into_iter().map(ClassProbability::from).collect(),
            }));
        }
        progress.add(chunk.len() as u64);
    }
    drop(progress);

    // The card is about the network as it is shipped.
    let is_as_shipped = is_built_in && views == VIEWS && args.opening.is_empty();
    let card = is_as_shipped.then(Card::new);
    if context.json {
        let model = &classifier.model().net.config().name;
        output::json(&Answer { model, card, pictures: &predictions, failed: &failed });
    } else {
        print(&predictions, finder.is_some(), args.csv);
        if let Some(card) = card.filter(|_| !predictions.is_empty()) {
            note(format_args!("\nAnswered by the network that is part of this command: {card}"));
        }
    }
    match failed.len() {
        0 => Ok(()),
        failed => Err(Error::Pictures { failed, all: paths.len() }),
    }
}

/// The pictures that are named, and those in the folders that are named.
fn pictures_in(named: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in named {
        match path.is_dir() {
            true => {
                let PictureFiles { readable, unreadable } = PictureFiles::below(&path)?;
                if readable.is_empty() && unreadable.is_empty() {
                    return Err(Error::NoPictures { path });
                }
                // Those in other formats fail by name, rather than being left out in silence.
                paths.extend(readable.into_iter().chain(unreadable));
            }
            false => paths.push(path),
        }
    }
    Ok(paths)
}

/// What there is to classify in a picture: its faces, or itself.
fn subjects(
    path: &Path,
    finder: Option<&FaceFinder>,
) -> std::result::Result<Vec<(Option<Face>, Picture)>, ModelError> {
    let picture = Picture::open(path)?;
    let faces = finder.map(|finder| finder.find(&picture)).unwrap_or_default();
    if faces.is_empty() {
        return Ok(vec![(None, picture)]);
    }
    faces.into_iter().map(|face| Ok((Some(face), face.picture(&picture)?))).collect()
}

impl From<Guess> for ClassProbability {
    fn from(Guess { class, probability, .. }: Guess) -> Self {
        Self { class, probability: probability.into() }
    }
}

/// Prints what there is; `faces` says whether faces were looked for.
fn print(predictions: &[Prediction], faces: bool, csv: bool) {
    let is_of_one = predictions.windows(2).all(|two| two[0].path == two[1].path);
    if csv {
        print_csv(predictions, faces);
    } else if is_of_one && predictions.len() <= MOST_BARS {
        for (number, prediction) in predictions.iter().enumerate() {
            if number > 0 {
                line("");
            }
            print_one(prediction, faces);
        }
    } else {
        print_table(predictions, faces);
    }
}

/// Of a picture with so many faces, all are told about at length.
const MOST_BARS: usize = 4;

fn print_one(prediction: &Prediction, faces: bool) {
    let place = place(prediction, faces);
    let place = place.map(|place| format!(": {place}")).unwrap_or_default();
    line(format_args!("{}{place}\n", shown(&prediction.path.display().to_string())));
    let classes = prediction.classes.iter().map(|class| (shown(&class.class), class.probability));
    let width = classes.clone().map(|(class, _)| class.chars().count()).max().unwrap_or(0);
    for (class, probability) in classes {
        let bar = "━".repeat((40.0 * probability).round() as usize);
        line(format!("  {class:width$}  {:>7}  {}", percent(probability), bar.cyan()).trim_end());
    }
}

/// What of the picture an answer is about, if faces were looked for.
fn place(prediction: &Prediction, faces: bool) -> Option<String> {
    faces.then(|| prediction.face.map_or("no face found, the whole picture".into(), |face| face.to_string()))
}

fn print_table(predictions: &[Prediction], faces: bool) {
    let ranks = predictions.iter().map(|prediction| prediction.classes.len()).max().unwrap_or(0);
    let headings: Vec<String> = (1..=ranks).map(|rank| format!("#{rank}")).collect();
    let place_heading = faces.then_some("what");
    let header: Vec<&str> =
        ["picture"].into_iter().chain(place_heading).chain(headings.iter().map(String::as_str)).collect();
    let rows = predictions.iter().map(|prediction| {
        let classes = prediction.classes.iter();
        let classes = classes.map(|class| format!("{} {}", shown(&class.class), percent(class.probability)));
        [prediction.path.display().to_string()]
            .into_iter()
            .chain(place(prediction, faces))
            .chain(classes)
            .collect()
    });
    line(table(&header, header.len(), rows));
}

fn print_csv(predictions: &[Prediction], faces: bool) {
    let place_header: &[&str] = if faces { &["left", "top", "side"] } else { &[] };
    let header = [&["path"], place_header, &["rank", "class", "probability"]].concat();
    let mut rows = csv::Writer::from_writer(Vec::new());
    rows.write_record(header).expect("written to memory");
    for Prediction { path, face, classes } in predictions {
        let place = match face {
            Some(face) => vec![face.left.to_string(), face.top.to_string(), face.side.to_string()],
            None => vec![String::new(); place_header.len()],
        };
        for (rank, ClassProbability { class, probability }) in classes.iter().enumerate() {
            let answer = [(rank + 1).to_string(), class.clone(), format!("{probability:.6}")];
            let row = [&[path.to_string_lossy().into_owned()], &*place, &answer].concat();
            rows.write_record(row).expect("as many fields as the header, to memory");
        }
    }
    let rows = rows.into_inner().expect("writing to memory");
    String::from_utf8_lossy(&rows).lines().for_each(line);
}
