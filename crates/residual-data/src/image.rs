//! A picture in memory: bytes of grey or RGB pixels. Not a tensor: that is what
//! [`Preprocess`](crate::Preprocess) makes of it.

use std::{fmt, fs, io::Cursor, path::Path};

use fast_image_resize::{
    self as fir,
    images::{TypedImage, TypedImageRef},
};
use serde::{Deserialize, Serialize};

use crate::{DataError, Result, error::io_error};

/// The longest side of a picture, in pixels.
const LONGEST_SIDE: u32 = 16_384;
/// The most memory that decoding one picture may take, in bytes.
const DECODER_MEMORY: u64 = 512 << 20;

/// Channels, height and width of a picture. Written as `3×32×32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageShape {
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// The shape of these channels, height and width.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// The number of values in a picture; saturates where it is beyond counting.
    pub fn elements(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }

    /// # Errors
    /// [`DataError::Shape`] if no picture can have it.
    pub fn check(&self) -> Result<()> {
        let side = 1..=LONGEST_SIDE as usize;
        let possible =
            matches!(self.channels, 1 | 3) && side.contains(&self.height) && side.contains(&self.width);
        if possible { Ok(()) } else { Err(DataError::Shape(*self)) }
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// A picture of grey or RGB pixels, a byte each: rows from the top, channels innermost.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Image {
    shape: ImageShape,
    pixels: Vec<u8>,
}

impl Image {
    /// A picture of these bytes, rows from the top, channels innermost.
    ///
    /// # Errors
    /// [`DataError::Shape`] for an impossible shape, [`DataError::Pixels`] if the number of
    /// bytes is not that of the shape.
    pub fn new(shape: ImageShape, pixels: Vec<u8>) -> Result<Self> {
        shape.check()?;
        if pixels.len() != shape.elements() {
            return Err(DataError::Pixels { shape, given: pixels.len() });
        }
        Ok(Self { shape, pixels })
    }

    /// Channels, height and width.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.shape.width
    }

    /// The number of rows.
    pub fn height(&self) -> usize {
        self.shape.height
    }

    /// 1 (grey) or 3 (RGB).
    pub fn channels(&self) -> usize {
        self.shape.channels
    }

    /// The bytes, rows from the top, channels innermost.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Reads a PNG or JPEG file. Grey files give one channel, all others three; transparency
    /// is dropped.
    ///
    /// # Errors
    /// [`DataError::Picture`] naming the file if it cannot be read or decoded.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |reason: String| DataError::Picture { path: path.into(), reason };
        let bytes = fs::read(path).map_err(|e| refuse(e.to_string()))?;
        Self::decode(&bytes).map_err(refuse)
    }

    /// The picture in the bytes of a PNG or JPEG file, or what the decoder says.
    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let mut reader = image::ImageReader::new(Cursor::new(bytes));
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(LONGEST_SIDE);
        limits.max_image_height = Some(LONGEST_SIDE);
        limits.max_alloc = Some(DECODER_MEMORY);
        reader.limits(limits);
        let reader = reader.with_guessed_format().map_err(|e| e.to_string())?;
        if reader.format().is_none() {
            return Err("it is neither PNG nor JPEG".into());
        }
        let decoded = reader.decode().map_err(|e| one_line(&e))?;
        let (width, height) = (decoded.width() as usize, decoded.height() as usize);
        let (channels, pixels) = if decoded.color().has_color() {
            (3, decoded.into_rgb8().into_raw())
        } else {
            (1, decoded.into_luma8().into_raw())
        };
        Self::new(ImageShape::new(channels, height, width), pixels).map_err(|e| e.to_string())
    }

    /// The shape of the picture in a PNG or JPEG file, from its header alone.
    ///
    /// # Errors
    /// [`DataError::Picture`] naming the file if its header cannot be read.
    pub(crate) fn peek(path: &Path) -> Result<ImageShape> {
        use image::ImageDecoder;
        let refuse = |reason: String| DataError::Picture { path: path.into(), reason };
        let reader = image::ImageReader::open(path)
            .and_then(image::ImageReader::with_guessed_format)
            .map_err(|e| refuse(e.to_string()))?;
        let decoder = reader.into_decoder().map_err(|e| refuse(one_line(&e)))?;
        let (width, height) = decoder.dimensions();
        let channels = if decoder.color_type().has_color() { 3 } else { 1 };
        Ok(ImageShape::new(channels, height as usize, width as usize))
    }

    /// Writes a PNG file.
    ///
    /// # Errors
    /// [`DataError::Io`] naming the file.
    pub fn save_png(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        fs::write(path, self.to_png()).map_err(io_error(path))
    }

    /// The bytes of a PNG file of this picture, for embedding into a report.
    pub fn to_png(&self) -> Vec<u8> {
        use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
        let mut file = Vec::new();
        let colour = if self.channels() == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        PngEncoder::new(&mut file)
            .write_image(&self.pixels, self.width() as u32, self.height() as u32, colour)
            .expect("as many bytes as the shape says, and room in memory");
        file
    }

    /// The picture with this number of channels: grey becomes RGB of equal parts, RGB becomes
    /// its luma (ITU-R BT.601, rounded as in Pillow).
    ///
    /// # Errors
    /// [`DataError::Shape`] if `channels` is neither 1 nor 3.
    pub fn with_channels(&self, channels: usize) -> Result<Self> {
        let pixels = match (self.channels(), channels) {
            (from, to) if from == to => self.pixels.clone(),
            (1, 3) => self.pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
            (3, 1) => self.pixels.chunks_exact(3).map(|rgb| luma([rgb[0], rgb[1], rgb[2]])).collect(),
            _ => return Err(DataError::Shape(ImageShape { channels, ..self.shape })),
        };
        Ok(Self { shape: ImageShape { channels, ..self.shape }, pixels })
    }

    /// The picture at another size: bilinear, and antialiased where it shrinks, as Pillow and
    /// torchvision do it.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the new size is not possible.
    pub fn resize(&self, height: usize, width: usize) -> Result<Self> {
        let shape = ImageShape { height, width, ..self.shape };
        shape.check()?;
        if shape == self.shape {
            return Ok(self.clone());
        }
        let mut pixels = vec![0; shape.elements()];
        if self.channels() == 1 {
            resize_pixels::<fir::pixels::U8>(self, shape, &mut pixels);
        } else {
            resize_pixels::<fir::pixels::U8x3>(self, shape, &mut pixels);
        }
        Ok(Self { shape, pixels })
    }

    /// The middle of the picture. A remainder of half a pixel is rounded as torchvision does
    /// it: to the even offset.
    ///
    /// # Errors
    /// [`DataError::Crop`] if the picture is smaller than that.
    pub fn centre_crop(&self, height: usize, width: usize) -> Result<Self> {
        if height > self.height() || width > self.width() {
            return Err(DataError::Crop { from: self.shape, width, height });
        }
        let shape = ImageShape { height, width, ..self.shape };
        shape.check()?;
        let (top, left) = (centre(self.height() - height), centre(self.width() - width));
        let row_bytes = width * self.channels();
        let rows = self.pixels.chunks_exact(self.width() * self.channels());
        let from = left * self.channels();
        let pixels = rows.skip(top).take(height).flat_map(|row| &row[from..from + row_bytes]).copied();
        Ok(Self { shape, pixels: pixels.collect() })
    }
}

