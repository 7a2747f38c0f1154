//! What `residual train` can try before a run: --dry-run, --overfit-batch, --lr-find.

use std::path::Path;

use owo_colors::OwoColorize;
use residual_report::rates_svg;
use residual_train::Trainer;
use residual_weights::replace_file;
use serde_json::json;

use crate::{
    Context,
    error::Result,
    output::{self, duration, line, note, percent, thousands},
};

/// Tells what a run would be, and how long it would take.
pub(super) fn dry_run(trainer: &mut Trainer<f32>, context: &Context) -> Result<()> {
    let run = trainer.length();
    let rehearsal = trainer.rehearse()?;
    let training = &trainer.checkpoint().training;
    if context.json {
        output::json(&json!({
            "epochs": run.epochs(),
            "iterations": run.iterations,
            "rehearsal": rehearsal,
            "config": training.config,
        }));
        return Ok(());
    }
    line(format_args!(
        "{} epochs of {} steps of {} pictures: about {}",
        run.epochs(),
        thousands(run.per_epoch),
        thousands(training.config.batch as u64),
        duration(rehearsal.run_seconds).bold(),
    ));
    line(format_args!(
        "a step takes {:.3} s, validation {}; the first loss is {:.4}",
        rehearsal.step_seconds,
        duration(rehearsal.validation_seconds),
        rehearsal.loss,
    ));
    line("Nothing has been written.");
    Ok(())
}

/// A batch counts as learnt at this accuracy.
const LEARNT: f64 = 1.0;
/// Steps from line to line.
const EVERY: u64 = 20;

/// Tells whether the network can learn one batch by heart.
pub(super) fn overfit_batch(trainer: &mut Trainer<f32>, steps: u64, context: &Context) -> Result<()> {
    let mut last = (0, f64::NAN, 0.0);
    trainer.overfit(steps, |step, loss, accuracy| {
        last = (step, loss, accuracy);
        if step == 1 || step.is_multiple_of(EVERY) {
            note(format_args!("step {step:>5}  loss {loss:.4}  accuracy {}", percent(accuracy)));
        }
        accuracy < LEARNT
    })?;
    let (step, loss, accuracy) = last;
    let learnt = accuracy >= LEARNT;
    if context.json {
        output::json(&json!({ "steps": step, "loss": loss, "accuracy": accuracy, "learnt": learnt }));
    } else if learnt {
        let learnt = "learnt by heart".bold();
        line(format_args!("{learnt} after {step} steps: network, loss and labels fit each other"));
    } else {
        line(format_args!(
            "{} after {step} steps (loss {loss:.4}, accuracy {}): look at the labels, the variation of the pictures \
             and the learning rate",
            "not learnt".bold(),
            percent(accuracy),
        ));
    }
    Ok(())
}

/// Tells which learning rates the loss falls at, and draws it.
pub(super) fn lr_find(trainer: &mut Trainer<f32>, svg: &Path, context: &Context) -> Result<()> {
    let trial = trainer.try_rates(|step, rate, loss| {
        if step.is_multiple_of(EVERY / 2) {
            note(format_args!("step {step:>4}  rate {rate:>9.2e}  loss {loss:.4}"));
        }
    })?;
    replace_file(svg, rates_svg(&trial).map_err(Box::new)?.as_bytes())?;
    if context.json {
        output::json(&trial);
    } else {
        let steepest = format!("{:.2e}", trial.steepest);
        line(format_args!("the loss falls most steeply at a rate of {}", steepest.bold()));
        line(format_args!("a tenth of the rate at which it is smallest: {:.2e}", trial.tenth_of_smallest));
        line(svg.display());
    }
    Ok(())
}
