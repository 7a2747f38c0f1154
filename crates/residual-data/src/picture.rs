//! A picture in memory: bytes of grey or RGB pixels. Not a tensor: that is what
//! [`Preprocess`](crate::Preprocess) makes of it.

use std::{fmt, fs, ops::Range, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    DataError, Interpolation, Result,
    error::io_error,
    resize::{Target, resize},
};

/// The longest side of a picture, in pixels.
pub(crate) const LONGEST_SIDE: u32 = 16_384;

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
pub struct Picture {
    shape: ImageShape,
    pixels: Vec<u8>,
}

impl Picture {
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

    /// The picture at another size, antialiased where it shrinks: the bytes of Pillow's
    /// `resize`, and so those of torchvision's on Pillow's pictures.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the new size is not possible.
    pub fn resize(&self, height: usize, width: usize, interpolation: Interpolation) -> Result<Self> {
        let whole = Target { size: [height, width], rows: 0..height, columns: 0..width };
        self.resize_part(whole, interpolation)
    }

    /// A part of the picture at another size, which may itself be too large for a picture.
    pub(crate) fn resize_part(&self, to: Target, interpolation: Interpolation) -> Result<Self> {
        let shape = ImageShape { height: to.rows.len(), width: to.columns.len(), ..self.shape };
        shape.check()?;
        if to.size == [self.height(), self.width()] {
            return Ok(self.part(to.rows, to.columns));
        }
        Ok(Self { shape, pixels: resize(&self.pixels, self.shape, &to, interpolation) })
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
        ImageShape { height, width, ..self.shape }.check()?;
        let (top, left) = (centre(self.height() - height), centre(self.width() - width));
        Ok(self.part(top..top + height, left..left + width))
    }

    /// The part of the picture in a frame, whose corner may lie anywhere. Where the frame reaches beyond the
    /// picture, the nearest pixels of the picture are repeated.
    ///
    /// # Errors
    /// [`DataError::Shape`] if no picture can be that large.
    pub fn crop(&self, top: isize, left: isize, height: usize, width: usize) -> Result<Self> {
        let shape = ImageShape { height, width, ..self.shape };
        shape.check()?;
        let nearest = |from: isize, length: usize, room: usize| {
            (0..length as isize).map(move |at| from.saturating_add(at).clamp(0, room as isize - 1) as usize)
        };
        let mut pixels = Vec::with_capacity(shape.elements());
        for row in nearest(top, height, self.height()) {
            let line = &self.pixels[row * self.width() * self.channels()..][..self.width() * self.channels()];
            for column in nearest(left, width, self.width()) {
                pixels.extend_from_slice(&line[column * self.channels()..][..self.channels()]);
            }
        }
        Ok(Self { shape, pixels })
    }

    /// These rows and columns, all of which exist.
    pub(crate) fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        let shape = ImageShape { height: rows.len(), width: columns.len(), ..self.shape };
        let bytes = columns.start * self.channels()..columns.end * self.channels();
        let lines = self.pixels.chunks_exact(self.width() * self.channels());
        let mut pixels = Vec::with_capacity(rows.len() * bytes.len());
        for line in lines.take(rows.end).skip(rows.start) {
            pixels.extend_from_slice(&line[bytes.clone()]);
        }
        Self { shape, pixels }
    }

    /// A picture of the same shape whose pixels are those at other places of this one, given as row
    /// and column. What has no place, or one outside of the picture, is black.
    pub(crate) fn filled_from(&self, place: impl Fn(usize, usize) -> Option<[isize; 2]>) -> Self {
        let ImageShape { channels, height, width } = self.shape;
        let mut pixels = vec![0; self.pixels.len()];
        for (at, out) in pixels.chunks_exact_mut(channels).enumerate() {
            let Some([row, column]) = place(at / width, at % width) else { continue };
            if (0..height as isize).contains(&row) && (0..width as isize).contains(&column) {
                let at = (row as usize * width + column as usize) * channels;
                out.copy_from_slice(&self.pixels[at..at + channels]);
            }
        }
        Self { shape: self.shape, pixels }
    }
}

/// Half of a margin, halves rounded to even.
pub(crate) fn centre(margin: usize) -> usize {
    let half = margin / 2;
    half + (margin % 2) * (half % 2)
}

/// The weights of Pillow's conversion to grey, in units of 2⁻¹⁶.
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({})", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(channels: usize, height: usize, width: usize) -> Picture {
        let shape = ImageShape::new(channels, height, width);
        Picture::new(shape, (0..shape.elements()).map(|i| (i * 7 % 256) as u8).collect()).unwrap()
    }

    #[test]
    fn png_files_keep_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        for image in [ramp(1, 5, 7), ramp(3, 4, 3)] {
            let path = folder.path().join("picture.png");
            image.save_png(&path).unwrap();
            assert_eq!(Picture::open(&path).unwrap(), image);
            assert_eq!(Picture::peek(&path).unwrap(), image.shape());
        }
    }

    #[test]
    fn grey_is_pillows_luma() {
        let shape = ImageShape::new(3, 1, 5);
        let pixels = vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 12, 200, 99];
        // PIL.Image.fromarray(rgb).convert("L")
        let grey = Picture::new(shape, pixels).unwrap().with_channels(1).unwrap();
        assert_eq!(grey.pixels(), [76, 150, 29, 255, 132]);
        assert_eq!(grey.with_channels(3).unwrap().pixels()[..6], [76, 76, 76, 150, 150, 150]);
    }

    #[test]
    fn crops_are_centred_with_halves_to_even() {
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(centre), [0, 0, 1, 2, 2, 2, 4]);
        let crop = ramp(1, 5, 5).centre_crop(3, 3).unwrap();
        assert_eq!(crop.pixels(), [42, 49, 56, 77, 84, 91, 112, 119, 126]);
        assert!(matches!(ramp(1, 5, 5).centre_crop(6, 3), Err(DataError::Crop { .. })));
    }

    #[test]
    fn a_frame_beyond_the_picture_repeats_its_edge() {
        let picture = ramp(1, 2, 3); // 0 7 14, 21 28 35
        let crop =
            |top, left, height, width| picture.crop(top, left, height, width).unwrap().pixels().to_vec();
        assert_eq!(crop(0, 1, 2, 2), [7, 14, 28, 35]);
        assert_eq!(crop(-1, -1, 2, 2), [0, 0, 0, 0]);
        assert_eq!(crop(1, 2, 2, 2), [35, 35, 35, 35]);
        assert_eq!(crop(isize::MIN, isize::MAX, 1, 1), [14]);
        assert_eq!(ramp(3, 2, 2).crop(1, 0, 1, 2).unwrap().pixels(), &ramp(3, 2, 2).pixels()[6..]);
        assert!(matches!(picture.crop(0, 0, 0, 1), Err(DataError::Shape(_))));
    }

    #[test]
    fn impossible_pictures_are_refused() {
        assert!(matches!(Picture::new(ImageShape::new(2, 1, 1), vec![0; 2]), Err(DataError::Shape(_))));
        assert!(matches!(Picture::new(ImageShape::new(1, 2, 2), vec![0; 3]), Err(DataError::Pixels { .. })));
        assert!(ramp(1, 2, 2).resize(0, 2, Interpolation::Bilinear).is_err());
        assert!(ramp(1, 2, 2).with_channels(4).is_err());
    }
}
