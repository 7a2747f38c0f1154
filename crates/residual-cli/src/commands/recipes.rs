//! `residual recipes`.

use owo_colors::OwoColorize;
use residual_train::{Recipe, TrainConfig};
use serde_json::json;

use crate::{
    Context,
    error::Result,
    output::{self, line},
};

/// List the recipes of `residual train`, or show one.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual recipes
  residual recipes cifar-speed
  residual train --recipe cifar-speed --print-config    # every setting that it comes to")]
pub(crate) struct Args {
    /// The recipe to show: what it does otherwise than quick, and why.
    #[arg(value_name = "NAME")]
    name: Option<Recipe>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    match args.name {
        Some(recipe) if context.json => output::json(&TrainConfig::of(recipe)),
        Some(recipe) => line(recipe.toml().trim_end()),
        None if context.json => {
            let listed =
                Recipe::ALL.iter().map(|recipe| json!({ "name": recipe.name(), "about": recipe.about() }));
            output::json(&listed.collect::<Vec<_>>());
        }
        None => {
            let width = Recipe::ALL.iter().map(|recipe| recipe.name().len()).max().unwrap_or(0);
            for recipe in Recipe::ALL {
                let name = format!("{:width$}", recipe.name());
                line(format_args!("{}  {}", name.bold(), recipe.about()));
            }
        }
    }
    Ok(())
}
