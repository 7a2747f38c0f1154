//! Variation by random operations of random strength: RandAugment (Cubuk et al. 2020) and TrivialAugment
//! (Müller & Hutter 2021), with torchvision's operations, strengths and pixels.

use residual_tensor::Generator;
use serde::{Deserialize, Serialize};

use super::{
    color::{brightness, contrast, saturation},
    geometry::{affine, rotate},
};
use crate::Picture;

/// Varies a picture by operations that are drawn, each with a strength.
///
/// ```
/// use residual_data::{Automatic, ImageShape, Picture};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(3, 32, 32), (0..3072).map(|i| (i % 251) as u8).collect())?;
/// let varied = Automatic::Trivial.apply(&picture, &mut Generator::new(5));
/// assert_eq!(varied.shape(), picture.shape());
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Automatic {
    /// One operation of any strength: torchvision's `TrivialAugmentWide`.
    Trivial,
    /// Several operations of one strength: torchvision's `RandAugment`.
    Rand {
        /// How many.
        operations: u8,
        /// The strength, of 0 to 30.
        magnitude: u8,
    },
}

/// Strengths that are told apart.
const BINS: usize = 31;

/// What may be done to a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

const OPERATIONS: [Operation; 14] = [
    Operation::Identity,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
    Operation::Rotate,
    Operation::Brightness,
    Operation::Color,
    Operation::Contrast,
    Operation::Sharpness,
    Operation::Posterize,
    Operation::Solarize,
    Operation::AutoContrast,
    Operation::Equalize,
];

impl Automatic {
    /// The varied picture.
    pub fn apply(self, image: &Picture, generator: &mut Generator) -> Picture {
        let times = match self {
            Self::Trivial => 1,
            Self::Rand { operations, .. } => operations,
        };
        (0..times).fold(image.clone(), |image, _| {
            let operation = OPERATIONS[generator.below(OPERATIONS.len())];
            let bin = match self {
                Self::Trivial => generator.below(BINS),
                Self::Rand { magnitude, .. } => usize::from(magnitude).min(BINS - 1),
            };
            let strength = self.strength(operation, bin, &image);
            let turned = operation.has_sign() && generator.chance(0.5);
            operation.apply(&image, if turned { -strength } else { strength })
        })
    }

    /// How strong an operation is in one of the bins.
    fn strength(self, operation: Operation, bin: usize, image: &Picture) -> f64 {
        let part = bin as f64 / (BINS - 1) as f64;
        let is_wide = self == Self::Trivial;
        match operation {
            Operation::Identity | Operation::AutoContrast | Operation::Equalize => 0.0,
            Operation::ShearX | Operation::ShearY => part * if is_wide { 0.99 } else { 0.3 },
            Operation::TranslateX if is_wide => part * 32.0,
            Operation::TranslateY if is_wide => part * 32.0,
            Operation::TranslateX => part * 150.0 / 331.0 * image.width() as f64,
            Operation::TranslateY => part * 150.0 / 331.0 * image.height() as f64,
            Operation::Rotate => part * if is_wide { 135.0 } else { 30.0 },
            Operation::Brightness | Operation::Color | Operation::Contrast | Operation::Sharpness => {
                part * if is_wide { 0.99 } else { 0.9 }
            }
            Operation::Posterize => {
                let steps = if is_wide { 6.0 } else { 4.0 };
                8.0 - (part * steps).round_ties_even()
            }
            Operation::Solarize => 255.0 * (1.0 - part),
        }
    }
}

impl Operation {
    /// Whether the strength may be negative.
    fn has_sign(self) -> bool {
        !matches!(
            self,
            Self::Identity | Self::Posterize | Self::Solarize | Self::AutoContrast | Self::Equalize
        )
    }

