//! What an experiment gives: claims, sentences that follow from measured numbers, tables and drawings; and
//! the folder in which they are left. How to measure is each experiment's own business.

use std::{fs, path::Path};

use minijinja::{Value, value::Serde};
use serde::Serialize;

use crate::{
    Machine, Result,
    drawing::Drawn,
    error::failed,
    page::{STYLE, environment, write_file},
    plot::{self, Bar, Plot},
};

use super::{Experiment, Setting};

/// Something that was published, and is held against what is measured here.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    /// Where it is said.
    pub source: &'static str,
    /// What is said, in short.
    pub text: &'static str,
}

/// A sentence that follows from measured numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// Whether the numbers bear out what is claimed; nothing for what is only observed.
    pub holds: Option<bool>,
    /// The sentence, with the numbers.
    pub text: String,
}

/// A table or a drawing of the page.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// The name of its file, without extension.
    #[serde(skip)]
    pub file: &'static str,
    /// What it shows.
    pub title: String,
    /// What to look at.
    pub caption: String,
    /// The drawing, if it is one.
    pub svg: Option<String>,
    /// The names of a table's columns.
    pub header: Vec<String>,
    /// The table's rows.
    pub rows: Vec<Vec<String>>,
    /// Whether the table is part of the page; else it is only a file.
    #[serde(skip)]
    pub is_shown: bool,
}

/// What was measured, and what follows from it.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// How it was measured, a paragraph each.
    pub method: Vec<String>,
    /// What follows.
    pub statements: Vec<Statement>,
    /// Tables and drawings, in the order of the page.
    pub parts: Vec<Part>,
}

impl Findings {
    /// How something was measured.
    pub(super) fn method(&mut self, paragraph: impl Into<String>) {
        self.method.push(paragraph.into());
    }

    /// A claim, whether it holds here, and the sentence that says so with its numbers.
    pub(super) fn claim(&mut self, holds: bool, text: impl Into<String>) {
        self.statements.push(Statement { holds: Some(holds), text: text.into() });
    }

    /// Something that was seen, and that nothing is claimed of.
    pub(super) fn observe(&mut self, text: impl Into<String>) {
        self.statements.push(Statement { holds: None, text: text.into() });
    }

    /// A table, which is a CSV file, too.
    pub(super) fn table(
        &mut self,
        file: &'static str,
        title: impl Into<String>,
        header: &[&str],
        rows: Vec<Vec<String>>,
        caption: impl Into<String>,
    ) {
        let header = header.iter().map(ToString::to_string).collect();
        let (title, caption) = (title.into(), caption.into());
        self.parts.push(Part { file, title, caption, svg: None, header, rows, is_shown: true });
    }

    /// A table that is too long to be looked at: a CSV file alone.
    pub(super) fn csv(&mut self, file: &'static str, header: &[&str], rows: Vec<Vec<String>>) {
        self.table(file, "", header, rows, "");
        self.parts.last_mut().expect("it was just added").is_shown = false;
    }

    /// Plots of lines.
    pub(super) fn plot(
        &mut self,
        file: &'static str,
        title: impl Into<String>,
        plots: &[Plot],
        caption: impl Into<String>,
    ) -> Result<()> {
        self.drawing(file, title, plot::lines(plots), caption)
    }

    /// Bars.
    pub(super) fn bars(
        &mut self,
        file: &'static str,
        title: impl Into<String>,
        unit: &str,
        bars: &[Bar],
        caption: impl Into<String>,
    ) -> Result<()> {
        self.drawing(file, title, plot::bars(unit, bars), caption)
    }

    fn drawing(
        &mut self,
        file: &'static str,
        title: impl Into<String>,
        drawn: Drawn<String>,
        caption: impl Into<String>,
    ) -> Result<()> {
        let svg = Some(drawn.map_err(failed)?);
        let (title, caption) = (title.into(), caption.into());
        let (header, rows) = (Vec::new(), Vec::new());
        self.parts.push(Part { file, title, caption, svg, header, rows, is_shown: true });
        Ok(())
    }

