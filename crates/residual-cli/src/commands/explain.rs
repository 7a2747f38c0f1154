//! `residual explain`.

use std::path::PathBuf;

use residual_data::Picture;
use residual_emotions::FaceFinder;
use residual_model::{Explanation, Model};
use residual_report::explanation_picture;
use residual_weights::{replace_file, shown};
use serde_json::json;

use super::opening::{Opening, Source};
use crate::{
    Context,
    error::{Error, Result},
    output::{self, line, percent},
};

/// Show where a network looks: Grad-CAM, as a picture beside the picture.
#[derive(clap::Args)]
#[command(
    override_usage = "residual explain [OPTIONS] [CKPT] <IMAGE>",
    after_help = "\
Examples:
  residual explain face.png
  residual explain runs/faces-cifar_resnet8-1/best.safetensors face.png
  residual explain resnet50.pth cat.jpg --class 'Egyptian cat' --stage layer3 --out cat-layer3.png

Grad-CAM (Selvaraju et al. 2017): the channels of a stage, weighted by how much they speak for the class. Late
stages say more and are coarser."
)]
pub(crate) struct Args {
    /// A checkpoint of `residual train`, or weights (.safetensors, .pth) such as torchvision's, and a picture (PNG,
    /// JPEG). Without a checkpoint, the network for emotions is explained that is part of this command, on the
    /// largest face of the picture.
    #[arg(value_name = "IMAGE", num_args = 1..=2, required = true)]
    arguments: Vec<PathBuf>,
    /// The class to explain [default: the most probable one].
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Where in the network to look, such as layer3 or layer3.1 [default: right before the average pooling].
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// The PNG file to write.
    #[arg(long, value_name = "PNG", default_value = "explanation.png")]
    out: PathBuf,
    #[command(flatten)]
    opening: Opening,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let (network, images) = Source::with_pictures(args.arguments);
    let [image] = &images[..] else {
        return Err(Error::Usage("give one picture, and before it a checkpoint or none".into()));
    };
    let opened = network.read(&args.opening.options()?)?;
    args.opening.tell(&opened.about, network.path());
    let model: Model<f32> = opened.model(network.path())?;
    let mut picture = Picture::open(image)?;
    if network.is_built_in()
        && let Some(face) = FaceFinder::new().find(&picture).first()
    {
        picture = face.picture(&picture)?;
    }
    let class = args.class.as_deref().map(|name| model.class(name)).transpose()?;
    let explanation = model.explain(&picture, class, args.stage.as_deref())?;
    let overlay = explanation_picture(&model, &picture, &explanation).map_err(Box::new)?;
    replace_file(&args.out, &overlay.to_png())?;

    let Explanation { prediction, class, stage, map, .. } = &explanation;
    let (name, probability) = (&prediction.classes()[*class], f64::from(prediction.probabilities()[*class]));
    let [rows, columns] = [map.shape()[0], map.shape()[1]];
    if context.json {
        output::json(&json!({
            "class": name,
            "probability": probability,
            "stage": stage,
            "map": map.as_slice().chunks_exact(columns).collect::<Vec<_>>(),
            "picture": args.out.to_string_lossy(),
        }));
        return Ok(());
    }
    line(format_args!(
        "{}: {}, what speaks for it at {stage} ({rows}×{columns} positions)",
        shown(name),
        percent(probability)
    ));
    if map.as_slice().iter().any(|value| value.is_nan()) {
        line("the network's answer is no number: its weights are damaged");
    } else if map.as_slice().iter().all(|&value| value == 0.0) {
        line("nothing there speaks for this class");
    }
    line(shown(&args.out.display().to_string()));
    Ok(())
}
