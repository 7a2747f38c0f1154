//! Mirror images and turns.

use residual_tensor::Generator;

use crate::Picture;

/// Mirrors the picture, left to right, with some probability.
///
/// ```
/// use residual_data::{HorizontalFlip, Picture, ImageShape};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(1, 1, 3), vec![1, 2, 3])?;
/// let mirrored = HorizontalFlip { probability: 1.0 }.apply(&picture, &mut Generator::new(0));
/// assert_eq!(mirrored.pixels(), [3, 2, 1]);
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HorizontalFlip {
    /// Of mirroring.
    pub probability: f64,
}

impl Default for HorizontalFlip {
    /// Half of the pictures.
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

impl HorizontalFlip {
    /// Whether to mirror.
    pub fn draw(&self, generator: &mut Generator) -> bool {
        generator.chance(self.probability)
    }

    /// The picture or its mirror image.
    pub fn apply(&self, image: &Picture, generator: &mut Generator) -> Picture {
        if !self.draw(generator) {
            return image.clone();
        }
        let last = image.width() as isize - 1;
        image.filled_from(|row, column| Some([row as isize, last - column as isize]))
    }
}

/// Turns the picture around its middle by a random angle. torchvision's `RandomRotation`: each pixel
/// is the nearest one of the picture, and the corners that turn in are black.
///
/// ```
/// use residual_data::{Picture, ImageShape, Rotation};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(1, 9, 9), vec![255; 81])?;
/// let turned = Rotation { degrees: 10.0 }.apply(&picture, &mut Generator::new(0));
/// assert_eq!(turned.shape(), picture.shape());
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotation {
    /// The largest angle, to either side.
    pub degrees: f64,
}

impl Rotation {
    /// The picture, turned by a random angle.
    pub fn apply(&self, image: &Picture, generator: &mut Generator) -> Picture {
        rotate(image, generator.between(-self.degrees, self.degrees))
    }
}

/// The picture, turned counterclockwise around its middle: the pixels of Pillow's `rotate`.
fn rotate(image: &Picture, degrees: f64) -> Picture {
    // Sixteen bits before the point and sixteen behind it.
    let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i64;
    let fifteen_places = |value: f64| (value * 1e15).round() / 1e15;
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let (cos, sin) = (fifteen_places(angle.cos()), fifteen_places(angle.sin()));
    let (x, y) = (image.width() as f64 / 2.0, image.height() as f64 / 2.0);
    // Where the middle of the first pixel comes from.
    let first_x = fixed(cos * -x + sin * -y + x + cos * 0.5 + sin * 0.5);
    let first_y = fixed(-sin * -x + cos * -y + y + -sin * 0.5 + cos * 0.5);
    image.filled_from(|row, column| {
        let (row, column) = (row as i64, column as i64);
        let x = first_x + column * fixed(cos) + row * fixed(sin);
        let y = first_y + column * fixed(-sin) + row * fixed(cos);
        Some([(y >> 16) as isize, (x >> 16) as isize])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pillow;

    #[test]
    fn half_of_the_pictures_are_mirrored() {
        let mut generator = Generator::new(1);
        let mirrored = (0..2000).filter(|_| HorizontalFlip::default().draw(&mut generator)).count();
        assert!((900..1100).contains(&mirrored), "{mirrored} of 2000");
    }

    #[test]
    fn turned_pictures_have_pillows_pixels() {
        pillow::varied("rotation", rotate);
    }
}
