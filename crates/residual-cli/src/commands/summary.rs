//! `residual summary`.

use std::path::PathBuf;

use owo_colors::OwoColorize;
use residual_model::ModelSpec;
use residual_nn::{Layer, Module};
use residual_report::network_svg;
use residual_tensor::Generator;
use residual_weights::replace_file;
use residual_zoo::{Summary, names};

use crate::{
    Context,
    error::Result,
    output::{self, bytes, line, table, thousands},
};

/// Show the layers of a network: shapes, parameters, multiply-adds, memory.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual summary resnet50
  residual summary resnet18 --input 1x48x48 --classes 7 --batch 32
  residual summary resnet34 --svg resnet34.svg
  residual summary --list")]
pub(crate) struct Args {
    /// A name (see --list) or a TOML file that describes a network.
    #[arg(value_name = "MODEL", required_unless_present = "list")]
    model: Option<String>,
    /// The input [default: what the network is made for].
    #[arg(long, value_name = "CxHxW", value_parser = super::shape)]
    input: Option<[usize; 3]>,
    /// Pictures in a batch.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// Classes of the output [default: what the network is made for].
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Draw the network, too, as the paper's figure 3: shortcuts solid or dashed, shapes on the edges.
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// List the networks that have a name.
    #[arg(long, exclusive = true)]
    list: bool,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let Some(model) = &args.model else {
        list(context);
        return Ok(());
    };
    let mut config = ModelSpec::open(model)?.config()?;
    if let Some([channels, ..]) = args.input {
        config.input_channels = channels;
    }
    config.classes = args.classes.unwrap_or(config.classes);
    let [height, width] = config.native_size();
    let [channels, height, width] = args.input.unwrap_or([config.input_channels, height, width]);
    let net = config.build::<f32>(&mut Generator::new(0))?;
    let summary = Summary::of(&net, [args.batch as usize, channels, height, width])?;
    if let Some(path) = &args.svg {
        let drawn = network_svg(&summary.model, &net.graph(), &net.trace(&summary.input)?);
        replace_file(path, drawn.as_bytes())?;
    }
    if context.json {
        output::json(&summary);
    } else {
        print(&summary);
    }
    Ok(())
}

fn list(context: &Context) {
    let names = names();
    if context.json {
        return output::json(&serde_json::json!({ "models": names }));
    }
    names.iter().for_each(line);
    line(
        "\nFamilies have more depths: cifar_resnet8, cifar_plain26, cifar_wrn10_2, cifar_resnext38_4x16d, …\n\
         Any name may be followed by the shortcut (resnet34_a, _b or _c), and that of an ImageNet network\n\
         before it by _cifar, for the stem of the CIFAR networks (resnet18_cifar).",
    );
}

fn print(summary: &Summary) {
    line(format_args!("{} for {}\n", summary.model.bold(), summary.input));
    let rows = tree(&summary.layers);
    let header = ["layer", "kind", "input", "output", "parameters", "multiply-adds"];
    line(table(&header, 2, rows));
    line(format_args!(
        "\n{} parameters ({}), {} multiply-adds",
        thousands(summary.parameters).bold(),
        bytes(summary.parameters * 4),
        thousands(summary.multiply_adds).bold(),
    ));
    let activations = summary.activation_bytes;
    // Training keeps a gradient and a velocity for each parameter, and every layer's output.
    let training = 3 * 4 * summary.parameters + activations;
    line(format_args!("{} of activations; about {} to train", bytes(activations), bytes(training)));
}

/// A row per layer, indented by its place in the network; what contains others stands before them.
fn tree(layers: &[Layer]) -> Vec<Vec<String>> {
    let mut rows: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for layer in layers {
        let path: Vec<&str> = layer.path.split('.').collect();
        let numbers = |count: u64| if count == 0 { String::new() } else { thousands(count) };
        let cells = vec![
            [layer.kind, &layer.detail].join(" ").trim_end().to_owned(),
            shape(&layer.input),
            shape(&layer.output),
            numbers(layer.parameters as u64),
            numbers(layer.multiply_adds),
        ];
        // A block is noted after its layers.
        let place = rows.iter().position(|(row, _)| row.starts_with(&path)).unwrap_or(rows.len());
        rows.insert(place, (path, cells));
    }
    let mut drawn: Vec<Vec<String>> = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for (path, cells) in rows {
        let shared = path.iter().zip(&open).take_while(|(a, b)| a == b).count();
        for depth in shared..path.len() {
            let name = format!("{}{}", "  ".repeat(depth), path[depth]);
            let empty = || vec![String::new(); cells.len()];
            let cells = if depth + 1 == path.len() { cells.clone() } else { empty() };
            drawn.push(std::iter::once(name).chain(cells).collect());
        }
        open = path;
    }
    drawn
}

fn shape(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}
