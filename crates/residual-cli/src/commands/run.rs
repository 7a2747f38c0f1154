//! `residual run`.

use std::path::PathBuf;

use clap::ValueEnum;
use residual_infer::Session;
use residual_model::{ModelSpec, OpenOptions};
use residual_nn::Graph;
use residual_tensor::{Float, Tensor};
use residual_weights::{Entry, Rename, npy};
use residual_zoo::Network;
use serde_json::json;

use crate::{
    Context,
    error::Result,
    output::{self, line},
};

/// Send a tensor through a network in evaluation mode.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual run resnet18 --weights resnet18.pth --input x.npy --output y.npy
  residual run resnet18 --weights resnet18.pth --input x.npy --output y.npy --dtype f64")]
pub(crate) struct Args {
    /// A name (`residual summary --list`) or a TOML file that describes a network.
    #[arg(value_name = "MODEL")]
    model: String,
    /// The network's weights: .safetensors or .pth.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// A NumPy file with the input, of shape [n, channels, height, width].
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,
    /// The NumPy file to write the logits to, of shape [n, classes].
    #[arg(long, value_name = "Y.npy")]
    output: PathBuf,
    /// What to compute in.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Rename tensors, such as linear=fc.
    #[arg(long, value_name = "A=B")]
    rename: Vec<Rename>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    F64,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let shape = match args.dtype {
        Dtype::F32 => forward(&args, |net, input| Session::new(net, input.shape())?.run(input))?,
        Dtype::F64 => forward::<f64>(&args, |net, input| Graph::of(net).evaluate(input))?,
    };
    if context.json {
        output::json(&json!({ "model": args.model, "output": shape }));
    } else {
        line(format_args!("{shape:?} written to {}", args.output.display()));
    }
    Ok(())
}

/// Writes the network's answer and returns its shape.
fn forward<T: Float>(
    args: &Args,
    answer: impl FnOnce(&Network<T>, &Tensor<T>) -> residual_nn::Result<Tensor<T>>,
) -> Result<Vec<usize>> {
    let options = OpenOptions::new().model(ModelSpec::open(&args.model)?).rename(args.rename.clone());
    let net = options.read::<T>(&args.weights)?.net;
    let input = npy::read(&args.input)?.to_float::<T>();
    input.dims::<4>("run").map_err(residual_nn::Error::from)?;
    let output = answer(&net, &input)?;
    npy::write(&args.output, &Entry::from_float(&output))?;
    Ok(output.shape().to_vec())
}
