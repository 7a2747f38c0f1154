//! From a PNG or JPEG file to an [`Picture`], whatever the file's own kind of pixels.

use std::{fs, io::Cursor, path::Path};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, metadata::Orientation};

use crate::{DataError, ImageShape, Picture, Result, picture::LONGEST_SIDE};

/// The most memory that decoding one picture may take, in bytes.
const DECODER_MEMORY: u64 = 512 << 20;

impl Picture {
    /// Reads a PNG or JPEG file, upright: turned and mirrored as its EXIF orientation says. The
    /// name does not decide on the format.
    ///
    /// What has no color gives one channel, everything else three, a byte each:
    ///
    /// | the file has | the picture has |
    /// |---|---|
    /// | 1, 2 or 4 bits, a palette | its levels spread over 0 to 255; the palette's colors |
    /// | 16 bits | the high byte of each, as Pillow has it for RGB |
    /// | an alpha channel, a transparent color | the colors as they are stored, as by Pillow's `convert("RGB")` |
    /// | CMYK or YCCK (JPEG) | RGB by `255 · (1 − ink) · (1 − black)` |
    /// | an animation (APNG) | the picture that programs show which know no animations |
    /// | a color profile | its numbers; the profile is not looked at |
    ///
    /// # Errors
    /// [`DataError::Picture`] naming the file if it cannot be read or decoded.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |reason: String| DataError::Picture { path: path.into(), reason };
        let bytes = fs::read(path).map_err(|error| refuse(error.to_string()))?;
        Self::decode(&bytes).map_err(refuse)
    }

    /// The picture in the bytes of a file, or what the decoder says.
    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let mut decoder = decoder(bytes)?;
        if decoder.total_bytes() > DECODER_MEMORY {
            let (width, height) = decoder.dimensions();
            return Err(format!("{width}×{height} pixels exceed the limit of memory for a picture"));
        }
        // A description that cannot be read leaves the picture as it is.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| one_line(&error))?;
        decoded.apply_orientation(orientation);
        let (width, height) = (decoded.width() as usize, decoded.height() as usize);
        let stored = usize::from(decoded.color().channel_count());
        let channels = if decoded.color().has_color() { 3 } else { 1 };
        let samples = match decoded {
            DynamicImage::ImageLuma16(picture) => high_bytes(picture.as_raw()),
            DynamicImage::ImageLumaA16(picture) => high_bytes(picture.as_raw()),
            DynamicImage::ImageRgb16(picture) => high_bytes(picture.as_raw()),
            DynamicImage::ImageRgba16(picture) => high_bytes(picture.as_raw()),
            eight_bits => eight_bits.into_bytes(),
        };
        let pixels = if stored == channels {
            samples
        } else {
            samples.chunks_exact(stored).flat_map(|pixel| &pixel[..channels]).copied().collect()
        };
        Self::new(ImageShape::new(channels, height, width), pixels).map_err(|error| error.to_string())
    }

    /// The shape of the picture in a file, without its pixels.
    ///
    /// # Errors
    /// [`DataError::Picture`] naming the file if its header cannot be read.
    pub(crate) fn peek(path: &Path) -> Result<ImageShape> {
        let refuse = |reason: String| DataError::Picture { path: path.into(), reason };
        let bytes = fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let mut decoder = decoder(&bytes).map_err(refuse)?;
        let (width, height) = decoder.dimensions();
        let (width, height) = match decoder.orientation().unwrap_or(Orientation::NoTransforms) {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (height, width),
            _ => (width, height),
        };
        let channels = if decoder.color_type().has_color() { 3 } else { 1 };
        Ok(ImageShape::new(channels, height as usize, width as usize))
    }
}

/// A decoder that has read the header.
fn decoder(bytes: &[u8]) -> std::result::Result<impl ImageDecoder + '_, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(DECODER_MEMORY);
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("it is neither PNG nor JPEG".into());
    }
    reader.into_decoder().map_err(|error| one_line(&error))
}

fn high_bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().map(|sample| (sample >> 8) as u8).collect()
}

fn one_line(error: &image::ImageError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pillow::{self, File};

    #[test]
    fn files_of_every_kind_are_read_as_by_pillow() {
        for File { file, levels, picture } in &pillow::expected().files {
            let (read, expected) = (Picture::open(pillow::path(file)).unwrap(), Picture::from(picture));
            assert_eq!(read.shape(), expected.shape(), "{file}");
            assert_eq!(Picture::peek(&pillow::path(file)).unwrap(), expected.shape(), "{file}");
            for (at, (ours, theirs)) in read.pixels().iter().zip(expected.pixels()).enumerate() {
                assert!(ours.abs_diff(*theirs) <= *levels, "{file}, value {at}: {ours}, Pillow {theirs}");
            }
        }
    }
}
