//! Random variation of training pictures as settings, which a configuration holds.

use serde::{Deserialize, Serialize};

use crate::{
    AlternatingFlip, Automatic, ColorJitter, Cutout, DataError, HorizontalFlip, PadAndCrop, PaddingMode,
    Preprocess, RandomErasing, RandomResizedCrop, Result, Rotation, Transform,
};

/// How training pictures are varied: a list of [`Transform`]s in a fixed order, which is that of the
/// fields but for the colors, which change before the shift. The default varies nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Takes a random part of the picture as it is in the file: the least and the largest part of
    /// its area, such as `[0.08, 1.0]` on ImageNet. If absent, the picture is resized to cover the
    /// input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<[f64; 2]>,
    /// Turns the picture by at most this many degrees to either side.
    pub rotation: f64,
    /// Pads the normalised picture by this many pixels on each side and crops it back at
    /// random. Where resizing left a margin around the crop, the margin comes before the padding.
    pub pad_and_crop: u16,
    /// What it is padded with: zeros, which are the mean, or the picture's mirror image.
    pub padding_mode: PaddingMode,
    /// Mirrors half of the pictures.
    pub flip: bool,
    /// Whether the half that is mirrored is the other one in each next epoch, and not drawn anew.
    pub alternating_flip: bool,
    /// The probability with which a rectangle of the normalised picture becomes 0, its mean.
    pub erasing: f64,
    /// The side of a square of the normalised picture that becomes 0, wherever its middle is; 0 for none.
    pub cutout: u16,
    /// Changes brightness, contrast, saturation and hue.
    pub color_jitter: ColorJitter,
    /// Changes geometry or colors by operations that are drawn, behind all other changes of pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Automatic>,
}

impl Augment {
    /// Pad by 4 and crop, mirror half: what ResNets are trained with on CIFAR-10.
    pub const CIFAR: Self = Self {
        resized_crop: None,
        rotation: 0.0,
        pad_and_crop: 4,
        padding_mode: PaddingMode::Constant,
        flip: true,
        alternating_flip: false,
        erasing: 0.0,
        cutout: 0,
        color_jitter: ColorJitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 },
        automatic: None,
    };

    /// # Errors
    /// [`DataError::Augment`] naming a number that makes no sense.
    pub fn check(&self) -> Result<()> {
        let Self { resized_crop, rotation, erasing, cutout, color_jitter, .. } = *self;
        let [least, most] = resized_crop.unwrap_or([1.0, 1.0]);
        let ColorJitter { brightness, contrast, saturation, hue } = color_jitter;
        for (name, value, possible, range) in [
            ("resized_crop", least, 0.0 < least && least <= most && most <= 1.0, "two parts of 0 to 1"),
            ("rotation", rotation, (0.0..=180.0).contains(&rotation), "between 0 and 180 degrees"),
            ("erasing", erasing, (0.0..=1.0).contains(&erasing), "a probability of 0 to 1"),
            (
                "cutout",
                cutout as f64,
                cutout == 0 || erasing == 0.0,
                "0 beside erasing: a picture has one hole",
            ),
            ("color_jitter.brightness", brightness, is_reach(brightness), "between 0 and 10"),
            ("color_jitter.contrast", contrast, is_reach(contrast), "between 0 and 10"),
            ("color_jitter.saturation", saturation, is_reach(saturation), "between 0 and 10"),
            ("color_jitter.hue", hue, (0.0..=0.5).contains(&hue), "between 0 and 0.5 turns"),
        ] {
            if !possible {
                return Err(DataError::Augment { name, value, range });
            }
        }
        Ok(())
    }

    /// The transforms that these settings stand for, for pictures that are prepared like this.
    pub fn transforms(&self, preprocess: &Preprocess) -> Vec<Transform> {
        let part = self.resized_crop.map(|scale| {
            let (input, interpolation) = (preprocess.input, preprocess.interpolation);
            RandomResizedCrop { scale, interpolation, ..RandomResizedCrop::new(input.height, input.width) }
        });
        let rotation = (self.rotation > 0.0).then_some(Rotation { degrees: self.rotation });
        let jitter = (self.color_jitter != ColorJitter::default()).then_some(self.color_jitter);
        let (padding, mode) = (self.pad_and_crop, self.padding_mode);
        let shift = (padding > 0).then_some(PadAndCrop { padding, mode });
        let flip = self.flip.then(|| match self.alternating_flip {
            true => AlternatingFlip.into(),
            false => HorizontalFlip::default().into(),
        });
        let cutout = (self.cutout > 0).then_some(Cutout { side: self.cutout });
        let probability = self.erasing;
        let erasing = (probability > 0.0).then(|| RandomErasing { probability, ..RandomErasing::default() });
        [
            part.map(Into::into),
            rotation.map(Into::into),
            jitter.map(Into::into),
            self.automatic.map(Into::into),
            shift.map(Into::into),
            flip,
            erasing.map(Into::into),
            cutout.map(Into::into),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn is_reach(value: f64) -> bool {
    (0.0..=10.0).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_for_transforms() {
        let preprocess = Preprocess::imagenet();
        assert_eq!(Augment::default().transforms(&preprocess), []);
        let cifar = [PadAndCrop::new(4).into(), HorizontalFlip::default().into()];
        assert_eq!(Augment::CIFAR.transforms(&preprocess), cifar);
        let all = Augment {
            resized_crop: Some([0.08, 1.0]),
            rotation: 10.0,
            erasing: 0.1,
            color_jitter: ColorJitter { contrast: 0.4, ..ColorJitter::default() },
            automatic: Some(Automatic::Trivial),
            cutout: 4,
            ..Augment::CIFAR
        };
        let transforms = all.transforms(&preprocess);
        assert_eq!(transforms[0], RandomResizedCrop::new(224, 224).into());
        assert_eq!(transforms.len(), 8);
        let all = Augment { cutout: 0, ..all };
        assert!(all.check().is_ok());
        for bad in [
            Augment { resized_crop: Some([0.5, 0.1]), ..all },
            Augment { rotation: f64::NAN, ..all },
            Augment { erasing: 1.5, ..all },
            Augment { cutout: 4, ..all },
            Augment { color_jitter: ColorJitter { saturation: -1.0, ..ColorJitter::default() }, ..all },
        ] {
            assert!(matches!(bad.check(), Err(DataError::Augment { .. })), "{bad:?}");
        }
    }
}
