//! From a picture to what a network sees: channels, size, standardised values. It is data that
//! travels inside a checkpoint, so that a trained network needs nothing else. Nothing here is
//! random: that is [`Augment`](crate::Augment).

use std::ops::Range;

use residual_tensor::{Layout, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    DataError, Dataset, ImageShape, Interpolation, PaddingMode, Picture, Rectangle, Result, Statistics,
    picture::centre, resize::Target,
};

/// Brings any picture to the shape and range that a network was trained on.
///
/// Grey or RGB as the network wants it, resized so that it covers the input, cropped to the
/// middle; then each value `p` of 0 to 255 becomes `(p / 255 − mean) / std`.
///
/// ```
/// use residual_data::{Picture, ImageShape, Preprocess};
///
/// let picture = Picture::new(ImageShape::new(3, 60, 80), vec![255; 3 * 60 * 80])?;
/// let preprocess = Preprocess::new(ImageShape::new(1, 48, 48)).normalise(&[0.5], &[0.25]);
/// let x = preprocess.apply(picture)?;
/// assert_eq!(x.shape()[..], [1, 1, 48, 48]);
/// assert_eq!(x.as_slice()[0], 2.0);
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// What the network takes.
    pub input: ImageShape,
    /// The length that the picture's shorter side is resized to before the crop, as torchvision
    /// does it (256 for a crop of 224). `None`: just enough to cover the input, which leaves
    /// pictures of the input's size alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shorter_side: Option<usize>,
    /// How pixels are weighted when the picture is resized.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Subtracted from each channel.
    pub mean: Vec<f32>,
    /// Divides each channel.
    pub std: Vec<f32>,
    /// Subtracted from each value, in place of the channels' means: `input.elements()` numbers,
    /// channels innermost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_mean: Option<Vec<f32>>,
}

/// What is subtracted from training pictures, and what divides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standardise {
    /// Each channel's mean and standard deviation.
    #[default]
    Channel,
    /// Each pixel's mean, and nothing divides: as in the paper's CIFAR-10 experiments.
    PixelMean,
}

impl Preprocess {
    /// Resizing to cover `input`, values of 0 to 1.
    pub fn new(input: ImageShape) -> Self {
        let channels = input.channels;
        Self {
            input,
            shorter_side: None,
            interpolation: Interpolation::default(),
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            pixel_mean: None,
        }
    }