/// Resizes pixels of type `P`. Generic, because the library's own choice among pixel types at
/// run time would compile all of its thirteen.
fn resize_pixels<P: fir::PixelTrait>(from: &Image, to: ImageShape, pixels: &mut [u8]) {
    let side = |n: usize| n as u32; // at most LONGEST_SIDE, as any picture's
    let source = TypedImageRef::<P>::from_buffer(side(from.width()), side(from.height()), &from.pixels);
    let target = TypedImage::<P>::from_buffer(side(to.width), side(to.height), pixels);
    let options = fir::ResizeOptions::new()
        .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Bilinear))
        .use_alpha(false);
    fir::Resizer::new()
        .resize_typed(
            &source.expect("as many bytes as the shape says"),
            &mut target.expect("as many bytes as the shape says"),
            &options,
        )
        .expect("neither picture is cropped");
}

/// Half of a margin, halves rounded to even.
pub(crate) fn centre(margin: usize) -> usize {
    let half = margin / 2;
    half + (margin % 2) * (half % 2)
}

/// The weights of Pillow's conversion to grey, in units of 2⁻¹⁶.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

fn one_line(error: &image::ImageError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({})", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(channels: usize, height: usize, width: usize) -> Image {
        let shape = ImageShape::new(channels, height, width);
        Image::new(shape, (0..shape.elements()).map(|i| (i * 7 % 256) as u8).collect()).unwrap()
    }

    #[test]
    fn png_files_keep_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        for image in [ramp(1, 5, 7), ramp(3, 4, 3)] {
            let path = folder.path().join("picture.png");
            image.save_png(&path).unwrap();
            assert_eq!(Image::load(&path).unwrap(), image);
            assert_eq!(Image::peek(&path).unwrap(), image.shape());
        }
    }

    #[test]
    fn grey_is_pillows_luma() {
        let shape = ImageShape::new(3, 1, 5);
        let pixels = vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 12, 200, 99];
        // PIL.Image.fromarray(rgb).convert("L")
        let grey = Image::new(shape, pixels).unwrap().with_channels(1).unwrap();
        assert_eq!(grey.pixels(), [76, 150, 29, 255, 132]);
        assert_eq!(grey.with_channels(3).unwrap().pixels()[..6], [76, 76, 76, 150, 150, 150]);
    }

    #[test]
    fn shrinking_averages_and_a_constant_stays() {
        let grey = Image::new(ImageShape::new(1, 40, 60), vec![93; 2400]).unwrap();
        assert!(grey.resize(7, 11).unwrap().pixels().iter().all(|&p| p == 93));
        let stripes = (0..64 * 64).map(|i| if i % 2 == 0 { 0 } else { 255 }).collect();
        let stripes = Image::new(ImageShape::new(1, 64, 64), stripes).unwrap();
        let small = stripes.resize(16, 16).unwrap();
        assert!(small.pixels().iter().all(|&p| (110..=145).contains(&p)), "{:?}", small.pixels());
    }

    #[test]
    fn crops_are_centred_with_halves_to_even() {
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(centre), [0, 0, 1, 2, 2, 2, 4]);
        let crop = ramp(1, 5, 5).centre_crop(3, 3).unwrap();
        assert_eq!(crop.pixels(), [42, 49, 56, 77, 84, 91, 112, 119, 126]);
        assert!(matches!(ramp(1, 5, 5).centre_crop(6, 3), Err(DataError::Crop { .. })));
    }

    #[test]
    fn impossible_pictures_are_refused() {
        assert!(matches!(Image::new(ImageShape::new(2, 1, 1), vec![0; 2]), Err(DataError::Shape(_))));
        assert!(matches!(Image::new(ImageShape::new(1, 2, 2), vec![0; 3]), Err(DataError::Pixels { .. })));
        assert!(ramp(1, 2, 2).resize(0, 2).is_err());
        assert!(ramp(1, 2, 2).with_channels(4).is_err());
    }
}
