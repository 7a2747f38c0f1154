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

/// Mirrors each picture in every other epoch: half of them in even epochs, the others in odd ones. Whoever
/// looks at two epochs has then seen both of every picture (Jordan 2024, section 3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlternatingFlip;

impl AlternatingFlip {
    /// Whether to mirror in this epoch. `lasting` are draws that are the same in all of them.
    pub fn draw(self, epoch: u64, lasting: &Generator) -> bool {
        lasting.split("flip").chance(0.5) ^ !epoch.is_multiple_of(2)
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
pub(super) fn rotate(image: &Picture, degrees: f64) -> Picture {
    let fifteen_places = |value: f64| (value * 1e15).round() / 1e15;
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let (cos, sin) = (fifteen_places(angle.cos()), fifteen_places(angle.sin()));
    let (x, y) = (image.width() as f64 / 2.0, image.height() as f64 / 2.0);
    affine(image, [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y])
}

/// The picture whose pixel at column x and row y is that of this one at `a·x + b·y + c` and `d·x + e·y + f`, or
/// black outside of it: the pixels of Pillow's `transform` with `NEAREST`.
pub(super) fn affine(image: &Picture, [a, b, c, d, e, f]: [f64; 6]) -> Picture {
    // Sixteen bits before the point and sixteen behind it.
    let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i64;
    // Where the middle of the first pixel comes from.
    let (first_x, first_y) = (fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5));
    image.filled_from(|row, column| {
        let (row, column) = (row as i64, column as i64);
        let x = first_x + column * fixed(a) + row * fixed(b);
        let y = first_y + column * fixed(d) + row * fixed(e);
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
    fn alternating_flips_show_both_sides_in_two_epochs() {
        let flips =
            |epoch| (0..2000u64).map(move |n| AlternatingFlip.draw(epoch, &Generator::new(1).split(n)));
        let mirrored = flips(0).filter(|&flip| flip).count();
        assert!((900..1100).contains(&mirrored), "{mirrored} of 2000");
        assert!(flips(0).zip(flips(1)).all(|(a, b)| a != b) && flips(0).eq(flips(2)));
    }

    #[test]
    fn turned_pictures_have_pillows_pixels() {
        pillow::varied("rotation", rotate);
    }
}
