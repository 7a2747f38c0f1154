//! An explanation as a picture: what the network saw, where it looked, and what it said. What it looked at is
//! decided in `residual-model`.

use std::convert::Infallible;

use embedded_graphics::{
    mono_font::{MonoFont, MonoTextStyle, iso_8859_1 as fonts},
    pixelcolor::Rgb888,
    prelude::*,
    primitives::{PrimitiveStyle, Rectangle},
    text::{Alignment, Baseline, Text, TextStyleBuilder},
};
use residual_data::{ImageShape, Interpolation, Picture};
use residual_model::{Explanation, Model};

use crate::Result;

/// The longer side of the pictures.
const SIDE: usize = 336;
/// Between everything.
const MARGIN: i32 = 20;
/// Above the pictures.
const TITLE: i32 = 56;
/// What the probabilities take.
const BARS: i32 = 300;
const ROW: i32 = 44;
/// At most so many classes are named.
const MOST_BARS: usize = 7;

const PAPER: Rgb888 = Rgb888::new(255, 255, 255);
const INK: Rgb888 = Rgb888::new(31, 41, 55);
const SOFT: Rgb888 = Rgb888::new(107, 114, 128);
const GROUND: Rgb888 = Rgb888::new(229, 231, 235);
const ACCENT: Rgb888 = Rgb888::new(37, 99, 235);
const FAINT: Rgb888 = Rgb888::new(148, 163, 184);

/// From nothing to the most: dark blue, violet, red, orange, light yellow.
const HEAT: [[f32; 3]; 5] = [
    [20.0, 20.0, 90.0],
    [120.0, 30.0, 140.0],
    [220.0, 50.0, 70.0],
    [250.0, 150.0, 30.0],
    [255.0, 250.0, 160.0],
];

/// Draws the picture as the network saw it, the same with what speaks for the class laid over it, and the
/// probabilities of the classes.
///
/// # Errors
/// If the picture cannot be brought to what the network takes.
pub fn explanation_picture(
    model: &Model<f32>,
    picture: &Picture,
    explanation: &Explanation,
) -> Result<Picture> {
    let input = model.preprocess.input;
    let seen =
        model.preprocess.resize(picture.clone())?.centre_crop(input.height, input.width)?.with_channels(3)?;
    let scale = SIDE as f64 / input.height.max(input.width) as f64;
    let [height, width] =
        [input.height, input.width].map(|side| ((side as f64 * scale).round() as usize).max(1));
    let seen = seen.resize(height, width, Interpolation::Bilinear)?;

    let rows = explanation.prediction.classes().len().min(MOST_BARS) as i32;
    let (wide, high) = (width as i32, height as i32);
    let size =
        Size::new((4 * MARGIN + 2 * wide + BARS) as u32, (TITLE + high.max(rows * ROW) + 2 * MARGIN) as u32);
    let mut canvas = Canvas::new(size);
    let class = &explanation.prediction.classes()[explanation.class];
    let stage = &explanation.stage;
    let columns = [MARGIN, 2 * MARGIN + wide, 3 * MARGIN + 2 * wide];
    let headings =
        ["what the network sees".to_owned(), format!("for {class}, at {stage}"), "probabilities".to_owned()];
    for (left, heading) in columns.iter().zip(headings) {
        let room = if *left == columns[2] { BARS } else { wide };
        canvas.text(
            &fitted(&heading, room, &fonts::FONT_9X15_BOLD),
            Point::new(*left, TITLE / 2),
            INK,
            Alignment::Left,
        );
    }
    canvas.picture(&seen, Point::new(columns[0], TITLE));
    canvas.picture(&overlaid(&seen, explanation)?, Point::new(columns[1], TITLE));
    for (row, guess) in explanation.prediction.top(MOST_BARS).iter().enumerate() {
        let top = TITLE + row as i32 * ROW;
        let is_explained = guess.index == explanation.class;
        let font = if is_explained { &fonts::FONT_9X15_BOLD } else { &fonts::FONT_9X15 };
        let name = fitted(&guess.class, BARS - 80, font);
        canvas.text_in(font, &name, Point::new(columns[2], top + 9), INK, Alignment::Left);
        let figure = format!("{:.1} %", 100.0 * guess.probability);
        canvas.text_in(font, &figure, Point::new(columns[2] + BARS, top + 9), SOFT, Alignment::Right);
        canvas.bar(Point::new(columns[2], top + 22), BARS, GROUND);
        let length = (f64::from(BARS) * f64::from(guess.probability)).round() as i32;
        canvas.bar(Point::new(columns[2], top + 22), length, if is_explained { ACCENT } else { FAINT });
    }
    canvas.into_picture()
}

