//! The result of a run as an HTML page that needs no other file.

use std::{fs, path::Path};

use minijinja::{Environment, context, value::Serde};

use super::{Failure, recorder::RunResult};

/// Writes the page.
pub(super) fn write(path: &Path, result: &RunResult) -> Result<(), Failure> {
    let mut templates = Environment::new();
    templates.add_template("report.html", include_str!("report.html"))?;
    let page = templates.get_template("report.html")?.render(context! { run => Serde(result) })?;
    fs::write(path, page).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(())
}
