//! Pictures as part of a page: shrunk, and written into it as text.

use base64::prelude::{BASE64_STANDARD, Engine};
use residual_data::{ImageShape, Picture, Preprocess};

use crate::Result;

/// Larger pictures are shrunk to cover this side.
const SIDE: usize = 96;

/// The picture, not much larger than it is shown.
pub(crate) fn shrunk(picture: Picture) -> Result<Picture> {
    if picture.height().min(picture.width()) <= SIDE {
        return Ok(picture);
    }
    let shown = Preprocess::new(ImageShape::new(picture.channels(), SIDE, SIDE));
    Ok(shown.resize(picture)?)
}

/// A PNG file as the address of a picture (RFC 2397).
pub(crate) fn png(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes))
}
