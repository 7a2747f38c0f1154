//! Brightness, contrast, saturation and hue.

use residual_tensor::Generator;
use serde::{Deserialize, Serialize};

use crate::{Picture, picture::luma};

/// Changes brightness, contrast and saturation by random factors, and hue by a random angle, in random order.
/// torchvision's `ColorJitter`: each factor is between `max(0, 1 − x)` and `1 + x`, the angle between `−x` and
/// `x` turns, and what is 0 changes nothing.
///
/// ```
/// use residual_data::{ColorJitter, Picture, ImageShape};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(3, 1, 2), vec![200, 100, 50, 10, 20, 30])?;
/// let jitter = ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
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
    /// How far hue varies, in turns of the circle of colours: at most ½. Grey pictures stay as they are.
    pub hue: f64,
}

impl ColorJitter {
    /// The picture with other colors.
    pub fn apply(&self, image: &Picture, generator: &mut Generator) -> Picture {
        type Adjust = fn(&Picture, f64) -> Picture;
        let steps: [(f64, Adjust); 4] = [
            (self.brightness, brightness),
            (self.contrast, contrast),
            (self.saturation, saturation),
            (self.hue, hue),
        ];
        let order = generator.permutation(steps.len());
        let mut draw = |reach: f64, least: f64, middle: f64| {
            (reach > 0.0).then(|| generator.between((middle - reach).max(least), middle + reach))
        };
        let factors = [self.brightness, self.contrast, self.saturation].map(|reach| draw(reach, 0.0, 1.0));
        let factors = [factors[0], factors[1], factors[2], draw(self.hue, -self.hue, 0.0)];
        order.into_iter().fold(image.clone(), |image, step| match factors[step] {
            Some(factor) => steps[step].1(&image, factor),
            None => image,
        })
    }
}

pub(super) fn brightness(image: &Picture, factor: f64) -> Picture {
    blend(image, factor, |_| 0)
}

pub(super) fn contrast(image: &Picture, factor: f64) -> Picture {
    let (count, sum) =
        greys(image).fold((0u64, 0u64), |(count, sum), grey| (count + 1, sum + u64::from(grey)));
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    blend(image, factor, |_| mean)
}

pub(super) fn saturation(image: &Picture, factor: f64) -> Picture {
    let greys: Vec<u8> = greys(image).collect();
    blend(image, factor, |pixel| greys[pixel])
}

/// Hue moved by so many turns, in 255 steps: as Pillow does by way of its 8-bit HSV.
fn hue(image: &Picture, turns: f64) -> Picture {
    if image.channels() != 3 {
        return image.clone();
    }
    let moved = ((turns * 255.0) as i32).rem_euclid(256) as u8;
    let pixels = image.pixels().chunks_exact(3).flat_map(|rgb| {
        let [hue, saturation, value] = hsv([rgb[0], rgb[1], rgb[2]]);
        rgb_of([hue.wrapping_add(moved), saturation, value])
    });
    Picture::new(image.shape(), pixels.collect()).expect("the same shape")
}

/// Hue, saturation and value, with Pillow's single precision and its cutting off.
fn hsv([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let [r, g, b] = [red, green, blue].map(|part| f32::from(most - part) / range);
    let sixths = if red == most {
        b - g
    } else if green == most {
        (2.0 + f64::from(r) - f64::from(b)) as f32
    } else {
        (4.0 + f64::from(g) - f64::from(r)) as f32
    };
    let hue = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = range / f32::from(most);
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

/// Back again.
fn rgb_of([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let place = f32::from(hue) as f64 * 6.0 / 255.0;
    let sector = place.floor();
    let rest = f64::from((place - sector) as f32);
    let part = f64::from((f64::from(saturation) / 255.0) as f32);
    let level = |factor: f64| (f64::from(value) * factor).round().clamp(0.0, 255.0) as u8;
    let (p, q, t) = (level(1.0 - part), level(1.0 - part * rest), level(1.0 - part * (1.0 - rest)));
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

/// The luma of each pixel.
fn greys(image: &Picture) -> impl Iterator<Item = u8> {
    let grey = |pixel: &[u8]| match *pixel {
        [red, green, blue] => luma([red, green, blue]),
        _ => pixel[0],
    };
    image.pixels().chunks_exact(image.channels()).map(grey)
}

/// From another picture, whose pixels are grey, towards this one.
fn blend(image: &Picture, factor: f64, other: impl Fn(usize) -> u8) -> Picture {
    blend_values(image, factor, |at| other(at / image.channels()))
}

/// From another picture, given by its values, towards this one, and beyond it for factors above 1: Pillow's
/// `blend`, with its single precision and its cutting off.
pub(super) fn blend_values(image: &Picture, factor: f64, other: impl Fn(usize) -> u8) -> Picture {
    let blended = |(at, &value): (usize, &u8)| {
        let from = f32::from(other(at));
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
        pillow::varied("hue", hue);
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
