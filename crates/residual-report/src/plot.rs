//! Plots of lines, side by side above one legend, and bars, as SVG. What they show is decided elsewhere.

use std::ops::Range;

use plotters::{
    coord::Shift,
    element::{Circle, DashedPathElement},
    prelude::*,
    style::text_anchor::{HPos, VPos},
};

use crate::drawing::{ACCENT, BEST, Drawn, FAINT, GRID, INK, text};

/// Colours that can be told apart, also by those who do not see all of them, and on dark ground.
pub(crate) const COLOURS: [RGBColor; 7] = [
    ACCENT,
    RGBColor(217, 119, 6),
    BEST,
    RGBColor(190, 24, 93),
    RGBColor(109, 40, 217),
    RGBColor(8, 145, 178),
    RGBColor(100, 116, 139),
];

/// How numbers are spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    /// Powers of ten at equal distances. What is not positive has no place.
    Log,
}

/// An axis.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
    /// Whether numbers are fractions that are written as percentages.
    pub(crate) percent: bool,
    /// What has to be on the axis, whatever the lines need.
    pub(crate) includes: Vec<f64>,
    /// Where the axis ends. What is beyond is drawn at its end.
    pub(crate) most: f64,
}

impl Axis {
    pub(crate) fn linear(label: &'static str) -> Self {
        Self { label, scale: Scale::Linear, percent: false, includes: Vec::new(), most: f64::INFINITY }
    }

    pub(crate) fn log(label: &'static str) -> Self {
        Self { scale: Scale::Log, ..Self::linear(label) }
    }

    pub(crate) fn percent(label: &'static str) -> Self {
        Self { percent: true, ..Self::linear(label).including(0.0) }
    }

    /// The axis with a number on it that the lines may not need.
    pub(crate) fn including(mut self, value: f64) -> Self {
        self.includes.push(value);
        self
    }

    /// The axis with an end that larger numbers do not move.
    pub(crate) fn at_most(self, most: f64) -> Self {
        Self { most, ..self }
    }

    /// Where a number lies on the axis, if it does.
    fn place(&self, value: f64) -> Option<f64> {
        // Written so that NaN stays NaN, which has no place.
        let value = if value > self.most { self.most } else { value };
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        };
        place.is_finite().then_some(place)
    }

    /// What stands at a place of the axis.
    fn tick(&self, place: f64) -> String {
        match self.scale {
            Scale::Linear if self.percent => format!("{:.0} %", 100.0 * place),
            Scale::Linear if place.abs() >= 10_000.0 => format!("{:.0}k", place / 1000.0),
            Scale::Linear => format!("{}", (1e6 * place).round() / 1e6),
            Scale::Log if place.fract().abs() > 1e-6 => String::new(),
            Scale::Log => match place.round() as i32 {
                power @ -2..=3 => format!("{}", 10f64.powi(power)),
                power => format!("1e{power}"),
            },
        }
    }

    fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let places = values.chain(self.includes.iter().copied()).filter_map(|value| self.place(value));
        let (low, high) = places
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| (low.min(place), high.max(place)));
        match self.scale {
            _ if low > high => 0.0..1.0,
            Scale::Linear if low == high => low - 0.5..high + 0.5,
            Scale::Linear => low..high + 0.04 * (high - low),
            // At least two powers of ten, so that one of them is named.
            Scale::Log => {
                let (low, high) = (low.floor(), high.ceil());
                low..if high - low < 2.0 { low + 2.0 } else { high }
            }
        }
    }
}

/// A line with its name in the legend.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) colour: RGBColor,
    pub(crate) dashed: bool,
}

/// A plot of lines.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

const WIDTH: u32 = 960;
const PLOT_HEIGHT: u32 = 320;
const LEGEND_ROW: i32 = 22;
/// Lines of more points have no dots.
const MOST_DOTS: usize = 40;

