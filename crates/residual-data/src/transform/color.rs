//! Brightness, contrast and saturation.

use residual_tensor::Generator;
use serde::{Deserialize, Serialize};

use crate::{Picture, picture::luma};

/// Changes brightness, contrast and saturation by random factors, in random order. torchvision's
/// `ColorJitter` without its `hue`: each factor is between `max(0, 1 − x)` and `1 + x`, and what is
/// 0 changes nothing.
///
/// ```
/// use residual_data::{ColorJitter, Picture, ImageShape};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(3, 1, 2), vec![200, 100, 50, 10, 20, 30])?;
/// let jitter = ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4 };
/// let varied = jitter.apply(&picture, &mut Generator::new(0));
/// assert_ne!(varied, picture);
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// How far brightness varies: the distance to black.
    pub brightness: f64,
    /// How far contrast varies: the distance to the picture's mean grey.
    pub contrast: f64,
    /// How far saturation varies: the distance to the grey picture. Grey pictures stay as they are.
    pub saturation: f64,
}

impl ColorJitter {
    /// The picture with other colors.
    pub fn apply(&self, image: &Picture, generator: &mut Generator) -> Picture {
        type Adjust = fn(&Picture, f64) -> Picture;
        let steps: [(f64, Adjust); 3] =
            [(self.brightness, brightness), (self.contrast, contrast), (self.saturation, saturation)];
        let order = generator.permutation(steps.len());
        let mut draw =
            |reach: f64| (reach > 0.0).then(|| generator.between((1.0 - reach).max(0.0), 1.0 + reach));
        let factors = steps.map(|(reach, _)| draw(reach));
        order.into_iter().fold(image.clone(), |image, step| match factors[step] {
            Some(factor) => steps[step].1(&image, factor),
            None => image,
        })
    }
}

fn brightness(image: &Picture, factor: f64) -> Picture {
    blend(image, factor, |_| 0)
}

fn contrast(image: &Picture, factor: f64) -> Picture {
    let (count, sum) =
        greys(image).fold((0u64, 0u64), |(count, sum), grey| (count + 1, sum + u64::from(grey)));
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    blend(image, factor, |_| mean)
}

fn saturation(image: &Picture, factor: f64) -> Picture {
    let greys: Vec<u8> = greys(image).collect();
    blend(image, factor, |pixel| greys[pixel])
}

/// The luma of each pixel.
fn greys(image: &Picture) -> impl Iterator<Item = u8> {
    let grey = |pixel: &[u8]| match *pixel {
        [red, green, blue] => luma([red, green, blue]),
        _ => pixel[0],
    };
    image.pixels().chunks_exact(image.channels()).map(grey)
}

/// From another picture, whose pixels are grey, towards this one, and beyond it for factors above 1:
/// Pillow's `blend`, with its single precision and its cutting off.
fn blend(image: &Picture, factor: f64, other: impl Fn(usize) -> u8) -> Picture {
    let channels = image.channels();
    let blended = |(at, &value): (usize, &u8)| {
        let from = f32::from(other(at / channels));
        (from + factor as f32 * (f32::from(value) - from)).clamp(0.0, 255.0) as u8
    };
    Picture::new(image.shape(), image.pixels().iter().enumerate().map(blended).collect())
        .expect("the same shape")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pillow;

    #[test]
    fn each_step_has_pillows_pixels() {
        pillow::varied("brightness", brightness);
        pillow::varied("contrast", contrast);
        pillow::varied("saturation", saturation);
    }

    #[test]
    fn what_is_zero_changes_nothing() {
        let picture = pillow::noise(3, 4, 5);
        let mut generator = Generator::new(0);
        assert_eq!(ColorJitter::default().apply(&picture, &mut generator), picture);
        let brighter = ColorJitter { brightness: 0.5, ..ColorJitter::default() };
        let varied: Vec<Picture> = (0..9).map(|_| brighter.apply(&picture, &mut generator)).collect();
        let sum = |image: &Picture| image.pixels().iter().map(|&value| u64::from(value)).sum::<u64>();
        assert!(varied.iter().any(|image| sum(image) < sum(&picture)));
        assert!(varied.iter().any(|image| sum(image) > sum(&picture)));
    }
}
