//! Where in a picture faces are.

use std::fmt;

use residual_data::{DataError, Interpolation, Picture};
use rustface::{Detector, ImageData};
use serde::Serialize;

/// Finds faces that look at the camera, more or less: by SeetaFace (Wu et al. 2016, "Funnel-structured cascade
/// for multi-view face detection with alignment-awareness"), whose model is part of this crate.
///
/// Faces are found from 40 pixels up; where the longer side of a picture has more than 1024, from a twenty-fifth of
/// it.
pub struct FaceFinder {
    model: rustface::Model,
}

/// A face in a picture: a square around eyes, nose and mouth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Face {
    /// The row of its upper edge; below 0 if it begins outside of the picture.
    pub top: isize,
    /// The column of its left edge; below 0 if it begins outside of the picture.
    pub left: isize,
    /// Its height and width in pixels.
    pub side: usize,
    /// How sure the finder is: without a unit, at least [`FaceFinder::LEAST_SCORE`].
    pub score: f64,
}

/// The model file of SeetaFace Detection, under the BSD license beside it.
const MODEL: &[u8] = include_bytes!("../model/seeta_fd_frontal_v1.0.bin");
/// Larger pictures are looked through at this size: the longer side, in pixels.
const LONGEST_SIDE: usize = 1024;
/// The side of what the finder's first stage looks at, and so the least side of a face and of a picture.
const WINDOW: usize = 40;

impl FaceFinder {
    /// Faces of a lower score are not returned.
    pub const LEAST_SCORE: f64 = 2.0;

    /// A finder, for any number of threads.
    pub fn new() -> Self {
        Self { model: rustface::read_model(MODEL).expect("the model is complete") }
    }

    /// The faces of a picture, the largest first. None are found in a picture that has less than 40 pixels in height
    /// or width, or would have if its longer side were 1024.
    pub fn find(&self, picture: &Picture) -> Vec<Face> {
        let longer = picture.height().max(picture.width());
        let scale = longer as f64 / longer.min(LONGEST_SIDE) as f64;
        let [height, width] =
            [picture.height(), picture.width()].map(|side| (side as f64 / scale).round() as usize);
        if height.min(width) < WINDOW {
            return Vec::new();
        }
        let grey =
            picture.with_channels(1).and_then(|grey| grey.resize(height, width, Interpolation::Bilinear));
        let grey = grey.expect("any picture can be grey, and smaller");
        let mut detector = rustface::create_detector_with_model(self.model.clone());
        configure(&mut *detector);
        let found = detector.detect(&ImageData::new(grey.pixels(), width as u32, height as u32));
        let mut faces: Vec<Face> = found
            .iter()
            .map(|face| {
                let frame = face.bbox();
                let [top, left] = [frame.y(), frame.x()].map(|at| (f64::from(at) * scale).round() as isize);
                let side = (f64::from(frame.width()) * scale).round() as usize;
                Face { top, left, side, score: face.score() }
            })
            .collect();
        faces.sort_by_key(|face| std::cmp::Reverse(face.side));
        faces
    }
}

fn configure(detector: &mut dyn Detector) {
    detector.set_score_thresh(FaceFinder::LEAST_SCORE);
    detector.set_pyramid_scale_factor(0.8);
    detector.set_slide_window_step(4, 4);
}

impl Default for FaceFinder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FaceFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaceFinder")
    }
}

/// How much longer the side of a picture of FER2013 is than that of the square in which the finder sees its face:
/// `examples/framing.rs` found squares of 0.911 sides (the median of 4,873), in the middle of the pictures.
const FRAME: f64 = 1.0 / 0.911;

impl Face {
    /// The face with as much around it as the pictures of FER2013 show. Where that is beyond the picture, its
    /// nearest pixels are repeated.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the face is none of this picture, and too large for any.
    pub fn picture(&self, of: &Picture) -> Result<Picture, DataError> {
        let side = self.side as f64 * FRAME;
        let margin = (side - self.side as f64) / 2.0;
        let [top, left] = [self.top, self.left].map(|at| (at as f64 - margin).round() as isize);
        let side = (side.round() as usize).max(1);
        of.crop(top, left, side, side)
    }
}

impl fmt::Display for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { top, left, side, .. } = self;
        write!(f, "face of {side}×{side} at {left}, {top}")
    }
}
