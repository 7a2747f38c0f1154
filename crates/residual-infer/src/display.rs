//! Sessions and their times as tables.

use std::fmt;

use crate::{
    session::{Session, StepTimes},
    step::{Addend, Step, Task},
};

impl Session {
    /// What a step does, with its algorithm and what was fused into it.
    pub(crate) fn describe(&self, step: &Step) -> String {
        let mut text = step.task.name();
        if let Task::Conv2d(packed) = &step.task {
            text += &format!(", {}", format!("{:?}", packed.weight.algorithm()).to_lowercase());
        }
        match &step.addend {
            Addend::None => {}
            Addend::Other(_) => text += " + sum",
            Addend::InPlace => text += " + sum in place",
        }
        if step.relu {
            text += " + relu";
        }
        text
    }
}

/// One line per step: path, what it does, shape of the result, and the bytes of the arena that it
/// is at.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "input {}", self.input())?;
        let rows: Vec<[String; 4]> = self
            .steps
            .iter()
            .map(|step| {
                let [start, end] = [step.y.start, step.y.end].map(|element| element * size_of::<f32>());
                [step.path.clone(), self.describe(step), step.shape.to_string(), format!("{start}..{end}")]
            })
            .collect();
        write_table(f, &rows)?;
        let weights: usize = self
            .steps
            .iter()
            .map(|step| match &step.task {
                Task::Conv2d(packed) => packed.weight.bytes(),
                _ => 0,
            })
            .sum();
        if self.division.parts > 1 {
            let last = &self.steps[self.division.steps - 1].path;
            writeln!(f, "up to {last} one after the other for {} parts of the batch", self.division.parts)?;
        }
        let (steps, arena) = (self.steps.len(), self.arena_bytes());
        write!(f, "{steps} steps; packed weights {weights} bytes, arena {arena} bytes")
    }
}

/// One line per step: path, what it does, milliseconds, GFLOPS at two per multiply-add.
impl fmt::Display for StepTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 4]> = self
            .steps
            .iter()
            .map(|step| {
                let seconds = step.time.as_secs_f64();
                let rate = 2.0 * step.multiply_adds as f64 / seconds / 1e9;
                let rate = if step.multiply_adds == 0 { String::new() } else { format!("{rate:.0}") };
                [step.path.clone(), step.what.clone(), format!("{:.3}", seconds * 1e3), rate]
            })
            .collect();
        write_table(f, &rows)?;
        let seconds: f64 = self.steps.iter().map(|step| step.time.as_secs_f64()).sum();
        let multiply_adds: u64 = self.steps.iter().map(|step| step.multiply_adds).sum();
        let rate = 2.0 * multiply_adds as f64 / seconds / 1e9;
        write!(f, "all steps {:.3} ms, {rate:.0} GFLOPS", seconds * 1e3)
    }
}

fn write_table<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
