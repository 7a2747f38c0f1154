//! Pictures as Pillow reads, resizes and varies them, for the tests of the files that do the same.
//! The pixels are in `tests/data/pillow.json`, and the script that made them is beside it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{ImageShape, Interpolation, Picture};

#[derive(Deserialize)]
pub(crate) struct Expected {
    pub(crate) files: Vec<File>,
    pub(crate) resized: Vec<Resized>,
    varied: Vec<Varied>,
}

/// A file as it is read.
#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) file: String,
    /// By how much decoders may differ.
    pub(crate) levels: u8,
    #[serde(flatten)]
    pub(crate) picture: Written,
}

/// Noise of some shape at another size.
#[derive(Deserialize)]
pub(crate) struct Resized {
    pub(crate) from: [usize; 3],
    pub(crate) interpolation: Interpolation,
    #[serde(flatten)]
    pub(crate) picture: Written,
}

/// Noise of the same shape after a transform.
#[derive(Deserialize)]
struct Varied {
    kind: String,
    amount: f64,
    #[serde(flatten)]
    picture: Written,
}

/// A picture as it is written there: two hexadecimal digits a byte.
#[derive(Deserialize)]
pub(crate) struct Written {
    channels: usize,
    height: usize,
    width: usize,
    pixels: String,
}

impl From<&Written> for Picture {
    fn from(picture: &Written) -> Self {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let pixels = picture.pixels.as_bytes().chunks(2).map(byte).collect();
        Picture::new(ImageShape::new(picture.channels, picture.height, picture.width), pixels).unwrap()
    }
}

pub(crate) fn expected() -> Expected {
    serde_json::from_str(include_str!("../tests/data/pillow.json")).unwrap()
}

/// Where a file is.
pub(crate) fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/files").join(file)
}

/// The picture that everything but the files begins with.
pub(crate) fn noise(channels: usize, height: usize, width: usize) -> Picture {
    let shape = ImageShape::new(channels, height, width);
    let value = |i: usize| ((i * i * 31 + i * 17) % 251) as u8;
    Picture::new(shape, (0..shape.elements()).map(value).collect()).unwrap()
}

/// Holds a transform by some amount against Pillow's.
pub(crate) fn varied(kind: &str, transform: impl Fn(&Picture, f64) -> Picture) {
    let cases: Vec<Varied> = expected().varied.into_iter().filter(|case| case.kind == kind).collect();
    assert!(!cases.is_empty());
    for Varied { amount, picture, .. } in cases {
        let expected = Picture::from(&picture);
        let ours = transform(&noise(picture.channels, picture.height, picture.width), amount);
        assert_eq!(ours.pixels(), expected.pixels(), "{kind} {amount} {}", expected.shape());
    }
}
