//! `residual inspect`.

use std::path::PathBuf;

use owo_colors::OwoColorize;
use residual_weights::{
    inspect::{Contents, TensorInfo},
    onnx::{Axis, Network, ValueInfo},
    shown,
};
use serde::Serialize;

use crate::{
    Context,
    error::Result,
    output::{self, bytes, line, table, thousands},
};

/// Show what is in a file of weights, a checkpoint or an ONNX file.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual inspect resnet50.pth
  residual inspect runs/faces-cifar_resnet8-1/best.safetensors --stats
  residual inspect net.onnx --json

The format is recognized by the content: .safetensors, .pth, .npy or .onnx. Nothing in the file is
executed.")]
pub(crate) struct Args {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Read the tensors, and show their least, largest and mean element and how many are NaN.
    #[arg(long)]
    stats: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(serialize_with = "output::path_as_text")]
    path: &'a PathBuf,
    elements: u64,
    bytes: u64,
    #[serde(flatten)]
    contents: &'a Contents,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let contents = residual_weights::inspect(&args.file, args.stats)?;
    let (elements, bytes) = (contents.elements(), contents.bytes());
    if context.json {
        output::json(&Answer { path: &args.file, elements, bytes, contents: &contents });
    } else {
        print(&args, &contents);
    }
    Ok(())
}

fn print(args: &Args, contents: &Contents) {
    let within = contents.key.as_ref().map(|key| format!(", tensors under {key}")).unwrap_or_default();
    line(format_args!("{}: {}{within}\n", args.file.display().bold(), contents.format.name()));
    if let Some(network) = &contents.network {
        print_network(network);
    }
    if !contents.tensors.is_empty() {
        print_tensors(args.stats, &contents.tensors);
    }
    let count = match contents.tensors.len() {
        1 => "1 tensor".to_owned(),
        count => format!("{} tensors", thousands(count as u64)),
    };
    let elements = thousands(contents.elements());
    line(format_args!("{count}, {} elements, {}", elements.bold(), bytes(contents.bytes())));
    let metadata = contents.metadata.iter();
    let beside = contents.beside.iter().map(|(key, value)| (key, value));
    print_pairs("beside the tensors", beside);
    print_pairs("metadata", metadata);
}

fn print_tensors(stats: bool, tensors: &[TensorInfo]) {
    let mut header = vec!["tensor", "type", "shape", "bytes"];
    if stats {
        header.extend(["least", "largest", "mean", "NaN"]);
    }
    let rows = tensors.iter().map(|tensor| {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        let shape = if shape.is_empty() { "scalar".to_owned() } else { shape.join("×") };
        let mut row = vec![shown(&tensor.name), tensor.dtype.clone(), shape, bytes(tensor.bytes)];
        match (stats, tensor.statistics) {
            (false, _) => {}
            (true, Some(of)) => {
                row.extend([of.min, of.max, of.mean].map(|number| format!("{number:.4e}")));
                row.push(thousands(of.nan as u64));
            }
            (true, None) => row.extend(std::iter::repeat_n("–".to_owned(), 4)),
        }
        row
    });
    line(format_args!("{}\n", table(&header, 3, rows)));
}

fn print_network(network: &Network) {
    let opsets = network.opsets.iter().map(|(domain, version)| format!("{} {version}", shown(domain)));
    let opsets: Vec<String> = opsets.collect();
    let producer = if network.producer.is_empty() { "an unknown program" } else { &network.producer };
    line(format_args!(
        "{} by {}, IR version {}, operators of {}",
        shown(&network.name),
        shown(producer),
        network.ir_version,
        opsets.join(", ")
    ));
    for (what, values) in [("takes", &network.inputs), ("gives", &network.outputs)] {
        values.iter().for_each(|value| line(format_args!("{what} {}", described(value))));
    }
    let operators = network.operators.iter().map(|(name, count)| format!("{count} {}", shown(name)));
    line(format_args!("{}\n", operators.collect::<Vec<_>>().join(", ")));
}

fn described(value: &ValueInfo) -> String {
    let axes = value.axes.iter().map(|axis| match axis {
        Axis::Fixed(length) => length.to_string(),
        Axis::Any(name) if name.is_empty() => "?".to_owned(),
        Axis::Any(name) => shown(name),
    });
    format!("{}: {} {}", shown(&value.name), value.dtype, axes.collect::<Vec<_>>().join("×"))
}

fn print_pairs<'a>(title: &str, pairs: impl Iterator<Item = (&'a String, &'a String)> + Clone) {
    let Some(width) = pairs.clone().map(|(key, _)| shown(key).chars().count()).max() else { return };
    line(format_args!("\n{}", title.bold()));
    pairs.for_each(|(key, value)| line(format_args!("  {:width$}  {}", shown(key), shown(value))));
}