    fn apply(self, image: &Picture, strength: f64) -> Picture {
        match self {
            Self::Identity => image.clone(),
            Self::ShearX => affine(image, [1.0, strength, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY => affine(image, [1.0, 0.0, 0.0, strength, 1.0, 0.0]),
            Self::TranslateX => affine(image, [1.0, 0.0, -strength.trunc(), 0.0, 1.0, 0.0]),
            Self::TranslateY => affine(image, [1.0, 0.0, 0.0, 0.0, 1.0, -strength.trunc()]),
            Self::Rotate => rotate(image, strength),
            Self::Brightness => brightness(image, 1.0 + strength),
            Self::Color => saturation(image, 1.0 + strength),
            Self::Contrast => contrast(image, 1.0 + strength),
            Self::Sharpness => sharpness(image, 1.0 + strength),
            Self::Posterize => {
                let kept = !(0xFFu32 >> strength as u32) as u8;
                mapped(image, |_| std::array::from_fn(|level| level as u8 & kept))
            }
            Self::Solarize => mapped(image, |_| {
                std::array::from_fn(|level| if (level as f64) < strength { level } else { 255 - level } as u8)
            }),
            Self::AutoContrast => mapped(image, stretched),
            Self::Equalize => mapped(image, equalized),
        }
    }
}

/// From the blurred picture towards this one, and beyond it for factors above 1.
fn sharpness(image: &Picture, factor: f64) -> Picture {
    let blurred = blurred(image);
    super::color::blend_values(image, factor, |at| blurred[at])
}

/// Each value with a weight of 5 and its neighbours with 1; those at the edge stay (Pillow's `SMOOTH`).
fn blurred(image: &Picture) -> Vec<u8> {
    let (channels, width, height) = (image.channels(), image.width(), image.height());
    let pixels = image.pixels();
    let mut out = pixels.to_vec();
    for row in 1..height.saturating_sub(1) {
        for at in (row * width + 1) * channels..((row + 1) * width).saturating_sub(1) * channels {
            let line = |at: usize| [at - channels, at, at + channels].map(|at| u32::from(pixels[at]));
            let rows = [at - width * channels, at, at + width * channels];
            let sum = rows.into_iter().flat_map(line).sum::<u32>() + 4 * u32::from(pixels[at]);
            out[at] = ((2 * sum + 13) / 26) as u8;
        }
    }
    out
}

/// Each level of each channel as a table has it, which is made of how often levels occur.
fn mapped(image: &Picture, table: impl Fn(&[u32; 256]) -> [u8; 256]) -> Picture {
    let channels = image.channels();
    let tables: Vec<[u8; 256]> = (0..channels)
        .map(|channel| {
            let mut counts = [0; 256];
            let levels = image.pixels().iter().skip(channel).step_by(channels);
            levels.for_each(|&level| counts[usize::from(level)] += 1);
            table(&counts)
        })
        .collect();
    let levels = image.pixels().iter().enumerate();
    let levels = levels.map(|(at, &level)| tables[at % channels][usize::from(level)]);
    Picture::new(image.shape(), levels.collect()).expect("the same shape")
}

/// From the darkest level to the brightest one, brought to 0 and 255.
fn stretched(counts: &[u32; 256]) -> [u8; 256] {
    let first = counts.iter().position(|&count| count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    std::array::from_fn(|level| {
        if last <= first {
            return level as u8;
        }
        let scale = 255.0 / (last - first) as f64;
        (level as f64 * scale - first as f64 * scale).clamp(0.0, 255.0) as u8
    })
}

/// Levels that all occur about equally often.
fn equalized(counts: &[u32; 256]) -> [u8; 256] {
    let last = counts.iter().rfind(|&&count| count > 0).copied().unwrap_or(0);
    let step = (counts.iter().sum::<u32>() - last) / 255;
    let levels = counts.iter().filter(|&&count| count > 0).count();
    let mut sum = step / 2;
    std::array::from_fn(|level| {
        if levels <= 1 || step == 0 {
            return level as u8;
        }
        let mapped = (sum / step).min(255) as u8;
        sum += counts[level];
        mapped
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pillow;

    #[test]
    fn each_operation_has_torchvisions_pixels() {
        for (kind, operation) in [
            ("shear_x", Operation::ShearX),
            ("shear_y", Operation::ShearY),
            ("translate_x", Operation::TranslateX),
            ("translate_y", Operation::TranslateY),
            ("rotate", Operation::Rotate),
            ("sharpness", Operation::Sharpness),
            ("posterize", Operation::Posterize),
            ("solarize", Operation::Solarize),
            ("auto_contrast", Operation::AutoContrast),
            ("equalize", Operation::Equalize),
        ] {
            pillow::varied(kind, |image, strength| operation.apply(image, strength));
        }
    }

    #[test]
    fn strengths_are_torchvisions() {
        let image = pillow::noise(3, 100, 200);
        let wide = |operation, bin| Automatic::Trivial.strength(operation, bin, &image);
        let rand = Automatic::Rand { operations: 2, magnitude: 9 };
        // TrivialAugmentWide()._augmentation_space(31), RandAugment()._augmentation_space(31, (100, 200))
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        close(wide(Operation::ShearX, 30), 0.99);
        close(wide(Operation::TranslateY, 15), 16.0);
        close(wide(Operation::Rotate, 10), 45.0);
        close(wide(Operation::Posterize, 12), 6.0);
        close(wide(Operation::Solarize, 9), 178.5);
        close(rand.strength(Operation::TranslateX, 9, &image), 27.1903);
        close(rand.strength(Operation::TranslateY, 9, &image), 13.5952);
        close(rand.strength(Operation::Sharpness, 9, &image), 0.27);
        close(rand.strength(Operation::Posterize, 9, &image), 7.0);
    }

    #[test]
    fn every_operation_is_drawn() {
        let picture = pillow::noise(3, 32, 32);
        let mut generator = Generator::new(1);
        let varied: Vec<Picture> =
            (0..500).map(|_| Automatic::Trivial.apply(&picture, &mut generator)).collect();
        let unchanged = varied.iter().filter(|&image| *image == picture).count();
        assert!((20..120).contains(&unchanged), "{unchanged} of 500");
        let twice = Automatic::Rand { operations: 2, magnitude: 15 };
        let unchanged = (0..500).filter(|_| twice.apply(&picture, &mut generator) == picture).count();
        assert!(unchanged < 40, "{unchanged} of 500");
    }
}