    /// What torchvision's ImageNet networks were trained with: RGB, the shorter side resized to
    /// 256, the middle 224×224, ImageNet's mean and deviation.
    pub fn imagenet() -> Self {
        Self { shorter_side: Some(256), ..Self::new(ImageShape::new(3, 224, 224)) }
            .normalise(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])
    }

    /// The same with another mean and deviation per channel.
    pub fn normalise(self, mean: &[f32], std: &[f32]) -> Self {
        Self { mean: mean.into(), std: std.into(), pixel_mean: None, ..self }
    }

    /// The same with mean and deviation measured on a data set, normally the training split. At
    /// most `limit` of its pictures are looked at, evenly spread.
    ///
    /// # Errors
    /// Whatever reading the pictures returns; [`DataError::Empty`] if there are none.
    pub fn fit(self, dataset: &dyn Dataset, standardise: Standardise, limit: usize) -> Result<Self> {
        let measured = Statistics::measure(dataset, &self, limit)?;
        Ok(match standardise {
            Standardise::Channel => self.normalise(&measured.mean, &measured.std),
            Standardise::PixelMean => {
                let std = vec![1.0; self.input.channels];
                Self { mean: measured.mean, std, pixel_mean: Some(measured.pixel_mean), ..self }
            }
        })
    }

    /// # Errors
    /// [`DataError::Shape`] or [`DataError::Preprocess`] if the parts do not fit each other, as
    /// may happen in a file that somebody edited.
    pub fn check(&self) -> Result<()> {
        self.input.check()?;
        let expect = |what, given, needed| {
            if given == needed {
                Ok(())
            } else {
                Err(DataError::Preprocess { to: self.input, what, given, needed })
            }
        };
        expect("mean", self.mean.len(), self.input.channels)?;
        expect("std", self.std.len(), self.input.channels)?;
        let pixel_mean = self.pixel_mean.as_ref().map_or(self.input.elements(), Vec::len);
        expect("mean per pixel", pixel_mean, self.input.elements())?;
        let is_positive = |&std: &f32| std > 0.0 && std.is_finite();
        let means = self.mean.iter().chain(self.pixel_mean.iter().flatten());
        if !self.std.iter().all(is_positive) || !means.into_iter().all(|mean| mean.is_finite()) {
            return Err(DataError::Deviation { to: self.input });
        }
        let side = self.shorter_side.unwrap_or(self.input.height);
        ImageShape { height: side, width: side, ..self.input }.check()
    }

    /// The picture with the input's channels, resized to cover the input: what comes before
    /// anything random, and is therefore kept between epochs. Of a long strip, only what lies
    /// within an input's length of the middle crop is made.
    ///
    /// # Errors
    /// [`DataError::Crop`] if [`shorter_side`](Self::shorter_side) is too short for the input.
    pub fn resize(&self, image: Picture) -> Result<Picture> {
        let ImageShape { channels, height, width } = self.input;
        let image = if image.channels() == channels { image } else { image.with_channels(channels)? };
        let (rows, columns) = (image.height(), image.width());
        // The longer side is cut to whole pixels, as torchvision does.
        let to_rows = |side: usize| (side, (columns * side / rows).max(1));
        let to_columns = |side: usize| ((rows * side / columns).max(1), side);
        let (new_rows, new_columns) = match self.shorter_side {
            Some(side) if rows <= columns => to_rows(side),
            Some(side) => to_columns(side),
            None if rows * width <= columns * height => to_rows(height),
            None => to_columns(width),
        };
        if new_rows < height || new_columns < width {
            let from = ImageShape { height: new_rows, width: new_columns, ..self.input };
            return Err(DataError::Crop { from, width, height });
        }
        let kept = Target {
            size: [new_rows, new_columns],
            rows: middle(new_rows, height),
            columns: middle(new_columns, width),
        };
        let is_as_it_was =
            kept.size == [rows, columns] && kept.rows.len() == rows && kept.columns.len() == columns;
        if is_as_it_was { Ok(image) } else { image.resize_part(kept, self.interpolation) }
    }

    /// A picture as a batch of one, `[1, channels, height, width]` in channels-last memory.
    ///
    /// # Errors
    /// As [`check`](Self::check) and [`resize`](Self::resize).
    pub fn apply(&self, image: Picture) -> Result<Tensor<f32>> {
        self.check()?;
        let ImageShape { channels, height, width } = self.input;
        let mut tensor = Tensor::try_unfilled([1, channels, height, width], Layout::ChannelsLast)?;
        self.write(&self.resize(image)?, Placement::default(), tensor.as_mut_slice())?;
        Ok(tensor)
    }

    /// Writes a crop of a [resized](Self::resize) picture, standardised, channels innermost.
    /// What lies outside of the picture is zero, which is the mean, or its mirror image.
    ///
    /// With a mean per pixel the picture ends where the means do: at the middle crop's edge.
    ///
    /// # Errors
    /// [`DataError::Room`] if `out` does not have the input's length, [`DataError::Crop`] if
    /// the picture does not cover the input.
    pub fn write(&self, resized: &Picture, placement: Placement, out: &mut [f32]) -> Result<()> {
        let ImageShape { channels, height, width } = self.input;
        if out.len() != self.input.elements() {
            return Err(DataError::Room { to: self.input, given: out.len() });
        }
        let shape = resized.shape();
        if shape.channels != channels || shape.height < height || shape.width < width {
            return Err(DataError::Crop { from: shape, width, height });
        }
        let (top, left) = (centre(shape.height - height) as isize, centre(shape.width - width) as isize);
        // Rows and columns that exist, counted from the middle crop's corner.
        let (rows, columns) = match self.pixel_mean {
            None => (-top..shape.height as isize - top, -left..shape.width as isize - left),
            Some(_) => (0..height as isize, 0..width as isize),
        };
        let scale: Vec<f32> = self.std.iter().map(|std| 1.0 / (255.0 * std)).collect();
        let offset: Vec<f32> = self.mean.iter().zip(&self.std).map(|(mean, std)| mean / std).collect();
        let source = |place: isize, there: &Range<isize>| {
            let found = placement.padding.source(place - there.start, there.len());
            found.map(|found| found as isize + there.start)
        };
        let sources: Vec<Option<isize>> = (0..width)
            .map(|x| if placement.flip { width - 1 - x } else { x })
            .map(|x| source(x as isize + placement.right, &columns))
            .collect();
        for (y, out_row) in out.chunks_exact_mut(width * channels).enumerate() {
            let Some(row) = source(y as isize + placement.down, &rows) else {
                out_row.fill(0.0);
                continue;
            };
            let picture_row = (row + top) as usize * shape.width;
            for (&column, values) in sources.iter().zip(out_row.chunks_exact_mut(channels)) {
                let Some(column) = column else {
                    values.fill(0.0);
                    continue;
                };
                let at = (picture_row + (column + left) as usize) * channels;
                let pixel = &resized.pixels()[at..at + channels];
                match &self.pixel_mean {
                    None => {
                        for c in 0..channels {
                            values[c] = f32::from(pixel[c]) * scale[c] - offset[c];
                        }
                    }
                    Some(means) => {
                        let at = (row as usize * width + column as usize) * channels;
                        for c in 0..channels {
                            values[c] = f32::from(pixel[c]) * scale[c] - means[at + c] / self.std[c];
                        }
                    }
                }
            }
        }
        if let Some(Rectangle { top, left, height: rows, width: columns }) = placement.erased {
            for out_row in out.chunks_exact_mut(width * channels).skip(top).take(rows) {
                let end = (left + columns).min(width);
                out_row[left.min(end) * channels..end * channels].fill(0.0);
            }
        }
        Ok(())
    }
}

