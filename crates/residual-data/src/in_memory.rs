//! Pictures of one shape in one piece of memory: what the readers of binary formats give, and
//! the way in for pictures that a program already has.

use crate::{DataError, Dataset, ImageShape, Picture, Result, Sample, dataset::no_sample};

/// A data set that is held in memory.
///
/// ```
/// use residual_data::{Dataset, ImageShape, InMemory};
///
/// let dots = InMemory::new("dots", &["dark", "light"], ImageShape::new(1, 2, 2), vec![9; 8], vec![0, 0])?;
/// assert_eq!(dots.get(1)?.image.pixels(), [9; 4]);
/// # Ok::<(), residual_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct InMemory {
    name: String,
    classes: Vec<String>,
    shape: ImageShape,
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl InMemory {
    /// A data set of these pictures (one after the other, rows from the top, channels
    /// innermost) and labels.
    ///
    /// # Errors
    /// [`DataError::Shape`] for an impossible shape, [`DataError::Pixels`] if there are not as
    /// many pictures as labels, [`DataError::Label`] if a label has no class.
    pub fn new(
        name: impl Into<String>,
        classes: &[impl AsRef<str>],
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Vec<u8>,
    ) -> Result<Self> {
        shape.check()?;
        if labels.len().checked_mul(shape.elements()) != Some(pixels.len()) {
            return Err(DataError::Pictures { shape, labels: labels.len(), given: pixels.len() });
        }
        if let Some(&label) = labels.iter().find(|&&label| usize::from(label) >= classes.len()) {
            return Err(DataError::Label { label: label.into(), classes: classes.len() });
        }
        let classes = classes.iter().map(|name| name.as_ref().into()).collect();
        Ok(Self { name: name.into(), classes, shape, pixels, labels })
    }
}

impl Dataset for InMemory {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> Option<ImageShape> {
        Some(self.shape)
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.labels.get(index).map(|&label| label.into()).ok_or_else(|| no_sample(self, index))
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let label = self.label(index)?;
        let bytes = self.shape.elements();
        let image = Picture::new(self.shape, self.pixels[index * bytes..][..bytes].to_vec())?;
        Ok(Sample { image, label })
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}
