//! Loss and accuracy over the epochs, as SVG.

use residual_train::EpochRecord;

use crate::{
    drawing::{ACCENT, BEST, Drawn, FAINT},
    plot::{self, Axis, Line, Plot},
};

/// Draws both beside each other: training and validation, and which epoch was best.
pub(crate) fn draw(history: &[EpochRecord]) -> Drawn<String> {
    let best = EpochRecord::best(history);
    let lines = |train: fn(&EpochRecord) -> f64, val: fn(&EpochRecord) -> f64| {
        let point = |of: fn(&EpochRecord) -> f64| move |record| place(record, of);
        let line = |name: &str, points, colour| Line { name: name.to_owned(), points, colour, dashed: false };
        vec![
            line("training", history.iter().map(point(train)).collect(), FAINT),
            line("validation", history.iter().map(point(val)).collect(), ACCENT),
            line("best epoch", best.map(point(val)).into_iter().collect(), BEST),
        ]
    };
    // The first validations are often far off, and would press all else to the bottom.
    let most = 1.4 * history.iter().map(|record| record.train_loss).fold(1e-3, f64::max);
    let loss = Plot {
        title: "Loss".into(),
        x: Axis::linear("epoch"),
        y: Axis::linear("loss").including(0.0).at_most(most),
        lines: lines(|record| record.train_loss, |record| record.val_loss),
    };
    let accuracy = Plot {
        title: "Accuracy".into(),
        x: Axis::linear("epoch"),
        y: Axis { percent: true, ..Axis::linear("accuracy").including(1.0) },
        lines: lines(|record| record.train_accuracy, |record| record.val_accuracy),
    };
    plot::lines(&[loss, accuracy])
}

fn place(record: &EpochRecord, of: fn(&EpochRecord) -> f64) -> (f64, f64) {
    (record.epoch as f64, of(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_any_length_can_be_drawn() {
        let record = |epoch: u64| EpochRecord {
            epoch,
            train_loss: 2.0 / epoch as f64,
            train_accuracy: 1.0 - 0.8 / epoch as f64,
            // Far off in the beginning.
            val_loss: if epoch == 1 { 500.0 } else { 2.1 / epoch as f64 },
            val_accuracy: 1.0 - 0.7 / epoch as f64,
            ..EpochRecord::default()
        };
        for (epochs, dots) in [(0, 0), (1, 6), (2, 10), (8, 34), (165, 2)] {
            let history: Vec<EpochRecord> = (1..=epochs).map(record).collect();
            let svg = draw(&history).unwrap();
            // Training and validation of each epoch, unless there are many, and the best, in both plots.
            assert_eq!(svg.matches("<circle").count(), dots, "{epochs}: {svg}");
            assert!(svg.contains("best epoch") && !svg.contains("500"), "{epochs}: {svg}");
        }
    }
}
