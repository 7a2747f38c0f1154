//! Image-to-image transforms with torchvision's numbers. Each is a small struct that is of use
//! alone; a list of them is a way to vary training pictures.

mod automatic;
mod color;
mod crop;
mod erasing;
mod geometry;

use residual_tensor::Generator;

use crate::{Picture, Result};

pub use automatic::Automatic;
pub use color::ColorJitter;
pub use crop::{PadAndCrop, PaddingMode, RandomResizedCrop};
pub use erasing::{Cutout, RandomErasing, Rectangle};
pub use geometry::{AlternatingFlip, HorizontalFlip, Rotation};

/// Any of the transforms.
///
/// ```
/// use residual_data::{ColorJitter, HorizontalFlip, Picture, ImageShape, RandomResizedCrop, Transform};
/// use residual_tensor::Generator;
///
/// let picture = Picture::new(ImageShape::new(3, 60, 80), vec![200; 3 * 60 * 80])?;
/// let vary = [
///     Transform::from(RandomResizedCrop::new(48, 48)),
///     HorizontalFlip::default().into(),
///     ColorJitter { brightness: 0.4, ..ColorJitter::default() }.into(),
/// ];
/// let varied = Transform::apply_all(&vary, picture, &mut Generator::new(7))?;
/// assert_eq!(varied.shape(), ImageShape::new(3, 48, 48));
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Transform {
    /// A part of the picture at another size.
    RandomResizedCrop(RandomResizedCrop),
    /// A turn.
    Rotation(Rotation),
    /// Another brightness, contrast, saturation and hue.
    ColorJitter(ColorJitter),
    /// Operations that are drawn.
    Automatic(Automatic),
    /// A shift.
    PadAndCrop(PadAndCrop),
    /// A mirror image.
    HorizontalFlip(HorizontalFlip),
    /// A mirror image in every other epoch; alone, of half of the pictures.
    AlternatingFlip(AlternatingFlip),
    /// A part without picture.
    RandomErasing(RandomErasing),
    /// A square without picture.
    Cutout(Cutout),
}

impl Transform {
    /// The picture as the next draws have it.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::DataError::Shape) if the new size is not possible.
    pub fn apply(&self, image: Picture, generator: &mut Generator) -> Result<Picture> {
        match self {
            Self::RandomResizedCrop(crop) => crop.apply(&image, generator),
            Self::Rotation(rotation) => Ok(rotation.apply(&image, generator)),
            Self::ColorJitter(jitter) => Ok(jitter.apply(&image, generator)),
            Self::Automatic(automatic) => Ok(automatic.apply(&image, generator)),
            Self::PadAndCrop(crop) => Ok(crop.apply(&image, generator)),
            Self::HorizontalFlip(flip) => Ok(flip.apply(&image, generator)),
            Self::AlternatingFlip(_) => Ok(HorizontalFlip::default().apply(&image, generator)),
            Self::RandomErasing(erasing) => Ok(erasing.apply(&image, generator)),
            Self::Cutout(cutout) => Ok(cutout.apply(&image, generator)),
        }
    }

    /// The picture after all of them, one after the other.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_all(transforms: &[Self], image: Picture, generator: &mut Generator) -> Result<Picture> {
        transforms.iter().try_fold(image, |image, transform| transform.apply(image, generator))
    }

    /// Whether it only says which pixels go where, so that the pixels need not be copied for it.
    pub(crate) fn is_placement(&self) -> bool {
        match self {
            Self::PadAndCrop(_) | Self::HorizontalFlip(_) | Self::AlternatingFlip(_) => true,
            Self::RandomErasing(_) | Self::Cutout(_) => true,
            Self::RandomResizedCrop(_) | Self::Rotation(_) => false,
            Self::ColorJitter(_) | Self::Automatic(_) => false,
        }
    }
}

macro_rules! from_each {
    ($($name:ident),*) => {
        $(impl From<$name> for Transform {
            fn from(transform: $name) -> Self {
                Self::$name(transform)
            }
        })*
    };
}
from_each!(
    RandomResizedCrop,
    Rotation,
    ColorJitter,
    Automatic,
    PadAndCrop,
    HorizontalFlip,
    AlternatingFlip,
    RandomErasing,
    Cutout
);
