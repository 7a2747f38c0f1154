//! `residual convert`.

use std::path::PathBuf;

use residual_train::{ModelSpec, network_of, open_weights};
use residual_weights::Rename;
use serde_json::json;

use crate::{
    Context,
    error::Result,
    output::{self, line},
};

/// Convert weights from one format to another.
#[derive(clap::Args)]
#[command(after_help = "\
The format of IN is recognised, that of OUT follows from its extension (.safetensors, .pth).
Of a checkpoint, the optimizer's tensors are left out.")]
pub(crate) struct Args {
    /// Weights: .safetensors or .pth.
    #[arg(value_name = "IN")]
    from: PathBuf,
    /// The file to write.
    #[arg(value_name = "OUT")]
    to: PathBuf,
    /// Refuse weights that are not those of this network.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Rename tensors, such as linear=fc.
    #[arg(long, value_name = "A=B")]
    rename: Vec<Rename>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let weights = open_weights(&args.from, &args.rename)?;
    if let Some(model) = &args.model {
        network_of::<f32>(&ModelSpec::open(model)?, &weights, &args.from)?;
    }
    residual_weights::save(&args.to, &weights)?;
    if context.json {
        output::json(&json!({ "from": args.from, "to": args.to, "tensors": weights.len() }));
    } else {
        line(format_args!("{} tensors written to {}", weights.len(), args.to.display()));
    }
    Ok(())
}
