//! From a PNG or JPEG file to an [`Picture`], whatever the file's own kind of pixels.

use std::{
    fs,
    io::{self, Cursor},
    path::Path,
};

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
    /// [`DataError::Io`] if there is no such file, [`DataError::Picture`] if it cannot be read or decoded; both
    /// name it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |reason: String| DataError::Picture { path: path.into(), reason };
        let bytes = fs::read(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => DataError::Io { path: path.into(), source },
            _ => refuse(source.to_string()),
        })?;
        Self::decode(&bytes).map_err(refuse)
    }

    /// The picture in the bytes of a file, or what the decoder says.
    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        if is_cut_jpeg(bytes) {
            return Err("the file breaks off before the end of the picture".into());
        }
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
            let mut pixels = Vec::with_capacity(height * width * channels);
            samples.chunks_exact(stored).for_each(|pixel| pixels.extend_from_slice(&pixel[..channels]));
            pixels
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

/// Whether a JPEG file breaks off. Its decoder would say nothing, and fill in grey.
///
/// The marker of the end cannot stand among compressed pixels, but it can before them, in a thumbnail.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const MARKER: u8 = 0xff;
    const START_OF_PICTURE: u8 = 0xd8;
    const START_OF_PIXELS: u8 = 0xda;
    const END_OF_PICTURE: u8 = 0xd9;
    let Some(mut rest) = bytes.strip_prefix(&[MARKER, START_OF_PICTURE]) else { return false };
    loop {
        rest = match *rest {
            [MARKER, START_OF_PIXELS, ..] => break,
            [MARKER, MARKER, ..] => &rest[1..],
            [MARKER, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(next) = rest.get(2 + length..) else { return true };
                next
            }
            [] | [MARKER] | [MARKER, _] | [MARKER, _, _] => return true,
            // What is no segment is for the decoder to refuse.
            _ => return false,
        };
    }
    !rest.windows(2).rev().any(|two| two == [MARKER, END_OF_PICTURE])
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

    /// Pillow: "image file is truncated".
    #[test]
    fn a_jpeg_that_breaks_off_anywhere_is_refused() {
        for file in ["orientation_6.jpg", "cmyk.jpg"] {
            let whole = fs::read(pillow::path(file)).unwrap();
            assert!(Picture::decode(&whole).is_ok());
            for length in 2..whole.len() - 1 {
                assert!(
                    Picture::decode(&whole[..length]).is_err(),
                    "{file}: {length} of {} bytes",
                    whole.len()
                );
            }
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_picture() {
        let whole = fs::read(pillow::path("orientation_6.jpg")).unwrap();
        let segment = [0xff, 0xee, 0, 4, 0xff, 0xd9];
        let with_thumbnail = [&whole[..2], &segment, &whole[2..]].concat();
        assert!(Picture::decode(&with_thumbnail).is_ok());
        assert!(Picture::decode(&with_thumbnail[..with_thumbnail.len() / 2]).is_err());
    }

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
