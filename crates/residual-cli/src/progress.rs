//! How far something is, how fast, and how long it will take: as bars, which are drawn on a terminal
//! only, or as JSON objects, one in a line. Both go to standard error.

use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::OwoColorize;
use residual_train::{EpochRecord, Loaded, Observer, Start, Step};
use residual_weights::{Mismatch, shown};
use serde_json::json;

use crate::output::{Progress, duration, event, manner, note, percent, thousands, warning};

const BAR: &str = "━╸─";

/// How many pictures are done.
pub(crate) struct Pictures {
    what: &'static str,
    bar: ProgressBar,
}

impl Pictures {
    /// Begins with none of them done.
    pub(crate) fn new(what: &'static str, pictures: usize) -> Self {
        let template = "{msg} {bar:32.cyan/dim} {pos}/{len} pictures · {per_sec} · {eta} left";
        Self { what, bar: bar(pictures as u64, template).with_message(what) }
    }

    /// So many are done by now.
    pub(crate) fn reach(&self, done: u64) {
        self.bar.set_position(done);
        if is_json() {
            event(&json!({ "event": "progress", "what": self.what, "done": done, "of": self.bar.length() }));
        }
    }

    /// So many more are done.
    pub(crate) fn add(&self, done: u64) {
        self.reach(self.bar.position() + done);
    }

    /// Tells something in between.
    pub(crate) fn interrupt(&self, tell: impl FnOnce()) {
        self.bar.suspend(tell);
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar, drawn if bars are wanted and standard error is a terminal.
fn bar(length: u64, template: &str) -> ProgressBar {
    let is_drawn = !manner().quiet && manner().progress == Progress::Bar;
    let target = if is_drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(Some(length), target).with_style(style(template))
}

fn is_json() -> bool {
    manner().progress == Progress::Json
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a template that is fixed").progress_chars(BAR)
}

/// Shows a run: a bar for the epoch that runs, a line for each one that has ended.
#[derive(Default)]
pub(crate) struct TrainingProgress {
    bar: Option<ProgressBar>,
    epochs: u64,
    /// Which epoch it is.
    prefix: String,
}

impl TrainingProgress {
    fn bar(&mut self, length: u64, template: &str) -> &ProgressBar {
        let bar = self.bar.get_or_insert_with(|| bar(length, template));
        if bar.length() != Some(length) {
            bar.set_length(length);
        }
        bar
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Which weights a run begins with, and what of the file or of the network is left out.
fn tell_loaded(loaded: &Loaded) {
    let head = if loaded.new_head { ", with a new classifier" } else { "" };
    note(format_args!("begins with {} tensors of {}{head}", loaded.tensors, loaded.path.display()));
    let Mismatch { missing, unexpected, wrong_shape } = &loaded.rest;
    let wrong_shape: Vec<String> = wrong_shape.iter().map(ToString::to_string).collect();
    let parts = [
        ("new, because the file lacks them", missing),
        ("new, because the file has them in another shape", &wrong_shape),
        ("left out, because the network has no place for them", unexpected),
    ];
    for (what, names) in parts.into_iter().filter(|(_, names)| !names.is_empty()) {
        let names: Vec<String> = names.iter().map(|name| shown(name)).collect();
        warning(format_args!("{what}: {}", names.join(", ")));
    }
}

const STEP_TEMPLATE: &str = "{prefix} {bar:24.cyan/dim} {pos}/{len} · {msg}";
const VALIDATION_TEMPLATE: &str = "{prefix} {bar:24.green/dim} {pos}/{len} · validating";

impl Observer for TrainingProgress {
    fn start(&mut self, start: &Start<'_>) {
        self.epochs = start.run.epochs();
        if is_json() {
            event(&json!({
                "event": "start",
                "model": start.model,
                "parameters": start.parameters,
                "trained": start.trained,
                "data": start.data,
                "pictures": start.pictures,
                "classes": start.classes,
                "input": [start.input.channels, start.input.height, start.input.width],
                "epochs": self.epochs,
                "iterations": start.run.iterations,
                "iterations_done": start.iterations_done,
            }));
        }
        let [train, val] = start.pictures.map(thousands);
        note(format_args!(
            "{} {} parameters{}, input {}, {} classes",
            start.model.bold(),
            thousands(start.parameters),
            match start.trained == start.parameters {
                true => String::new(),
                false => format!(" ({} of them trained, the others frozen)", thousands(start.trained)),
            },
            start.input,
            start.classes.len(),
        ));
        if let Some(loaded) = start.loaded {
            tell_loaded(loaded);
        }
        note(format_args!("{}: {train} pictures; {}: {val}", start.data[0], start.data[1]));
        note(format_args!(
            "{} epochs of {} steps{}",
            self.epochs,
            start.run.per_epoch,
            match start.iterations_done {
                0 => String::new(),
                done => format!(", going on after step {} of {}", done, start.run.iterations),
            }
        ));
        for path in start.skipped {
            warning(format_args!("{} cannot be read and is left out", path.display()));
        }
    }

    fn step(&mut self, step: &Step) {
        if is_json() {
            let Step { epoch, step, steps, loss, accuracy, learning_rate, images_per_second, seconds_left } =
                *step;
            return event(&json!({
                "event": "step",
                "epoch": epoch,
                "step": step,
                "steps": steps,
                "loss": loss,
                "accuracy": accuracy,
                "learning_rate": learning_rate,
                "images_per_second": images_per_second,
                "seconds_left": seconds_left,
            }));
        }
        let message = format!(
            "loss {:.4} · accuracy {} · {:.0} images/s · {} left",
            step.loss,
            percent(step.accuracy),
            step.images_per_second,
            duration(step.seconds_left),
        );
        self.prefix = format!("epoch {}/{}", step.epoch, self.epochs);
        let prefix = self.prefix.clone();
        let bar = self.bar(step.steps, STEP_TEMPLATE);
        bar.set_prefix(prefix);
        bar.set_message(message);
        bar.set_position(step.step);
        if step.step == step.steps {
            self.clear();
        }
    }

    fn validation(&mut self, done: usize, images: usize) {
        if is_json() {
            return event(&json!({ "event": "validation", "done": done, "of": images }));
        }
        let prefix = self.prefix.clone();
        let bar = self.bar(images as u64, VALIDATION_TEMPLATE);
        bar.set_prefix(prefix);
        bar.set_position(done as u64);
    }

    fn epoch(&mut self, record: &EpochRecord, is_best: bool) {
        self.clear();
        if is_json() {
            return event(&json!({ "event": "epoch", "is_best": is_best, "metrics": record }));
        }
        let best = if is_best { " ◂ best" } else { "" };
        note(format_args!(
            "epoch {:>width$}/{}  {} loss {:.4} accuracy {:>7}  {} loss {:.4} accuracy {:>7}  {} {:.0} images/s{}",
            record.epoch,
            self.epochs,
            "train".dimmed(),
            record.train_loss,
            percent(record.train_accuracy),
            "validation".dimmed(),
            record.val_loss,
            percent(record.val_accuracy).bold(),
            duration(record.seconds),
            record.images_per_second,
            best.green(),
            width = self.epochs.to_string().len(),
        ));
    }

    fn checkpoint(&mut self, path: &Path) {
        if is_json() {
            event(&json!({ "event": "checkpoint", "path": path.to_string_lossy() }));
        }
    }
}

impl Drop for TrainingProgress {
    fn drop(&mut self) {
        self.clear();
    }
}