/// Where the crop lies relative to the middle of the picture, whether it is mirrored, and what is
/// missing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// Rows by which the crop is moved down.
    pub down: isize,
    /// Columns by which the crop is moved right.
    pub right: isize,
    /// Whether left and right of the crop are exchanged.
    pub flip: bool,
    /// What is outside of the picture.
    pub padding: PaddingMode,
    /// A part of the crop, as it is after all that, which is zero.
    pub erased: Option<Rectangle>,
}

/// What is kept of a side for a crop of this length in its middle: at most as much again before and
/// after it. An even number of pixels goes from each end, so that the middle stays where it was.
fn middle(side: usize, crop: usize) -> Range<usize> {
    let cut = side.saturating_sub(3 * crop) / 4 * 2;
    cut..side - cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Picture {
        let pixels = (0..height * width).map(|i| i as u8).collect();
        Picture::new(ImageShape::new(1, height, width), pixels).unwrap()
    }

    /// Values of 0 to 255 as they are.
    fn raw(height: usize, width: usize) -> Preprocess {
        Preprocess::new(ImageShape::new(1, height, width)).normalise(&[0.0], &[1.0 / 255.0])
    }

    fn written(preprocess: &Preprocess, image: &Picture, placement: Placement) -> Vec<f32> {
        let mut out = vec![f32::NAN; preprocess.input.elements()];
        preprocess.write(image, placement, &mut out).unwrap();
        out
    }

    #[test]
    fn a_crop_beyond_the_picture_is_zero_and_a_flip_mirrors_it() {
        let picture = ramp(3, 3);
        let at = |down, right, flip| {
            written(&raw(3, 3), &picture, Placement { down, right, flip, ..Placement::default() })
        };
        assert_eq!(at(0, 0, false), [0., 1., 2., 3., 4., 5., 6., 7., 8.]);
        assert_eq!(at(0, 0, true), [2., 1., 0., 5., 4., 3., 8., 7., 6.]);
        assert_eq!(at(1, -1, false), [0., 3., 4., 0., 6., 7., 0., 0., 0.]);
        assert_eq!(at(1, -1, true), [4., 3., 0., 7., 6., 0., 0., 0., 0.]);
        let padding = PaddingMode::Reflect;
        let reflected = Placement { down: 1, right: -1, padding, ..Placement::default() };
        assert_eq!(written(&raw(3, 3), &picture, reflected), [4., 3., 4., 7., 6., 7., 4., 3., 4.]);
    }

    #[test]
    fn what_is_erased_is_zero() {
        let erased = Some(Rectangle { top: 1, left: 0, height: 2, width: 2 });
        let placement = Placement { flip: true, erased, ..Placement::default() };
        assert_eq!(written(&raw(3, 3), &ramp(3, 3), placement), [2., 1., 0., 0., 0., 3., 0., 0., 6.]);
    }

    #[test]
    fn a_margin_comes_before_zeros() {
        let moved = Placement { down: 1, right: 2, ..Placement::default() };
        assert_eq!(written(&raw(2, 2), &ramp(4, 4), Placement::default()), [5., 6., 9., 10.]);
        assert_eq!(written(&raw(2, 2), &ramp(4, 4), moved), [11., 0., 15., 0.]);
    }

    #[test]
    fn the_mean_of_a_pixel_moves_with_it() {
        let mut preprocess = raw(2, 2);
        preprocess.pixel_mean = Some([1., 1., 2., 0.].map(|mean| mean / 255.0).to_vec());
        let moved =
            written(&preprocess, &ramp(2, 2), Placement { right: 1, flip: true, ..Placement::default() });
        for (value, expected) in moved.iter().zip([0., 0., 0., 3.]) {
            assert!((value - expected).abs() < 1e-5, "{moved:?}");
        }
    }

    #[test]
    fn sizes_are_torchvisions() {
        // torchvision.transforms.Resize(256) on a 500×375 picture gives 341×256.
        let landscape = Picture::new(ImageShape::new(3, 375, 500), vec![5; 3 * 375 * 500]).unwrap();
        let resized = Preprocess::imagenet().resize(landscape.clone()).unwrap();
        assert_eq!((resized.height(), resized.width()), (256, 341));
        let covering = Preprocess::new(ImageShape::new(1, 48, 48)).resize(landscape).unwrap();
        assert_eq!(covering.shape(), ImageShape::new(1, 48, 64));
        let too_short = Preprocess { shorter_side: Some(200), ..Preprocess::imagenet() };
        assert!(matches!(too_short.resize(ramp(10, 10)), Err(DataError::Crop { .. })));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let good = Preprocess::imagenet();
        for side in [0, 16_385, usize::MAX] {
            assert!(Preprocess { shorter_side: Some(side), ..good.clone() }.check().is_err(), "{side}");
        }
        for mean in [f32::NAN, f32::INFINITY] {
            assert!(good.clone().normalise(&[mean; 3], &[1.0; 3]).check().is_err(), "{mean}");
        }
        assert!(good.check().is_ok());
        for faces in ["10000001", "99999999999", "train=18446744073709551615"] {
            assert!(format!("faces:{faces}").parse::<crate::DataSpec>().is_err(), "{faces}");
        }
    }

    #[test]
    fn of_a_strip_the_middle_is_kept() {
        for (height, width) in [(1, 5000), (5000, 1), (3, 16_384), (7, 61), (61, 7), (40, 173)] {
            let strip = ramp(height, width);
            let preprocess = raw(24, 20);
            let kept = preprocess.resize(strip.clone()).unwrap();
            assert!(kept.height() <= 3 * 24 + 3 && kept.width() <= 3 * 20 + 3, "{}", kept.shape());
            let side = |long: usize, short: usize, to: usize| (long * to / short).max(1);
            let (rows, columns) = if height * 20 <= width * 24 {
                (24, side(width, height, 24))
            } else {
                (side(height, width, 20), 20)
            };
            let middle = kept.centre_crop(24, 20).unwrap();
            if rows.max(columns) <= 16_384 {
                let whole = strip.resize(rows, columns, Interpolation::Bilinear).unwrap();
                assert_eq!(whole.centre_crop(24, 20).unwrap().pixels(), middle.pixels());
            }
        }
    }

    #[test]
    fn it_travels_as_json() {
        let mut preprocess = Preprocess::imagenet();
        let json = serde_json::to_string(&preprocess).unwrap();
        assert!(!json.contains("pixel_mean"), "{json}");
        assert_eq!(serde_json::from_str::<Preprocess>(&json).unwrap(), preprocess);
        preprocess.pixel_mean = Some(vec![0.25; preprocess.input.elements()]);
        let json = serde_json::to_string(&preprocess).unwrap();
        assert_eq!(serde_json::from_str::<Preprocess>(&json).unwrap(), preprocess);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let good = Preprocess::imagenet();
        assert!(good.check().is_ok());
        for bad in [
            Preprocess { mean: vec![0.0], ..good.clone() },
            Preprocess { std: vec![0.0; 3], ..good.clone() },
            Preprocess { pixel_mean: Some(vec![0.0; 9]), ..good.clone() },
            Preprocess { input: ImageShape::new(2, 224, 224), ..good },
        ] {
            assert!(bad.apply(ramp(4, 4)).is_err());
        }
    }
}
