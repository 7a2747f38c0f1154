//! `residual eval`.

use std::{ops::ControlFlow, path::PathBuf};

use owo_colors::OwoColorize;
use residual_data::{Corrupt, DataSpec, Dataset, ImageShape, Loader, LoaderConfig, Preprocess, Split};
use residual_infer::Compiled;
use residual_model::{Model, ModelSpec, network_of, open_weights};
use residual_nn::Module;
use residual_train::{Evaluation, evaluate, loader};
use residual_weights::Rename;
use serde::Serialize;

use crate::{
    Context,
    error::{Error, Result},
    output::{self, line, percent, table, thousands, warning},
    progress::Pictures,
};

/// Evaluate a trained network on labelled pictures.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual eval runs/faces-cifar_resnet8-1/best.safetensors --data faces
  residual eval resnet20.pth --model cifar_resnet20 --data cifar10:DIR \\
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --rename linear=fc")]
pub(crate) struct Args {
    /// A checkpoint, or a file of weights (.safetensors, .pth) with --model, --mean and --std.
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// The pictures: faces, cifar10:DIR, cifar100:DIR, fer2013:PATH, folder:DIR or idx:DIR.
    #[arg(long, value_name = "SPEC")]
    data: DataSpec,
    /// Which part of them: train, val or test.
    #[arg(long, value_name = "SPLIT", default_value = "test", value_parser = super::split)]
    split: Split,
    /// Pictures in a batch.
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// Leave out pictures that cannot be read, instead of refusing to start.
    #[arg(long)]
    skip_corrupt: bool,
    /// The network that weights from elsewhere belong to.
    #[arg(long, value_name = "MODEL", requires_all = ["mean", "std"], help_heading = "Weights from elsewhere")]
    model: Option<String>,
    /// Subtracted from each channel (of 0 to 1), such as 0.485,0.456,0.406.
    #[arg(long, value_delimiter = ',', requires = "model", help_heading = "Weights from elsewhere")]
    mean: Vec<f32>,
    /// Divides each channel, such as 0.229,0.224,0.225.
    #[arg(long, value_delimiter = ',', requires = "model", help_heading = "Weights from elsewhere")]
    std: Vec<f32>,
    /// Height and width of the network's input [default: the pictures' own, or the network's].
    #[arg(long, value_name = "HxW", requires = "model", value_parser = super::size, help_heading = "Weights from elsewhere")]
    input: Option<[usize; 2]>,
    /// Resize the shorter side of pictures to this before they are cropped to the input.
    #[arg(long, value_name = "N", requires = "model", help_heading = "Weights from elsewhere")]
    resize: Option<usize>,
    /// Rename tensors, such as linear=fc.
    #[arg(long, value_name = "A=B", requires = "model", help_heading = "Weights from elsewhere")]
    rename: Vec<Rename>,
}

/// The result with the name of the network: what `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let corrupt = if args.skip_corrupt { Corrupt::Skip } else { Corrupt::Refuse };
    let data = context.settings.locate(args.data.clone()).open(args.split, corrupt)?;
    for path in data.skipped() {
        warning(format_args!("{} cannot be read and is left out", path.display()));
    }
    let (net, loader) = match &args.model {
        Some(model) => {
            let weights = open_weights(&args.checkpoint, &args.rename)?;
            let net = network_of::<f32>(&ModelSpec::open(model)?, weights, &args.checkpoint)?;
            let preprocess =
                args.preprocess(net.config().input_channels, net.config().native_size(), &*data)?;
            if net.config().classes != data.classes().len() {
                let (net, data) = (net.config().classes, data.classes().len());
                return Err(Error::Usage(format!(
                    "the network has {net} classes, but the data {data}; evaluate on data with the same classes"
                )));
            }
            (net, Loader::new(data, preprocess, LoaderConfig::eval(args.batch))?)
        }
        None => {
            let model = Model::<f32>::open(&args.checkpoint)?;
            let loader = loader(&model.classes, &model.preprocess, data, args.batch)?;
            (model.net, loader)
        }
    };
    let progress = Pictures::new("evaluating", loader.dataset().len());
    let compiled = Compiled::new(&net);
    let evaluation = evaluate(
        |images| compiled.run(&images),
        &loader,
        |done| {
            progress.reach(done as u64);
            ControlFlow::Continue(())
        },
    )?;
    drop(progress);

    let model = &net.config().name;
    if context.json {
        output::json(&Answer { model, evaluation: &evaluation });
    } else {
        print(model, net.parameter_count(), loader.dataset().name(), &evaluation);
    }
    Ok(())
}

impl Args {
    fn preprocess(&self, channels: usize, native: [usize; 2], data: &dyn Dataset) -> Result<Preprocess> {
        let [height, width] = match (self.input, data.shape()) {
            (Some(size), _) => size,
            (None, Some(shape)) if self.resize.is_none() => [shape.height, shape.width],
            (None, _) => native,
        };
        let mut preprocess =
            Preprocess::new(ImageShape::new(channels, height, width)).normalise(&self.mean, &self.std);
        preprocess.shorter_side = self.resize;
        preprocess.check()?;
        Ok(preprocess)
    }
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
