//! `residual data`.

use std::path::PathBuf;

use owo_colors::OwoColorize;
use residual_data::{Corrupt, DataError, DataSpec, Split, class_counts, contact_sheet};
use residual_weights::replace_file;
use serde::Serialize;

use crate::{
    Context,
    error::Result,
    output::{self, line, table, thousands, warning},
};

/// Show what is in a data set: counts, class balance, a contact sheet.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  residual data faces
  residual data folder:pets --sheet pets.png
  residual data cifar10:DIR --json")]
pub(crate) struct Args {
    /// faces, cifar10:DIR, cifar100:DIR, fer2013:PATH, folder:DIR or idx:DIR.
    #[arg(value_name = "SPEC")]
    data: DataSpec,
    /// Write a contact sheet, a row per class, as PNG.
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Which part the contact sheet shows: train, val or test.
    #[arg(long, value_name = "SPLIT", default_value = "train", value_parser = super::split)]
    split: Split,
    /// Leave out pictures that cannot be read, and name them.
    #[arg(long)]
    skip_corrupt: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    data: String,
    splits: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    split: Split,
    name: String,
    samples: usize,
    /// `[channels, height, width]`; null if the pictures differ.
    shape: Option<[usize; 3]>,
    classes: Vec<Class>,
    #[serde(serialize_with = "output::paths_as_text")]
    skipped: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Class {
    name: String,
    samples: usize,
}

/// The rows and columns of a contact sheet.
const SHEET: [usize; 2] = [20, 12];

pub(crate) fn run(args: Args, context: &Context) -> Result<()> {
    let corrupt = if args.skip_corrupt { Corrupt::Skip } else { Corrupt::Refuse };
    let data = context.settings.locate(args.data.clone());
    let mut splits = Vec::new();
    for split in [Split::Train, Split::Val, Split::Test] {
        match data.open(split, corrupt) {
            Ok(data) => {
                let counts = class_counts(&*data)?;
                let classes = data.classes().iter().zip(counts);
                splits.push(Part {
                    split,
                    name: data.name().to_owned(),
                    samples: data.len(),
                    shape: data.shape().map(|shape| [shape.channels, shape.height, shape.width]),
                    classes: classes.map(|(name, samples)| Class { name: name.clone(), samples }).collect(),
                    skipped: data.skipped().to_vec(),
                });
            }
            // Not every data set has all three.
            Err(DataError::NoSplit { .. }) if split != Split::Train => {}
            Err(error) => return Err(error.into()),
        }
    }
    for path in splits.iter().flat_map(|part| &part.skipped) {
        warning(format_args!("{} cannot be read and is left out", path.display()));
    }
    if let Some(path) = &args.sheet {
        let [rows, columns] = SHEET;
        let sheet = contact_sheet(&*data.open(args.split, corrupt)?, rows, columns)?;
        replace_file(path, &sheet.to_png())?;
    }

    if context.json {
        output::json(&Answer { data: data.to_string(), splits });
        return Ok(());
    }
    for part in &splits {
        let size = match part.shape {
            Some([channels, height, width]) => format!("{channels}×{height}×{width}"),
            None => "of different sizes".to_owned(),
        };
        line(format_args!("{:5}  {} pictures, {size}  ({})", part.split, thousands(part.samples), part.name));
    }
    let largest = splits[0].classes.iter().map(|class| class.samples).max().unwrap_or(1).max(1);
    let header: Vec<&str> =
        std::iter::once("class").chain(splits.iter().map(|part| part.split.name())).chain([""]).collect();
    let rows = splits[0].classes.iter().enumerate().map(|(number, class)| {
        let counts = splits.iter().map(|part| thousands(part.classes[number].samples));
        let bar = "━".repeat((30 * class.samples).div_ceil(largest));
        std::iter::once(class.name.clone()).chain(counts).chain([bar]).collect()
    });
    line(format_args!("\n{}", table(&header, 1, rows)));
    if let Some(path) = &args.sheet {
        line(format_args!("\n{} {}", "contact sheet:".bold(), path.display()));
    }
    Ok(())
}
