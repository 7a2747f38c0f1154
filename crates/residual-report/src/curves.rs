//! Loss and accuracy over the epochs, as SVG.

use std::ops::Range;

use plotters::{
    coord::Shift,
    element::Circle,
    prelude::*,
    style::text_anchor::{HPos, VPos},
};

use residual_train::EpochRecord;

use crate::drawing::{ACCENT, BEST, Drawn, FAINT, GRID, INK, text};

const SIZE: (u32, u32) = (960, 340);
/// Up to so many epochs each has a dot.
const MOST_DOTS: usize = 40;

/// One panel: what is drawn, and where its axis begins and ends.
struct Panel {
    title: &'static str,
    /// Of training and validation.
    of: [fn(&EpochRecord) -> f64; 2],
    label: fn(&f64) -> String,
    range: Range<f64>,
}

/// Draws both panels.
pub(crate) fn draw(history: &[EpochRecord]) -> Drawn<String> {
    let values =
        |of: [fn(&EpochRecord) -> f64; 2]| history.iter().flat_map(move |record| of.map(|of| of(record)));
    let losses: [fn(&EpochRecord) -> f64; 2] = [|record| record.train_loss, |record| record.val_loss];
    let accuracies: [fn(&EpochRecord) -> f64; 2] =
        [|record| record.train_accuracy, |record| record.val_accuracy];
    // The first validations are often far off, and would press all else to the bottom.
    let highest_loss = history.iter().map(|record| record.train_loss).fold(1e-3, f64::max);
    let highest_loss = values(losses).fold(1e-3, f64::max).min(1.4 * highest_loss);
    // From a multiple of 10 % below the worst epoch.
    let lowest_accuracy = (10.0 * values(accuracies).fold(0.9, f64::min)).floor() / 10.0;
    let panels = [
        Panel {
            title: "Loss",
            of: losses,
            label: |loss| format!("{loss:.2}"),
            range: 0.0..1.05 * highest_loss,
        },
        Panel {
            title: "Accuracy",
            of: accuracies,
            label: |accuracy| format!("{:.0} %", 100.0 * accuracy),
            range: lowest_accuracy..1.0,
        },
    ];

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (left, right) = area.split_horizontally(SIZE.0 / 2);
        for (area, panel) in [left, right].iter().zip(&panels) {
            draw_panel(area, panel, history)?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel, history: &[EpochRecord]) -> Drawn {
    let epochs = history.len().max(2) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(panel.title, text(18, INK, HPos::Left, VPos::Top))
        .x_label_area_size(40)
        .y_label_area_size(54)
        .build_cartesian_2d(1.0..epochs, panel.range.clone())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text(13, INK, HPos::Left, VPos::Top))
        .x_desc("epoch")
        .x_labels(history.len().clamp(2, 10))
        .x_label_formatter(&|epoch| if epoch.fract() == 0.0 { format!("{epoch}") } else { String::new() })
        .y_labels(6)
        .y_label_formatter(&panel.label)
        .draw()?;

    let [train, val] = panel.of;
    for (name, of, colour, width) in [("training", train, FAINT, 2), ("validation", val, ACCENT, 3)] {
        let points = history.iter().map(|record| (record.epoch as f64, of(record).min(panel.range.end)));
        let style = colour.stroke_width(width);
        chart
            .draw_series(LineSeries::new(points.clone(), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        if history.len() <= MOST_DOTS {
            chart.draw_series(points.map(|point| Circle::new(point, width, colour.filled())))?;
        }
    }
    let best = EpochRecord::best(history);
    chart
        .draw_series(best.map(|best| Circle::new((best.epoch as f64, val(best)), 6, BEST.stroke_width(2))))?;
    let corner = if panel.range.end == 1.0 {
        SeriesLabelPosition::LowerRight
    } else {
        SeriesLabelPosition::UpperRight
    };
    chart
        .configure_series_labels()
        .position(corner)
        .label_font(text(13, INK, HPos::Left, VPos::Top))
        .background_style(WHITE)
        .draw()?;
    Ok(())
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
            val_loss: 2.1 / epoch as f64,
            val_accuracy: 1.0 - 0.7 / epoch as f64,
            ..EpochRecord::default()
        };
        for epochs in [0, 1, 2, 8, 165] {
            let history: Vec<EpochRecord> = (1..=epochs).map(record).collect();
            let svg = draw(&history).unwrap();
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{epochs}: {svg}");
        }
    }
}
