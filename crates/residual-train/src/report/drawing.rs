//! What all drawings share: colours, text, errors.

use plotters::{
    drawing::DrawingAreaErrorKind,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// Result of drawing into a text.
pub(super) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(55, 65, 81);
/// What is of less importance.
pub(super) const FAINT: RGBColor = RGBColor(148, 163, 184);
/// Lines behind everything.
pub(super) const GRID: RGBColor = RGBColor(229, 231, 235);
/// What matters.
pub(super) const ACCENT: RGBColor = RGBColor(37, 99, 235);
/// What is best.
pub(super) const BEST: RGBColor = RGBColor(22, 163, 74);

/// Text of a size and colour, standing to this side of its point.
pub(super) fn text(size: u32, colour: RGBColor, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(horizontal, vertical))
}
