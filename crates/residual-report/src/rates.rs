//! The losses of learning rates.

use residual_train::RateTrial;

use crate::{
    Result,
    error::failed,
    plot::{self, Axis, COLOURS, Line, Plot},
};

/// Draws the loss over the learning rate, and the two rates that follow from it, as SVG.
///
/// # Errors
/// If the drawing cannot be made.
pub fn rates_svg(trial: &RateTrial) -> Result<String> {
    let losses = || trial.losses.iter().copied();
    let (low, high) = (losses().fold(f64::INFINITY, f64::min), losses().fold(f64::NEG_INFINITY, f64::max));
    let upright = |name: &str, rate: f64, colour: usize| Line {
        name: format!("{name}: {rate:.2e}"),
        points: vec![(rate, low), (rate, high)],
        colour: COLOURS[colour],
        dashed: true,
    };
    let plot = Plot {
        title: "Loss at rising learning rates".into(),
        x: Axis::log("learning rate"),
        y: Axis::linear("smoothed loss"),
        lines: vec![
            Line {
                name: "loss".into(),
                points: trial.rates.iter().copied().zip(losses()).collect(),
                colour: COLOURS[0],
                dashed: false,
            },
            upright("falls most steeply", trial.steepest, 1),
            upright("a tenth of that of the smallest loss", trial.tenth_of_smallest, 2),
        ],
    };
    plot::lines(&[plot]).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_of_any_length_can_be_drawn() {
        for steps in [0, 1, 100] {
            let rates: Vec<f64> = (0..steps).map(|step| 1e-7 * 1.2f64.powi(step)).collect();
            let losses = rates.iter().map(|rate| 2.0 + rate).collect();
            let suggested = rates.last().copied().unwrap_or(f64::NAN);
            let trial = RateTrial { rates, losses, steepest: suggested, tenth_of_smallest: suggested / 10.0 };
            let svg = rates_svg(&trial).unwrap();
            assert!(svg.starts_with("<svg") && svg.contains("falls most steeply"), "{steps}: {svg}");
        }
    }
}
