//! A training step as bars: what takes how long, and how well it uses the processor.

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, VPos},
};

use residual_train::profile::{Part, Profile, Work};

use crate::drawing::{ACCENT, BEST, Drawn, FAINT, GRID, INK, text};

const WIDTH: i32 = 1040;
const ROW: i32 = 26;
/// Above and below the bars.
const MARGINS: [i32; 2] = [78, 16];
/// Where bars begin, and where the longest ends.
const BARS: [i32; 2] = [270, 700];

/// Of gradients with respect to weights.
const WEIGHTS: RGBColor = RGBColor(217, 119, 6);

fn colour(work: Work) -> RGBColor {
    match work {
        Work::Forward => ACCENT,
        Work::Backward => BEST,
        Work::BackwardWeights => WEIGHTS,
        Work::Update | Work::Rest => FAINT,
    }
}

/// The parts of a training step as bars, the longest first, with the GFLOPS of those that are made of
/// multiply-adds and how much of `peak`, the GFLOPS that the machine is able to, that is.
pub fn profile_svg(profile: &Profile, peak: f64) -> String {
    try_draw(profile, peak).expect("drawing into a text does not fail")
}

/// What takes less than this fraction of the step has no bar of its own.
const LEAST: f64 = 0.002;

/// The parts that have a bar, and one for all others.
fn bars(profile: &Profile) -> Vec<Part> {
    let (mut shown, few): (Vec<Part>, Vec<Part>) =
        profile.parts.iter().cloned().partition(|part| part.milliseconds >= LEAST * profile.milliseconds);
    if let Some(last) = few.last() {
        let milliseconds = few.iter().map(|part| part.milliseconds).sum();
        let operation = format!("{} others", few.len());
        let others = Part { operation, work: Work::Rest, milliseconds, multiply_adds: 0, ..last.clone() };
        shown.push(others);
    }
    shown
}

fn try_draw(profile: &Profile, peak: f64) -> Drawn<String> {
    let parts = bars(profile);
    let height = MARGINS[0] + ROW * parts.len() as i32 + MARGINS[1];
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let title = format!(
            "{}: a training step of {} pictures, {:.0} ms",
            profile.model, profile.batch, profile.milliseconds
        );
        area.draw(&Text::new(title, (16, 14), text(18, INK, HPos::Left, VPos::Top)))?;
        let small = |horizontal| text(13, INK, horizontal, VPos::Center);
        for (number, work) in [Work::Forward, Work::Backward, Work::BackwardWeights].into_iter().enumerate() {
            let x = BARS[0] + 120 * number as i32;
            area.draw(&Rectangle::new([(x, 48), (x + 12, 60)], colour(work).filled()))?;
            area.draw(&Text::new(work.name(), (x + 18, 54), small(HPos::Left)))?;
        }
        let longest = parts.iter().map(|part| part.milliseconds).fold(f64::MIN_POSITIVE, f64::max);
        for (number, part) in parts.iter().enumerate() {
            let top = MARGINS[0] + ROW * number as i32;
            let middle = top + ROW / 2;
            area.draw(&PathElement::new([(16, top), (WIDTH - 16, top)], GRID))?;
            let label = match part.work {
                Work::Rest | Work::Update => part.operation.clone(),
                work => format!("{}, {}", part.operation, work.name()),
            };
            area.draw(&Text::new(label, (BARS[0] - 10, middle), small(HPos::Right)))?;
            let length = f64::from(BARS[1] - BARS[0]) * (part.milliseconds / longest).max(0.0);
            let end = BARS[0] + length.round() as i32;
            let bar = Rectangle::new([(BARS[0], top + 4), (end, top + ROW - 4)], colour(part.work).filled());
            area.draw(&bar)?;
            let share = 100.0 * part.milliseconds / profile.milliseconds;
            let mut figures = format!("{:.1} ms · {share:.1} %", part.milliseconds);
            if let Some(gflops) = part.gflops() {
                figures += &format!(" · {gflops:.0} GFLOPS, {:.0} % of the peak", 100.0 * gflops / peak);
            }
            area.draw(&Text::new(figures, (end + 8, middle), small(HPos::Left)))?;
        }
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_drawn() {
        let part = |operation: &str, work, milliseconds, multiply_adds| Part {
            operation: operation.to_owned(),
            work,
            calls: 2,
            milliseconds,
            multiply_adds,
        };
        let parts = vec![
            part("conv2d 3×3", Work::BackwardWeights, 50.0, 5_000_000_000),
            part("relu", Work::Forward, 3.0, 0),
            // The median of the steps can be less than the sum of the parts' medians.
            part("between operations", Work::Rest, -1.0, 0),
            part("add", Work::Forward, 0.01, 0),
        ];
        let profile = Profile { model: "tiny".into(), batch: 4, milliseconds: 52.0, parts };
        let svg = profile_svg(&profile, 400.0);
        for text in ["tiny: a training step", "conv2d 3×3, backward, weights", "200 GFLOPS, 50 % of the peak"]
        {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        assert!(svg.contains("2 others") && svg.ends_with("</svg>\n"));
    }
}
