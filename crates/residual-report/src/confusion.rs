//! The confusion matrix, as SVG: rows are true classes, columns what they were taken for.

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, VPos},
};

use residual_train::Confusion;

use crate::drawing::{ACCENT, Drawn, INK, text};

/// The matrix is about this wide.
const MATRIX: usize = 560;
/// Up to so many classes each cell holds its number.
const MOST_NUMBERS: usize = 20;
const TITLE: i32 = 44;

/// Draws the matrix. A cell is as dark as the part of its class that it holds.
pub(crate) fn draw(confusion: &Confusion, classes: &[String]) -> Drawn<String> {
    let count = classes.len().max(1);
    let cell = (MATRIX / count).clamp(5, 72) as i32;
    let font = (cell * 2 / 5).clamp(6, 15) as u32;
    let longest = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0);
    // Letters are about 0.6 as wide as they are high.
    let names = (longest as i32 * font as i32 * 3 / 5 + 16).max(70);
    let side = cell * count as i32;
    let (left, top) = (names, TITLE + names);
    let size = (left + side + 20, top + side + 20);

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (size.0 as u32, size.1 as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let title = "Confusion: rows are true classes, columns predictions";
        area.draw(&Text::new(title, (14, 12), text(18, INK, HPos::Left, VPos::Top)))?;
        for (number, class) in classes.iter().enumerate() {
            let middle = number as i32 * cell + cell / 2;
            let row = text(font, INK, HPos::Right, VPos::Center);
            area.draw(&Text::new(class.as_str(), (left - 8, top + middle), row))?;
            let column = text(font, INK, HPos::Left, VPos::Center).transform(FontTransform::Rotate270);
            area.draw(&Text::new(class.as_str(), (left + middle, top - 8), column))?;
        }
        for (row, counts) in confusion.rows().iter().enumerate() {
            let support = counts.iter().sum::<u64>().max(1);
            for (column, &count) in counts.iter().enumerate() {
                let (x, y) = (left + column as i32 * cell, top + row as i32 * cell);
                let part = count as f64 / support as f64;
                let corners = [(x, y), (x + cell - 1, y + cell - 1)];
                area.draw(&Rectangle::new(corners, shade(part).filled()))?;
                if count > 0 && classes.len() <= MOST_NUMBERS {
                    let ink = if part > 0.5 { WHITE } else { INK };
                    let style = text(font, ink, HPos::Center, VPos::Center);
                    area.draw(&Text::new(count.to_string(), (x + cell / 2, y + cell / 2), style))?;
                }
            }
        }
        area.present()?;
    }
    Ok(svg)
}

/// From nearly white to the accent; small parts, which are mistakes, show more than they are.
fn shade(part: f64) -> RGBColor {
    const PALE: RGBColor = RGBColor(241, 245, 249);
    let weight = part.sqrt();
    let mix = |pale: u8, full: u8| (f64::from(pale) + weight * (f64::from(full) - f64::from(pale))) as u8;
    RGBColor(mix(PALE.0, ACCENT.0), mix(PALE.1, ACCENT.1), mix(PALE.2, ACCENT.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_drawn_as_long_as_they_can_be_read() {
        for (count, numbers) in [(2, true), (7, true), (100, false)] {
            let classes: Vec<String> = (0..count).map(|class| format!("class {class}")).collect();
            let mut confusion = Confusion::new(count);
            (0..31_337).for_each(|_| confusion.add(0, 1));
            let svg = draw(&confusion, &classes).unwrap();
            assert!(svg.contains("class 1"));
            assert_eq!(svg.contains("31337"), numbers, "{count}");
        }
    }
}