/// The picture in grey, coloured where something speaks for the class.
fn overlaid(seen: &Picture, explanation: &Explanation) -> Result<Picture> {
    let heat = explanation.heat(seen.height(), seen.width());
    let pixels = seen.pixels().chunks_exact(3).zip(heat.as_slice()).flat_map(|(pixel, &heat)| {
        let grey = 0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]);
        let at = heat.clamp(0.0, 1.0) * (HEAT.len() - 1) as f32;
        let first = (at as usize).min(HEAT.len() - 2);
        let share = at - first as f32;
        [0, 1, 2].map(|channel| {
            let colour = HEAT[first][channel] * (1.0 - share) + HEAT[first + 1][channel] * share;
            // Half of each, so that both can be made out.
            (0.5 * grey + 0.5 * colour) as u8
        })
    });
    Ok(Picture::new(seen.shape(), pixels.collect())?)
}

/// The text, cut off to fit so many pixels.
fn fitted(text: &str, room: i32, font: &MonoFont<'_>) -> String {
    let most = (room.max(0) as u32 / font.character_size.width) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect()
}

/// What is drawn on.
struct Canvas {
    size: Size,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(size: Size) -> Self {
        let [red, green, blue] = [PAPER.r(), PAPER.g(), PAPER.b()];
        Self { size, pixels: [red, green, blue].repeat((size.width * size.height) as usize) }
    }

    fn text(&mut self, text: &str, at: Point, colour: Rgb888, alignment: Alignment) {
        self.text_in(&fonts::FONT_9X15_BOLD, text, at, colour, alignment);
    }

    /// Text whose middle is at the height of `at`. Letters that the font lacks become question marks.
    fn text_in(&mut self, font: &MonoFont<'_>, text: &str, at: Point, colour: Rgb888, alignment: Alignment) {
        let style = TextStyleBuilder::new().alignment(alignment).baseline(Baseline::Middle).build();
        let text = Text::with_text_style(text, at, MonoTextStyle::new(font, colour), style);
        let Ok(_) = text.draw(self);
    }

    fn bar(&mut self, at: Point, length: i32, colour: Rgb888) {
        let bar = Rectangle::new(at, Size::new(length.max(0) as u32, 10));
        let Ok(()) = bar.into_styled(PrimitiveStyle::with_fill(colour)).draw(self);
    }

    fn picture(&mut self, picture: &Picture, at: Point) {
        let area = Rectangle::new(at, Size::new(picture.width() as u32, picture.height() as u32));
        let colours = picture.pixels().chunks_exact(3).map(|pixel| Rgb888::new(pixel[0], pixel[1], pixel[2]));
        let Ok(()) = self.fill_contiguous(&area, colours);
    }

    fn into_picture(self) -> Result<Picture> {
        let shape = ImageShape::new(3, self.size.height as usize, self.size.width as usize);
        Ok(Picture::new(shape, self.pixels)?)
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        self.size
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> std::result::Result<(), Infallible> {
        let area = self.bounding_box();
        for Pixel(point, colour) in pixels {
            if area.contains(point) {
                let at = 3 * (point.y as usize * self.size.width as usize + point.x as usize);
                self.pixels[at..at + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use residual_data::{Dataset, Faces, Preprocess, Split};
    use residual_tensor::Generator;
    use residual_zoo::NetworkConfig;

    use super::*;

    #[test]
    fn the_picture_stands_beside_its_overlay_and_the_probabilities() {
        let faces = Faces::new(0, Split::Test, 7);
        let config = NetworkConfig::named("cifar_resnet8").unwrap().classes(7).input_channels(1);
        let net = config.build(&mut Generator::new(0)).unwrap();
        let model =
            Model { net, classes: faces.classes().to_vec(), preprocess: Preprocess::new(Faces::SHAPE) };
        let face = faces.get(3).unwrap().image;
        let explanation = model.explain(&face, None, None).unwrap();
        let drawn = explanation_picture(&model, &face, &explanation).unwrap();
        assert_eq!((drawn.width(), drawn.channels()), (2 * SIDE + 4 * MARGIN as usize + BARS as usize, 3));

        let at = |row: usize, column: usize| {
            let first = 3 * (row * drawn.width() + column);
            [drawn.pixels()[first], drawn.pixels()[first + 1], drawn.pixels()[first + 2]]
        };
        let (top, left) = (TITLE as usize, MARGIN as usize);
        let is_grey = |pixel: [u8; 3]| pixel[0] == pixel[1] && pixel[1] == pixel[2];
        assert!((0..SIDE).all(|pixel| is_grey(at(top + pixel, left + pixel))));
        let second = 2 * left + SIDE;
        assert!((0..SIDE).filter(|&pixel| !is_grey(at(top + pixel, second + pixel))).count() > SIDE / 2);
        let third = 3 * left + 2 * SIDE;
        let accent = [ACCENT.r(), ACCENT.g(), ACCENT.b()];
        let top_class = explanation.prediction.top(1)[0].probability;
        let blue = (0..BARS as usize).filter(|&column| at(top + 27, third + column) == accent).count();
        assert_eq!(blue, (f64::from(BARS) * f64::from(top_class)).round() as usize);
    }

    #[test]
    fn long_names_are_cut_off() {
        assert_eq!(fitted("abcdefgh", 36, &fonts::FONT_9X15), "a...");
        assert_eq!(fitted("abcd", 36, &fonts::FONT_9X15), "abcd");
    }
}