    /// In one sentence, what was reproduced and what was not.
    pub fn verdict(&self) -> String {
        let judged: Vec<bool> = self.statements.iter().filter_map(|statement| statement.holds).collect();
        let (all, held) = (judged.len(), judged.iter().filter(|&&holds| holds).count());
        match all - held {
            _ if all == 0 => "Nothing is claimed; these are measurements.".to_owned(),
            0 if all == 1 => "What is claimed was reproduced.".to_owned(),
            0 => format!("All {all} parts of the claim were reproduced."),
            missing if missing == all => "What is claimed was not reproduced at this scale.".to_owned(),
            _ => format!("{held} of the {all} parts of the claim were reproduced; the others (✗) were not."),
        }
    }

    /// Writes the page as `report.html`, each drawing as SVG and each table as CSV.
    ///
    /// # Errors
    /// If a file cannot be written, with its path.
    pub fn write(
        &self,
        experiment: &Experiment,
        setting: &Setting,
        seconds: f64,
        folder: &Path,
    ) -> Result<()> {
        fs::create_dir_all(folder)
            .map_err(|source| crate::ReportError::Write { path: folder.into(), source })?;
        for part in &self.parts {
            match &part.svg {
                Some(svg) => write_file(folder.join(part.file).with_extension("svg"), svg)?,
                None => write_file(folder.join(part.file).with_extension("csv"), csv(part)?)?,
            }
        }
        let page = Page {
            style: STYLE,
            name: experiment.name,
            title: experiment.title,
            effort: setting.effort.name(),
            data: setting.data.to_string(),
            seed: setting.seed,
            time: match seconds {
                seconds if seconds < 100.0 => format!("{seconds:.0} s"),
                seconds => format!("{:.1} min", seconds / 60.0),
            },
            claims: experiment.claims,
            verdict: self.verdict(),
            statements: self.statements.iter().map(Marked::new).collect(),
            method: &self.method,
            parts: self.parts.iter().filter(|part| part.is_shown).collect(),
            machine: Machine::here(),
            version: env!("CARGO_PKG_VERSION"),
        };
        let page = environment().render_str(include_str!("page.html"), Value::from(Serde(&page)));
        write_file(folder.join("report.html"), page.map_err(failed)?)
    }
}

/// What the page is filled with.
#[derive(Serialize)]
struct Page<'a> {
    style: &'static str,
    name: &'a str,
    title: &'a str,
    effort: &'static str,
    data: String,
    seed: u64,
    time: String,
    claims: &'a [Claim],
    verdict: String,
    statements: Vec<Marked<'a>>,
    method: &'a [String],
    parts: Vec<&'a Part>,
    machine: Machine,
    version: &'static str,
}

/// A statement with the class of its mark.
#[derive(Serialize)]
struct Marked<'a> {
    mark: &'static str,
    text: &'a str,
}

impl<'a> Marked<'a> {
    fn new(statement: &'a Statement) -> Self {
        let mark = match statement.holds {
            Some(true) => "yes",
            Some(false) => "no",
            None => "seen",
        };
        Self { mark, text: &statement.text }
    }
}

fn csv(part: &Part) -> Result<String> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let rows = std::iter::once(&part.header).chain(&part.rows);
    rows.into_iter().try_for_each(|row| table.write_record(row)).map_err(failed)?;
    let bytes = table.into_inner().map_err(failed)?;
    String::from_utf8(bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts_what_was_claimed() {
        let verdict = |holds: &[Option<bool>]| {
            let statements = holds.iter().map(|&holds| Statement { holds, text: String::new() }).collect();
            Findings { statements, ..Findings::default() }.verdict()
        };
        assert!(verdict(&[None]).starts_with("Nothing is claimed"));
        assert_eq!(verdict(&[Some(true), None]), "What is claimed was reproduced.");
        assert_eq!(verdict(&[Some(true), Some(true)]), "All 2 parts of the claim were reproduced.");
        assert!(verdict(&[Some(false), Some(true), None]).starts_with("1 of the 2 parts"));
        assert!(verdict(&[Some(false)]).contains("not reproduced"));
    }
}
