//! Test-time augmentation: a network looks at a picture several times, mirrored, moved or in parts, and its
//! answers are averaged.

use std::{fmt, str::FromStr};

use residual_data::{PaddingMode, Preprocess};
use residual_nn::Error;
use residual_tensor::{Layout, Tensor};

use crate::ModelError;

/// Which views of a picture are averaged. Written as `none`, `flip`, `flip-shift`, `ten-crop:4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Views {
    /// The picture alone.
    #[default]
    One,
    /// It and its mirror image, half each.
    Flip,
    /// Both, a quarter each, and both moved by one pixel up and to the left, and down and to the right, an
    /// eighth each, what comes in being reflected: for pictures of about 32² (Jordan 2024, section 3.5).
    FlipShift,
    /// Of the picture with so many pixels more on each side: the middle and the four corners, and their mirror
    /// images, a tenth each (Krizhevsky et al. 2012).
    TenCrop {
        /// The pixels, 1 to 1024.
        margin: usize,
    },
}

/// The most pixels around a picture.
const MOST_MARGIN: usize = 1024;

/// Where a view lies, and what it counts.
struct View {
    down: isize,
    right: isize,
    flip: bool,
    weight: f32,
}

impl Views {
    fn list(self) -> Vec<View> {
        let both = |[down, right]: [isize; 2], weight: f32| {
            [false, true].map(|flip| View { down, right, flip, weight: weight / 2.0 })
        };
        match self {
            Self::One => vec![View { down: 0, right: 0, flip: false, weight: 1.0 }],
            Self::Flip => both([0, 0], 1.0).into(),
            Self::FlipShift => [([0, 0], 0.5), ([-1, -1], 0.25), ([1, 1], 0.25)]
                .into_iter()
                .flat_map(|(place, weight)| both(place, weight))
                .collect(),
            Self::TenCrop { margin } => {
                let reach = margin as isize;
                [[0, 0], [-reach, -reach], [-reach, reach], [reach, -reach], [reach, reach]]
                    .into_iter()
                    .flat_map(|place| both(place, 0.2))
                    .collect()
            }
        }
    }

    /// Pixels that pictures need on each side beyond what the network takes.
    pub fn margin(self) -> usize {
        match self {
            Self::TenCrop { margin } => margin,
            Self::One | Self::Flip | Self::FlipShift => 0,
        }
    }

    /// How pictures are prepared for these views: as for the network, with the margin around it.
    ///
    /// # Errors
    /// [`ModelError::Views`] for a margin that is not within 1 to 1024 pixels, or around means that every
    /// pixel has of its own.
    pub fn preprocess(self, preprocess: &Preprocess) -> Result<Preprocess, ModelError> {
        let mut wider = preprocess.clone();
        let margin = self.margin();
        let refuse =
            |reason: &str| Err(ModelError::Views { text: self.to_string(), reason: reason.to_owned() });
        if matches!(self, Self::TenCrop { margin } if !(1..=MOST_MARGIN).contains(&margin)) {
            return refuse("the margin must be between 1 and 1024 pixels");
        }
        if margin > 0 && wider.pixel_mean.is_some() {
            return refuse("the network knows a mean for each of its pixels only; use flip");
        }
        wider.input.height += 2 * margin;
        wider.input.width += 2 * margin;
        // A square picture has to cover the longer side.
        let least = wider.input.height.max(wider.input.width);
        wider.shorter_side = wider.shorter_side.map(|side| side.max(least));
        Ok(wider)
    }

    /// The mean of the network's logits for the views of prepared pictures.
    ///
    /// # Shapes
    /// `[n, channels, height + 2·margin, width + 2·margin]` → `[n, classes]`.
    ///
    /// # Errors
    /// What the network reports.
    pub fn logits(
        self,
        pictures: &Tensor<f32>,
        mut answer: impl FnMut(&Tensor<f32>) -> Result<Tensor<f32>, Error>,
    ) -> Result<Tensor<f32>, Error> {
        if self == Self::One {
            return answer(pictures);
        }
        let pictures = pictures.to_layout(Layout::ChannelsLast);
        let mut sum: Option<Tensor<f32>> = None;
        for view in self.list() {
            let logits = answer(&seen(&pictures, &view, self.margin())?)?;
            let sum = sum.get_or_insert_with(|| logits.map(|_| 0.0));
            let pairs = sum.as_mut_slice().iter_mut().zip(logits.as_slice());
            pairs.for_each(|(sum, &logit)| *sum += view.weight * logit);
        }
        Ok(sum.expect("a view at least"))
    }
}

