//! `residual convert`.

use std::path::PathBuf;

use residual_model::{ModelSpec, OpenOptions, onnx_graph};
use residual_weights::{Rename, Weights, onnx};
use serde_json::json;

use super::opening::Source;
use crate::{
    Context,
    error::{Error, Result},
    output::{self, line},
};

/// Convert weights from one format to another.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual convert resnet18.pth resnet18.safetensors
  residual convert resnet50.pth resnet50.onnx --model resnet50 --fold
  residual convert best.safetensors small.safetensors --half

The format of IN is recognized, that of OUT follows from its extension (.safetensors, .pth, .onnx).
Of a checkpoint, the optimizer's tensors are left out. An ONNX file holds the network with its
weights; it takes batches of any size.")]
pub(crate) struct Args {
    /// Weights (.safetensors, .pth), or `emotions`: those of the network that is part of this command.
    #[arg(value_name = "IN")]
    from: Source,
    /// The file to write.
    #[arg(value_name = "OUT")]
    to: PathBuf,
    /// Refuse weights that are not those of this network; for ONNX, the network to write [default: what the
    /// file says or its tensors show].
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The pictures that the ONNX file takes [default: those of any height and width].
    #[arg(long, value_name = "CxHxW", value_parser = super::shape)]
    input: Option<[usize; 3]>,
    /// Make one ONNX operation of a convolution and the batch normalization behind it.
    #[arg(long)]
    fold: bool,
    /// Write numbers in half precision: a file of half the size, whose answers differ a little.
    #[arg(long, conflicts_with_all = ["fold", "input"])]
    half: bool,
    /// Rename tensors, such as linear=fc.
    #[arg(long, value_name = "A=B")]
    rename: Vec<Rename>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let mut options = OpenOptions::new().rename(args.rename.clone());
    if let Some(model) = &args.model {
        options = options.model(ModelSpec::open(model)?);
    }
    let weights = args.from.weights(&options)?;
    let tensors = if args.to.extension().is_some_and(|extension| extension == "onnx") {
        if args.half {
            return Err(Error::Usage("--half is for .safetensors and .pth files".into()));
        }
        export(&args, &options, weights)?
    } else if args.input.is_some() || args.fold {
        return Err(Error::Usage("--input and --fold are for .onnx files".into()));
    } else {
        if args.model.is_some() {
            options.build::<f32>(weights.clone(), args.from.path())?;
        }
        let weights = if args.half { weights.to_half() } else { weights };
        residual_weights::save(&args.to, &weights)?;
        weights.len()
    };
    if context.json {
        output::json(
            &json!({ "from": args.from.path().to_string_lossy(), "to": args.to.to_string_lossy(), "tensors": tensors }),
        );
    } else {
        line(format_args!("{tensors} tensors written to {}", args.to.display()));
    }
    Ok(())
}

/// Writes the network with its weights as ONNX, and returns the number of tensors in it.
fn export(args: &Args, options: &OpenOptions, weights: Weights) -> Result<usize> {
    let opened = options.build::<f32>(weights, args.from.path())?;
    let own = opened.about.network.input_channels;
    if let Some([channels, ..]) = args.input.filter(|[channels, ..]| *channels != own) {
        return Err(Error::Usage(format!("--input has {channels} channels, but the weights are for {own}")));
    }
    let size = args.input.map(|[_, height, width]| [height, width]);
    let graph = match opened.about.preprocess {
        Some(_) => opened.model(args.from.path())?.to_onnx(size, args.fold)?,
        // Of a network of one's own nobody knows what it was trained on.
        None => onnx_graph(&opened.net, size, args.fold)?,
    };
    onnx::write(&args.to, &graph)?;
    Ok(graph.weights.len())
}