/// Draws plots in rows of two, above one legend in which what has the same name and look stands once.
pub(crate) fn lines(plots: &[Plot]) -> Drawn<String> {
    let columns = plots.len().clamp(1, 2);
    let rows = plots.len().div_ceil(columns).max(1);
    let mut legend: Vec<&Line> = Vec::new();
    for line in plots.iter().flat_map(|plot| &plot.lines) {
        let same = |other: &&Line| other.name == line.name && other.dashed == line.dashed;
        if !legend.iter().any(same) {
            legend.push(line);
        }
    }
    let longest = legend.iter().map(|line| line.name.chars().count()).max().unwrap_or(0) as i32;
    let entry = (longest * 7 + 64).max(120);
    let per_row = ((WIDTH as i32 - 40) / entry).max(1) as usize;
    let legend_height = legend.len().div_ceil(per_row) as i32 * LEGEND_ROW + 14;
    let height = rows as u32 * PLOT_HEIGHT + legend_height as u32;

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let (charts, below) = area.split_vertically(rows as u32 * PLOT_HEIGHT);
        for (area, plot) in charts.split_evenly((rows, columns)).iter().zip(plots) {
            draw(area, plot)?;
        }
        for (number, line) in legend.iter().enumerate() {
            let (row, column) = (number / per_row, number % per_row);
            let (x, y) = (24 + column as i32 * entry, row as i32 * LEGEND_ROW + 12);
            let style = line.colour.stroke_width(3);
            match line.dashed {
                true => below.draw(&DashedPathElement::new([(x, y), (x + 28, y)], 6, 4, style))?,
                false => below.draw(&PathElement::new([(x, y), (x + 28, y)], style))?,
            }
            let name = text(14, INK, HPos::Left, VPos::Center);
            below.draw(&Text::new(line.name.clone(), (x + 36, y), name))?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, plot: &Plot) -> Drawn {
    let Plot { title, x, y, lines } = plot;
    let points = || lines.iter().flat_map(|line| &line.points);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(title, text(17, INK, HPos::Left, VPos::Top))
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(x.range(points().map(|point| point.0)), y.range(points().map(|point| point.1)))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text(13, INK, HPos::Left, VPos::Top))
        .x_desc(x.label)
        .y_desc(y.label)
        .x_labels(7)
        .y_labels(7)
        .x_label_formatter(&|place| x.tick(*place))
        .y_label_formatter(&|place| y.tick(*place))
        .draw()?;
    for line in lines {
        let places = line.points.iter().filter_map(|&(a, b)| Some((x.place(a)?, y.place(b)?)));
        let places: Vec<(f64, f64)> = places.collect();
        let style = line.colour.stroke_width(2);
        match line.dashed {
            true => drop(chart.draw_series(DashedLineSeries::new(places.clone(), 6, 4, style))?),
            false => drop(chart.draw_series(LineSeries::new(places.clone(), style))?),
        }
        if places.len() <= MOST_DOTS && !line.dashed {
            chart.draw_series(places.into_iter().map(|place| Circle::new(place, 3, line.colour.filled())))?;
        }
    }
    Ok(())
}

/// A bar: its label, its length, what is written behind it, and which colour it has.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) figure: String,
    pub(crate) colour: usize,
}

/// Draws bars below each other, the longest across the page.
pub(crate) fn bars(title: &str, bars: &[Bar]) -> Drawn<String> {
    const ROW: i32 = 26;
    const TOP: i32 = 48;
    let longest = |of: fn(&Bar) -> &str| {
        bars.iter().map(|bar| of(bar).chars().count()).max().unwrap_or(0) as i32 * 15 / 2
    };
    let left = longest(|bar| &bar.label) + 30;
    let room = (WIDTH as i32 - left - longest(|bar| &bar.figure) - 30).max(60);
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = String::new();
    {
        let size = (WIDTH, (TOP + ROW * bars.len() as i32 + 14) as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        area.draw(&Text::new(title, (16, 12), text(17, INK, HPos::Left, VPos::Top)))?;
        area.draw(&PathElement::new([(left, TOP - 4), (left, TOP + ROW * bars.len() as i32 + 4)], FAINT))?;
        for (number, bar) in bars.iter().enumerate() {
            let middle = TOP + ROW * number as i32 + ROW / 2;
            let label = text(14, INK, HPos::Right, VPos::Center);
            area.draw(&Text::new(bar.label.clone(), (left - 10, middle), label))?;
            let end = left + (f64::from(room) * (bar.value / most).clamp(0.0, 1.0)).round() as i32;
            let filled = COLOURS[bar.colour % COLOURS.len()].filled();
            area.draw(&Rectangle::new([(left, middle - 9), (end.max(left + 1), middle + 9)], filled))?;
            let figure = text(14, INK, HPos::Left, VPos::Center);
            area.draw(&Text::new(bar.figure.clone(), (end + 8, middle), figure))?;
        }
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, points: &[(f64, f64)], dashed: bool) -> Line {
        Line { name: name.to_owned(), points: points.to_vec(), colour: ACCENT, dashed }
    }

    #[test]
    fn what_has_no_place_on_an_axis_is_left_out() {
        let points = [(1.0, 1e-9), (2.0, 0.0), (3.0, f64::INFINITY), (4.0, 1e6)];
        let plot = Plot {
            title: "norms".into(),
            x: Axis::linear("layer"),
            y: Axis::log("norm"),
            lines: vec![line("a", &points, false), line("a", &points, true)],
        };
        let svg = lines(&[plot.clone(), plot]).unwrap();
        // Two points of the solid line in each plot; the legend has each look once.
        assert_eq!(svg.matches("<circle").count(), 4, "{svg}");
        assert_eq!(svg.matches(">\na\n<").count(), 2, "{svg}");
        assert!(svg.contains("1e-5") && svg.contains("1e5"), "{svg}");
    }

    #[test]
    fn plots_without_anything_can_be_drawn() {
        let plot = Plot {
            title: String::new(),
            x: Axis::linear("x"),
            y: Axis::percent("y"),
            lines: vec![line("a", &[], false)],
        };
        assert!(lines(&[plot]).unwrap().starts_with("<svg"));
        assert!(lines(&[]).unwrap().starts_with("<svg") && bars("none", &[]).unwrap().starts_with("<svg"));
    }

    #[test]
    fn the_longest_bar_is_the_largest_number() {
        let bar = |value| Bar { label: "b".into(), value, figure: "f".into(), colour: 0 };
        let svg = bars("times", &[bar(1.0), bar(4.0)]).unwrap();
        let widths: Vec<i32> = svg
            .lines()
            .filter(|line| line.contains("#2563EB") && line.starts_with("<rect"))
            .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2, "{svg}");
        assert!((widths[1] - 4 * widths[0]).abs() <= 4, "{widths:?}");
    }
}
