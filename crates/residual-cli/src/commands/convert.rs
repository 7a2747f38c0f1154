//! `residual convert`.

use std::path::PathBuf;

use residual_model::{ModelSpec, check_weights, network_of, onnx_graph, open_weights};
use residual_weights::{Rename, Weights, onnx};
use serde_json::json;

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

The format of IN is recognized, that of OUT follows from its extension (.safetensors, .pth, .onnx).
Of a checkpoint, the optimizer's tensors are left out. An ONNX file holds the network with its
weights; it takes batches of any size.")]
pub(crate) struct Args {
    /// Weights: .safetensors or .pth.
    #[arg(value_name = "IN")]
    from: PathBuf,
    /// The file to write.
    #[arg(value_name = "OUT")]
    to: PathBuf,
    /// Refuse weights that are not those of this network; for ONNX, the network to write.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The pictures that the ONNX file takes [default: those of any height and width].
    #[arg(long, value_name = "CxHxW", value_parser = super::shape)]
    input: Option<[usize; 3]>,
    /// Make one ONNX operation of a convolution and the batch normalization behind it.
    #[arg(long)]
    fold: bool,
    /// Rename tensors, such as linear=fc.
    #[arg(long, value_name = "A=B")]
    rename: Vec<Rename>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let weights = open_weights(&args.from, &args.rename)?;
    let tensors = if args.to.extension().is_some_and(|extension| extension == "onnx") {
        export(&args, weights)?
    } else if args.input.is_some() || args.fold {
        return Err(Error::Usage("--input and --fold are for .onnx files".into()));
    } else {
        if let Some(model) = &args.model {
            check_weights(&ModelSpec::open(model)?, &weights, &args.from)?;
        }
        residual_weights::save(&args.to, &weights)?;
        weights.len()
    };
    if context.json {
        output::json(&json!({ "from": args.from, "to": args.to, "tensors": tensors }));
    } else {
        line(format_args!("{tensors} tensors written to {}", args.to.display()));
    }
    Ok(())
}

/// Writes the network with its weights as ONNX, and returns the number of tensors in it.
fn export(args: &Args, weights: Weights) -> Result<usize> {
    let model = args.model.as_ref().ok_or_else(|| {
        Error::Usage("an .onnx file holds the network as well as the weights; name it with --model".into())
    })?;
    let net = network_of::<f32>(&ModelSpec::open(model)?, weights, &args.from)?;
    let config = net.config();
    if let Some([channels, ..]) = args.input.filter(|[channels, ..]| *channels != config.input_channels) {
        let own = config.input_channels;
        return Err(Error::Usage(format!("--input has {channels} channels, but the weights are for {own}")));
    }
    let graph = onnx_graph(&net, args.input.map(|[_, height, width]| [height, width]), args.fold)?;
    onnx::write(&args.to, &graph)?;
    Ok(graph.weights.len())
}
