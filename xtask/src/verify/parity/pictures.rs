//! Preprocessing against the pixels that Pillow and torchvision make of the same pictures.

use residual_data::{ImageShape, Picture, Preprocess};
use residual_tensor::Tensor;

use super::{
    comparison::Comparison,
    fixture::{Digest, PictureCase, Pictures, doubles},
    formula::uniform,
};
use crate::verify::{Difference, Failure, Outcome, numbers::grouped};

/// Levels come back from normalised values in f32.
const LEVEL: f64 = 1e-3;
/// Digests are of normalised values in f32.
const DIGEST: f64 = 1e-6;

/// All pictures of a file.
pub(super) fn preprocessing(fixture: &Pictures) -> Outcome {
    let mut pixels = 0;
    let mut digests = Comparison::new("normalised");
    for picture in &fixture.pictures {
        let name = format!("{} {}×{}", picture.kind, picture.source[0], picture.source[1]);
        let named = |failure: Failure| format!("{name}: {failure}");
        let x = preprocess(picture).map_err(named)?;
        digests.digest(&name, &Digest::of(&x), &picture.normalised);
        let (ours, theirs) = (levels(picture, &x), bytes(&picture.pixels).map_err(named)?);
        if ours.len() != theirs.len() {
            let lengths = format!("{name}: {} pixels, torchvision {}", ours.len(), theirs.len());
            return Err(Difference::found(lengths));
        }
        pixels += ours.len();
        for (at, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
            let difference = (ours - f64::from(theirs)).abs();
            if difference.is_nan() || difference > LEVEL {
                let reason = format!("{name}, value {at}: {ours:.3}, torchvision {theirs}");
                return Err(Difference::found(reason));
            }
        }
    }
    let told = format!("{} pictures; all {} values are equal", fixture.pictures.len(), grouped(pixels));
    Ok(format!("{told}; {}", digests.outcome(DIGEST)?))
}

/// What a network would be given, `[1, c, h, w]`.
fn preprocess(picture: &PictureCase) -> Result<Tensor<f32>, Failure> {
    let [height, width] = picture.source;
    let count = 3 * height * width;
    let pixels = match &*picture.kind {
        "noise" => uniform(&format!("picture.{height}x{width}"), count)
            .into_iter()
            .map(|number| (256.0 * number) as u8)
            .collect(),
        "ramp" => (0..count).map(|i| (i * 7 / 5 % 256) as u8).collect(),
        other => return Err(format!("{other} is no known kind of picture").into()),
    };
    let image = Picture::new(ImageShape::new(3, height, width), pixels)?;
    let input = ImageShape::new(picture.channels, picture.crop[0], picture.crop[1]);
    let preprocess = Preprocess { shorter_side: Some(picture.shorter_side), ..Preprocess::new(input) };
    Ok(preprocess.normalise(&picture.mean, &picture.std).apply(image)?)
}

/// Normalised values as levels of 0 to 255, channels innermost.
fn levels(picture: &PictureCase, x: &Tensor<f32>) -> Vec<f64> {
    let values = doubles(x);
    let channels = picture.channels;
    let plane = values.len() / channels.max(1);
    let level = |i: usize| {
        let (pixel, channel) = (i / channels, i % channels);
        let (mean, std) = (f64::from(picture.mean[channel]), f64::from(picture.std[channel]));
        255.0 * (values[channel * plane + pixel] * std + mean)
    };
    (0..values.len()).map(level).collect()
}

/// The bytes of hexadecimal digits.
fn bytes(digits: &str) -> Result<Vec<u8>, Failure> {
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair)?;
        Ok::<u8, Failure>(u8::from_str_radix(text, 16)?)
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}
