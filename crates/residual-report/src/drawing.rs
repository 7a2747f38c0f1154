//! What all drawings share: colours, text, errors.

use plotters::{
    drawing::DrawingAreaErrorKind,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// Result of drawing into a text.
pub(crate) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Text and axes.
pub(crate) const INK: RGBColor = RGBColor(55, 65, 81);
/// What is of less importance.
pub(crate) const FAINT: RGBColor = RGBColor(148, 163, 184);
/// Lines behind everything.
pub(crate) const GRID: RGBColor = RGBColor(229, 231, 235);
/// What matters.
pub(crate) const ACCENT: RGBColor = RGBColor(37, 99, 235);
/// What is best.
pub(crate) const BEST: RGBColor = RGBColor(22, 163, 74);

/// Text of a size and colour, standing to this side of its point.
pub(crate) fn text(size: u32, colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(horizontal, vertical))
}
