//! Parts of a picture: at random places, and at random sizes.

use residual_tensor::Generator;
use serde::{Deserialize, Serialize};

use crate::{Interpolation, Picture, Result, resize::Target};

/// Pads the picture on each side, and crops its own size back at random (Lee et al. 2015): a shift
/// by at most the padding in each direction.
///
/// ```
/// use residual_data::{Picture, ImageShape, PadAndCrop};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(1, 8, 8), vec![255; 64])?;
/// let shifted = PadAndCrop::new(2).apply(&picture, &mut Generator::new(3));
/// assert_eq!(shifted.shape(), picture.shape());
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PadAndCrop {
    /// Pixels on each side.
    pub padding: u16,
    /// What is there.
    pub mode: PaddingMode,
}

/// What a picture is padded with; torchvision's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaddingMode {
    /// Black; of a standardised picture, its mean.
    #[default]
    Constant,
    /// The picture's mirror image, without repeating the pixels at its edge.
    Reflect,
}

impl PaddingMode {
    /// The pixel in `0..length` that stands at a place, which may lie outside; `None` for one without
    /// picture.
    pub fn source(self, place: isize, length: usize) -> Option<usize> {
        let length = length as isize;
        match self {
            _ if (0..length).contains(&place) => Some(place as usize),
            Self::Constant => None,
            Self::Reflect => {
                let period = (2 * (length - 1)).max(1);
                let place = place.rem_euclid(period);
                Some(place.min(period - place).min(length - 1) as usize)
            }
        }
    }
}

impl PadAndCrop {
    /// Black padding.
    pub fn new(padding: u16) -> Self {
        Self { padding, mode: PaddingMode::Constant }
    }

    /// Rows down and columns to the right by which the crop is moved from the middle.
    pub fn draw(&self, generator: &mut Generator) -> [isize; 2] {
        let padding = usize::from(self.padding);
        let mut shift = || generator.below(2 * padding + 1) as isize - padding as isize;
        [shift(), shift()]
    }

    /// The shifted picture.
    pub fn apply(&self, image: &Picture, generator: &mut Generator) -> Picture {
        let [down, right] = self.draw(generator);
        image.filled_from(|row, column| {
            let row = self.mode.source(row as isize + down, image.height())?;
            let column = self.mode.source(column as isize + right, image.width())?;
            Some([row as isize, column as isize])
        })
    }
}

/// A part of the picture of random place, size and side ratio, brought to one size (Szegedy et al.
/// 2015). torchvision's `RandomResizedCrop`: ten tries to fit such a part into the picture, then
/// the middle.
///
/// ```
/// use residual_data::{Picture, ImageShape, RandomResizedCrop};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(3, 60, 80), vec![200; 3 * 60 * 80])?;
/// let part = RandomResizedCrop::new(48, 48).apply(&picture, &mut Generator::new(3))?;
/// assert_eq!(part.shape(), ImageShape::new(3, 48, 48));
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomResizedCrop {
    /// Rows of the result.
    pub height: usize,
    /// Columns of the result.
    pub width: usize,
    /// The least and the largest part of the picture's area.
    pub scale: [f64; 2],
    /// The least and the largest ratio of width to height.
    pub ratio: [f64; 2],
    /// How pixels are weighted when the part is resized.
    pub interpolation: Interpolation,
}

impl RandomResizedCrop {
    /// Torchvision's numbers: 8 to 100 % of the area, ratios of 3:4 to 4:3.
    pub fn new(height: usize, width: usize) -> Self {
        let (scale, ratio) = ([0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0]);
        Self { height, width, scale, ratio, interpolation: Interpolation::default() }
    }

    /// A part of the picture at the new size.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::DataError::Shape) if the new size is not possible.
    pub fn apply(&self, image: &Picture, generator: &mut Generator) -> Result<Picture> {
        let Self { height, width, .. } = *self;
        let part = self.draw(image.height(), image.width(), generator);
        let [top, left, rows, columns] = part;
        let whole = Target { size: [height, width], rows: 0..height, columns: 0..width };
        image.part(top..top + rows, left..left + columns).resize_part(whole, self.interpolation)
    }

