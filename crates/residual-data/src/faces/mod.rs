//! The built-in data set: cartoon faces that show FER2013's seven emotions, drawn on demand.
//! A place to start without a download, not a substitute for photographs.
//!
//! A face is a function of the seed, the split and the index. It is computed with `+ − × ÷ √`
//! only, which IEEE 754 defines to the last bit, so that every machine draws the same faces.

mod canvas;
mod expression;
mod portrait;
mod subject;

use residual_tensor::Generator;

use crate::{
    Dataset, EMOTIONS, ImageShape, Picture, Result, Sample, Split,
    dataset::{no_sample, owned},
};
use {canvas::SIDE, expression::Expression, subject::Subject};

/// 48×48 grey cartoon faces in seven emotions.
///
/// Each emotion is shown in more than one way and to a varying degree, by faces that differ in
/// shape, skin, hair, glasses, beard, pose, light, sharpness and noise, and that may be partly
/// hidden. A linear classifier on the pixels gets less than half of them right (see
/// `examples/linear_probe.rs`), a small residual network nearly all.
#[derive(Debug, Clone)]
pub struct Faces {
    name: String,
    classes: Vec<String>,
    generator: Generator,
    len: usize,
}

impl Faces {
    /// The shape of every face.
    pub const SHAPE: ImageShape = ImageShape::new(1, SIDE, SIDE);

    /// The first `len` faces of a split, as many of each emotion as possible. Different seeds
    /// and splits have different faces.
    pub fn new(seed: u64, split: Split, len: usize) -> Self {
        let generator = Generator::new(seed).split("faces").split(split.name());
        Self { name: format!("faces {split}"), classes: owned(&EMOTIONS), generator, len }
    }
}

impl Dataset for Faces {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn len(&self) -> usize {
        self.len
    }

    fn shape(&self) -> Option<ImageShape> {
        Some(Self::SHAPE)
    }

    fn label(&self, index: usize) -> Result<usize> {
        if index < self.len { Ok(index % EMOTIONS.len()) } else { Err(no_sample(self, index)) }
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let label = self.label(index)?;
        let mut generator = self.generator.split(index);
        let expression = Expression::draw(label, &mut generator);
        let subject = Subject::draw(&mut generator);
        let pixels = portrait::draw(&subject, &expression, &mut generator);
        Ok(Sample { image: Picture::new(Self::SHAPE, pixels)?, label })
    }
}

/// A number in [low, high), in the precision that faces are drawn in.
fn between(generator: &mut Generator, low: f32, high: f32) -> f32 {
    low + (high - low) * generator.uniform() as f32
}
