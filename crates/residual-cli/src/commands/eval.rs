//! `residual eval`.

use std::ops::ControlFlow;

use owo_colors::OwoColorize;
use residual_data::{Corrupt, DataSpec, Split};
use residual_model::{Classifier, Views};
use residual_nn::Module;
use residual_train::{Evaluation, evaluate, loader};
use serde::Serialize;

use super::opening::{Opening, Source};
use crate::{
    Context,
    error::Result,
    output::{self, line, percent, table, thousands, warning},
    progress::Pictures,
};

/// Evaluate a trained network on labelled pictures.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual eval runs/faces-cifar_resnet8-1/best.safetensors --data faces
  residual eval last.safetensors --data cifar10:DIR --tta flip-shift
  residual eval emotions --data fer2013:PATH --split val --tta ten-crop:2
  residual eval resnet20.pth --model cifar_resnet20 --data cifar10:DIR \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --rename linear=fc")]
pub(crate) struct Args {
    /// A checkpoint, weights (.safetensors, .pth) such as torchvision's, or `emotions`: the network that is
    /// part of this command.
    #[arg(value_name = "CKPT")]
    checkpoint: Source,
    /// The pictures: faces, cifar10:DIR, cifar100:DIR, fer2013:PATH, folder:DIR or idx:DIR.
    #[arg(long, value_name = "SPEC")]
    data: DataSpec,
    /// Which part of them: train, val or test.
    #[arg(long, value_name = "SPLIT", default_value = "test", value_parser = super::split)]
    split: Split,
    /// Pictures in a batch.
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// Average over views of each picture: flip, flip-shift (its mirror image, and both moved by a pixel) or
    /// ten-crop:N (the middle and the corners of a picture with N pixels more on each side).
    #[arg(long, value_name = "VIEWS", default_value_t = Views::One)]
    tta: Views,
    /// Leave out pictures that cannot be read, instead of refusing to start.
    #[arg(long)]
    skip_corrupt: bool,
    #[command(flatten)]
    opening: Opening,
}

/// The result with the name of the network: what `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    tta: String,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let corrupt = if args.skip_corrupt { Corrupt::Skip } else { Corrupt::Refuse };
    let data = context.settings.locate(args.data.clone()).open(args.split, corrupt)?;
    for path in data.skipped() {
        warning(format_args!("{} cannot be read and is left out", path.display()));
    }
    let mut options = args.opening.options()?;
    let Opening { mean, input, resize, .. } = &args.opening;
    // With --mean, but neither --input nor --resize, pictures keep the size that they have in the data set.
    if let (false, None, None, Some(shape)) = (mean.is_empty(), input, resize, data.shape()) {
        options = options.input([shape.height, shape.width]);
    }
    let opened = args.checkpoint.read(&options)?;
    args.opening.tell(&opened.about, args.checkpoint.path());
    // Classes that the file does not name are those of the data.
    let has_names = opened.about.has_class_names;
    let model = opened.model(args.checkpoint.path())?;
    let names = if !has_names && model.classes.len() == data.classes().len() {
        data.classes().to_vec()
    } else {
        model.classes.clone()
    };
    let classifier = Classifier::new(model).with_views(args.tta)?;
    let loader = loader(&names, classifier.preprocess(), data, args.batch)?;
    let progress = Pictures::new("evaluating", loader.samples().dataset().len());
    let evaluation = evaluate(
        |images| classifier.logits(&images),
        &loader,
        |done| {
            progress.reach(done as u64);
            ControlFlow::Continue(())
        },
    )?;
    drop(progress);

    let net = &classifier.model().net;
    let model = &net.config().name;
    if context.json {
        output::json(&Answer { model, tta: args.tta.to_string(), evaluation: &evaluation });
    } else {
        print(model, net.parameter_count(), loader.samples().dataset().name(), &evaluation);
    }
    Ok(())
}

/// Confusions are printed up to this many classes.
const MOST_COLUMNS: usize = 12;

fn print(model: &str, parameters: usize, data: &str, evaluation: &Evaluation) {
    line(format_args!("{} ({} parameters) on {data}\n", model.bold(), thousands(parameters)));
    line(format_args!(
        "{} right: {} of {}; top-5 {}; loss {:.4}\n",
        percent(evaluation.accuracy).bold(),
        thousands(evaluation.correct),
        thousands(evaluation.samples),
        percent(evaluation.top5_accuracy),
        evaluation.loss,
    ));
    let classes = evaluation.classes.iter();
    line(table(
        &["class", "precision", "recall", "pictures"],
        1,
        classes.clone().map(|class| {
            let [precision, recall] = [class.precision, class.recall].map(percent);
            vec![class.name.clone(), precision, recall, thousands(class.support)]
        }),
    ));
    if evaluation.classes.len() <= MOST_COLUMNS {
        let mut header = vec!["is ↓ taken for →"];
        header.extend(classes.clone().map(|class| class.name.as_str()));
        let rows = classes.zip(evaluation.confusion.rows()).map(|(class, counts)| {
            let counts = counts.iter().map(|&count| if count == 0 { "·".into() } else { thousands(count) });
            std::iter::once(class.name.clone()).chain(counts).collect()
        });
        line(format_args!("\n{}", table(&header, 1, rows)));
    }
}