    /// Top, left, rows and columns of a part of a picture of this size.
    fn draw(&self, height: usize, width: usize, generator: &mut Generator) -> [usize; 4] {
        const TRIES: usize = 10;
        let area = height as f64 * width as f64;
        let [least, most] = self.ratio;
        for _ in 0..TRIES {
            let (part, ratio) = draw_rectangle(area, self.scale, self.ratio, generator);
            let (columns, rows) = (rounded((part * ratio).sqrt()), rounded((part / ratio).sqrt()));
            if (1..=height).contains(&rows) && (1..=width).contains(&columns) {
                let top = generator.below(height - rows + 1);
                return [top, generator.below(width - columns + 1), rows, columns];
            }
        }
        let ratio = width as f64 / height as f64;
        let rows = if ratio < least { rounded(width as f64 / least).clamp(1, height) } else { height };
        let columns = if ratio > most { rounded(height as f64 * most).clamp(1, width) } else { width };
        [(height - rows) / 2, (width - columns) / 2, rows, columns]
    }
}

/// An area, evenly drawn from a part of the whole, and a side ratio whose logarithm is.
pub(super) fn draw_rectangle(
    whole: f64,
    scale: [f64; 2],
    ratio: [f64; 2],
    generator: &mut Generator,
) -> (f64, f64) {
    let area = whole * generator.between(scale[0], scale[1]);
    (area, generator.between(ratio[0].ln(), ratio[1].ln()).exp())
}

/// To a whole number, halves to even as Python does.
pub(super) fn rounded(value: f64) -> usize {
    value.round_ties_even() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    #[test]
    fn every_shift_occurs() {
        let (mut generator, crop) = (Generator::new(1), PadAndCrop::new(4));
        let drawn: Vec<[isize; 2]> = (0..2000).map(|_| crop.draw(&mut generator)).collect();
        for shift in -4..=4 {
            assert!(drawn.iter().any(|s| s[0] == shift) && drawn.iter().any(|s| s[1] == shift));
        }
        assert!(drawn.iter().flatten().all(|shift| shift.abs() <= 4));
    }

    #[test]
    fn what_is_shifted_in_is_black() {
        let picture = Picture::new(ImageShape::new(3, 2, 2), (1..13).collect()).unwrap();
        let shifted = picture.filled_from(|row, column| Some([row as isize + 1, column as isize - 1]));
        assert_eq!(shifted.pixels(), [0, 0, 0, 7, 8, 9, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn padding_reflects_as_in_numpy() {
        // numpy.pad(range(4), 5, 'reflect')
        let padded: Vec<_> = (-5..9).map(|place| PaddingMode::Reflect.source(place, 4).unwrap()).collect();
        assert_eq!(padded, [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!([-1, 0, 1].map(|place| PaddingMode::Reflect.source(place, 1)), [Some(0); 3]);
        assert_eq!([-1, 0, 4].map(|place| PaddingMode::Constant.source(place, 4)), [None, Some(0), None]);
    }

    #[test]
    fn parts_have_torchvisions_areas_and_ratios() {
        let (mut generator, crop) = (Generator::new(1), RandomResizedCrop::new(8, 8));
        let mut areas = Vec::new();
        for _ in 0..2000 {
            let [top, left, rows, columns] = crop.draw(300, 400, &mut generator);
            assert!(top + rows <= 300 && left + columns <= 400);
            let (area, ratio) = ((rows * columns) as f64 / 120_000.0, columns as f64 / rows as f64);
            assert!((0.078..=1.0).contains(&area) && (0.74..=1.35).contains(&ratio), "{area} {ratio}");
            areas.push(area);
        }
        // Large parts fit less often; torchvision's mean over 20,000 draws is 0.435.
        let mean = areas.iter().sum::<f64>() / areas.len() as f64;
        assert!((0.415..0.455).contains(&mean), "{mean}");
    }

    #[test]
    fn of_a_strip_the_middle_is_taken() {
        let mut generator = Generator::new(1);
        let crop = RandomResizedCrop { scale: [1.0, 1.0], ..RandomResizedCrop::new(4, 4) };
        // torchvision's last resort, with ratios clamped to 3:4 and 4:3
        assert_eq!(crop.draw(3, 900, &mut generator), [0, 448, 3, 4]);
        assert_eq!(crop.draw(900, 3, &mut generator), [448, 0, 4, 3]);
        let strip = Picture::new(ImageShape::new(1, 1, 5000), vec![9; 5000]).unwrap();
        assert_eq!(crop.apply(&strip, &mut generator).unwrap().pixels(), [9; 16]);
    }
}
