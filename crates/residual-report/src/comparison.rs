//! Runs beside each other.

use residual_train::{EpochRecord, RunRecord};

use crate::{
    Result,
    error::failed,
    plot::{self, Axis, COLOURS, Line, Plot},
};

/// Draws error and loss of runs over their epochs as SVG, seven runs in colours of their own: training dashed and
/// validation solid, as in He et al. 2015, figure 6.
///
/// # Errors
/// If the drawing cannot be made.
pub fn comparison_svg(runs: &[RunRecord]) -> Result<String> {
    let lines = |of: [fn(&EpochRecord) -> f64; 2]| -> Vec<Line> {
        let runs = runs.iter().enumerate();
        let both = runs.flat_map(|(number, run)| {
            of.into_iter().zip([("training", true), ("validation", false)]).map(
                move |(of, (what, dashed))| Line {
                    name: format!("{}, {what}", run.path.display()),
                    points: run.history.iter().map(|epoch| (epoch.epoch as f64, of(epoch))).collect(),
                    colour: COLOURS[number % COLOURS.len()],
                    dashed,
                },
            )
        });
        both.collect()
    };
    let error = Plot {
        title: "Error".into(),
        x: Axis::linear("epoch"),
        y: Axis::percent("pictures that are wrong"),
        lines: lines([|epoch| 1.0 - epoch.train_accuracy, |epoch| 1.0 - epoch.val_accuracy]),
    };
    let loss = Plot {
        title: "Loss".into(),
        x: Axis::linear("epoch"),
        y: Axis::linear("loss").including(0.0),
        lines: lines([|epoch| epoch.train_loss, |epoch| epoch.val_loss]),
    };
    plot::lines(&[error, loss]).map_err(failed)
}