/// A view of pictures `[n, c, h, w]`, channels-last.
fn seen(pictures: &Tensor<f32>, view: &View, margin: usize) -> Result<Tensor<f32>, Error> {
    let [n, channels, height, width] = pictures.dims("views")?;
    let [rows, columns] = [height, width].map(|side| side.saturating_sub(2 * margin));
    let mut out = Tensor::try_unfilled([n, channels, rows, columns], Layout::ChannelsLast)?;
    let place = |at: usize, moved: isize, length: usize| {
        let at = (at + margin) as isize + moved;
        PaddingMode::Reflect.source(at, length).unwrap_or(0)
    };
    let from_rows: Vec<usize> = (0..rows).map(|row| place(row, view.down, height)).collect();
    let from_columns: Vec<usize> = (0..columns)
        .map(|column| place(if view.flip { columns - 1 - column } else { column }, view.right, width))
        .collect();
    let source = pictures.as_slice();
    let lines = out.as_mut_slice().chunks_exact_mut((columns * channels).max(1));
    for (line, out) in lines.enumerate() {
        let from = (line / rows * height + from_rows[line % rows]) * width;
        for (&column, out) in from_columns.iter().zip(out.chunks_exact_mut(channels)) {
            out.copy_from_slice(&source[(from + column) * channels..][..channels]);
        }
    }
    Ok(out)
}

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("none"),
            Self::Flip => f.write_str("flip"),
            Self::FlipShift => f.write_str("flip-shift"),
            Self::TenCrop { margin } => write!(f, "ten-crop:{margin}"),
        }
    }
}

impl FromStr for Views {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let margin = text.strip_prefix("ten-crop:").and_then(|margin| margin.parse().ok());
        match (text, margin) {
            ("none", _) => Ok(Self::One),
            ("flip", _) => Ok(Self::Flip),
            ("flip-shift", _) => Ok(Self::FlipShift),
            (_, Some(margin @ 1..=MOST_MARGIN)) => Ok(Self::TenCrop { margin }),
            _ => Err(ModelError::Views {
                text: text.to_owned(),
                reason: "write none, flip, flip-shift, or ten-crop:4 (the pixels around the middle)"
                    .to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use residual_data::ImageShape;

    use super::*;

    fn ramp(height: usize, width: usize) -> Tensor<f32> {
        Tensor::from_vec([1, 1, height, width], (0..height * width).map(|i| i as f32).collect()).unwrap()
    }

    fn views(views: Views, pictures: &Tensor<f32>) -> Vec<Vec<f32>> {
        let mut all = Vec::new();
        views
            .logits(pictures, |picture| {
                all.push(picture.to_vec());
                Ok(Tensor::zeros([1, 1]))
            })
            .unwrap();
        all
    }

    #[test]
    fn views_are_mirrored_and_moved() {
        let all = views(Views::FlipShift, &ramp(2, 3));
        // torch.nn.functional.pad(x, (1, 1, 1, 1), "reflect")[..., :2, :3] and [..., 2:, 2:], and x.flip(-1)
        let plain = [0., 1., 2., 3., 4., 5.];
        let expected = [
            plain,
            [2., 1., 0., 5., 4., 3.],
            [4., 3., 4., 1., 0., 1.],
            [4., 3., 4., 1., 0., 1.],
            [4., 5., 4., 1., 2., 1.],
            [4., 5., 4., 1., 2., 1.],
        ];
        assert_eq!(all, expected);
        assert_eq!(views(Views::One, &ramp(2, 3)), [plain]);
    }

    #[test]
    fn ten_crops_are_torchvisions() {
        // torchvision.transforms.functional.ten_crop of 4×4 to 2×2, but for the order
        let crops = views(Views::TenCrop { margin: 1 }, &ramp(4, 4));
        let expected = [
            [5., 6., 9., 10.],
            [6., 5., 10., 9.],
            [0., 1., 4., 5.],
            [1., 0., 5., 4.],
            [2., 3., 6., 7.],
            [3., 2., 7., 6.],
            [8., 9., 12., 13.],
            [9., 8., 13., 12.],
            [10., 11., 14., 15.],
            [11., 10., 15., 14.],
        ];
        assert_eq!(crops, expected);
    }

    #[test]
    fn answers_are_averaged_by_weight() {
        for choice in [Views::One, Views::Flip, Views::FlipShift, Views::TenCrop { margin: 1 }] {
            let mean = choice.logits(&ramp(6, 6), |_| Ok(Tensor::full([1, 2], 3.0))).unwrap();
            assert!(mean.to_vec().iter().all(|logit| (logit - 3.0).abs() < 1e-6), "{choice}");
            assert_eq!(choice.to_string().parse::<Views>().unwrap(), choice);
        }
        assert!("ten-crop:0".parse::<Views>().unwrap_err().to_string().contains("ten-crop:4"));
    }

    #[test]
    fn a_margin_is_prepared() {
        let preprocess = Preprocess { shorter_side: Some(50), ..Preprocess::new(ImageShape::new(1, 48, 48)) };
        let wider = Views::TenCrop { margin: 3 }.preprocess(&preprocess).unwrap();
        assert_eq!((wider.input.height, wider.shorter_side), (54, Some(54)));
        let wide =
            Preprocess { input: ImageShape::new(1, 48, 100), shorter_side: Some(100), ..preprocess.clone() };
        let wider = Views::TenCrop { margin: 10 }.preprocess(&wide).unwrap();
        wider.check().unwrap();
        assert_eq!(wider.shorter_side, Some(120));
        let means = Preprocess { pixel_mean: Some(vec![0.5; 48 * 48]), ..preprocess.clone() };
        assert!(Views::TenCrop { margin: 3 }.preprocess(&means).is_err());
        for margin in [0, 1025, usize::MAX] {
            let error = Views::TenCrop { margin }.preprocess(&preprocess).unwrap_err().to_string();
            assert!(error.contains("between 1 and 1024"), "{error}");
        }
        assert_eq!(Views::Flip.preprocess(&means).unwrap(), means);
    }
}
