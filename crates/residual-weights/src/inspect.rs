//! What is in a file, without reading its tensors: format, names, types, shapes, what stands
//! beside them. For people and programs that have found a file; to use it, see
//! [`load`](crate::load).
//!
//! ```
//! # use residual_tensor::Tensor;
//! # use residual_weights::{Weights, inspect, save};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("tiny.safetensors");
//! # save(&path, &Weights::from_iter([("fc.weight", Tensor::<f32>::full([10, 64], 0.5))]))?;
//! let contents = inspect(&path, true)?;
//! let tensor = &contents.tensors[0];
//! assert_eq!((&*tensor.name, &*tensor.dtype, &tensor.shape[..]), ("fc.weight", "f32", &[10, 64][..]));
//! assert_eq!(tensor.statistics.as_ref().map(|statistics| statistics.mean), Some(0.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    collections::BTreeMap,
    io::{Cursor, Read, Seek},
    path::Path,
};

use serde::Serialize;

use crate::{Entry, FormatError, Result, file, npy, onnx, pth, safetensors};

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contents {
    /// How the file is written.
    pub format: Format,
    /// The tensors, in the file's order. Those of an ONNX file are its graph's constants.
    pub tensors: Vec<TensorInfo>,
    /// Text beside the tensors, by key, as safetensors and ONNX have it.
    pub metadata: BTreeMap<String, String>,
    /// Under which key of a PyTorch checkpoint the tensors are; nothing if it holds them itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What else a PyTorch checkpoint holds: keys, and what is under each in a few words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<(String, String)>,
    /// The computation, if the file is ONNX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<onnx::Network>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Hugging Face's safetensors.
    Safetensors,
    /// PyTorch's: a zip archive, since 2020.
    PthZip,
    /// PyTorch's before that: a stream of pickles.
    PthStream,
    /// NumPy's: one array.
    Npy,
    /// A computation with its constants.
    Onnx,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorInfo {
    /// Its name; empty for the array of a `.npy` file.
    pub name: String,
    /// The type of its elements in the file, such as `bf16`; see [`Entry`] for what is read of it.
    pub dtype: String,
    /// The lengths of its axes.
    pub shape: Vec<u64>,
    /// The bytes of its elements.
    pub bytes: u64,
    /// What its elements are like. Nothing if that was not asked for, there are no elements, or
    /// their type is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
}

/// What the elements of a tensor are like. NaN counts for nothing but its own number; if there is
/// nothing else, the others are NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistics {
    /// The least element.
    pub min: f64,
    /// The largest element.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// How many elements are NaN.
    pub nan: usize,
}

/// Says what is in a file of any format, which is recognized by its first bytes. The tensors
/// themselves are read only for their statistics.
///
/// # Errors
/// [`WeightsError`](crate::WeightsError) with the path, if the file cannot be opened, is of no known
/// format, or is malformed.
pub fn inspect(path: impl AsRef<Path>, statistics: bool) -> Result<Contents> {
    file::read(path.as_ref(), |from, length| inspect_from(from, length, statistics))
}

/// The same of a file in memory.
///
/// # Errors
/// [`FormatError`] if the format is not known or the file is malformed.
pub fn inspect_bytes(bytes: &[u8], statistics: bool) -> std::result::Result<Contents, FormatError> {
    inspect_from(&mut Cursor::new(bytes), bytes.len() as u64, statistics)
}

fn inspect_from<R: Read + Seek>(
    from: &mut R,
    length: u64,
    statistics: bool,
) -> std::result::Result<Contents, FormatError> {
    match file::recognize(from)? {
        Format::Safetensors => safetensors::inspect_from(from, length, statistics),
        Format::PthZip | Format::PthStream => pth::inspect_from(from, length, statistics),
        Format::Npy => npy::inspect_from(from, length, statistics),
        Format::Onnx => onnx::inspect_from(from, length, statistics),
    }
}

impl Contents {
    pub(crate) fn new(format: Format) -> Self {
        let (tensors, metadata, beside) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { format, tensors, metadata, key: None, beside, network: None }
    }

    /// The number of elements in all tensors.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.elements()))
    }

    /// The bytes of all elements.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.bytes))
    }
}

impl Format {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::PthZip => "PyTorch",
            Self::PthStream => "PyTorch before 1.6",
            Self::Npy => "NumPy",
            Self::Onnx => "ONNX",
        }
    }
}

impl TensorInfo {
    pub(crate) fn new(name: &str, dtype: &str, shape: &[usize], bits_per_element: u64) -> Self {
        let (name, dtype) = (name.to_owned(), dtype.to_owned());
        let shape = shape.iter().map(|&n| n as u64).collect();
        let mut info = Self { name, dtype, shape, bytes: 0, statistics: None };
        info.bytes = info.elements().saturating_mul(bits_per_element).div_ceil(8);
        info
    }

    /// The number of its elements; the largest there is, if a broken file claims more.
    pub fn elements(&self) -> u64 {
        match self.shape.contains(&0) {
            true => 0,
            false => self.shape.iter().fold(1, |product: u64, &n| product.saturating_mul(n)),
        }
    }
}

impl Statistics {
    /// Those of a tensor; nothing if it has no elements.
    pub fn of(entry: &Entry) -> Option<Self> {
        Self::of_numbers(entry.to_float::<f64>().as_slice())
    }

    fn of_numbers(numbers: &[f64]) -> Option<Self> {
        let (mut min, mut max, mut sum, mut nan) = (f64::NAN, f64::NAN, 0.0, 0);
        for &number in numbers {
            match number.is_nan() {
                true => nan += 1,
                false => {
                    (min, max) = (number.min(min), number.max(max)); // of a number and NaN: the number
                    sum += number;
                }
            }
        }
        (!numbers.is_empty()).then(|| Self { min, max, mean: sum / (numbers.len() - nan) as f64, nan })
    }
}

#[cfg(test)]
mod tests {
    use residual_tensor::Tensor;

    use super::*;

    #[test]
    fn nan_is_counted_and_left_out() {
        let of =
            |numbers: Vec<f32>| Statistics::of(&Tensor::from_vec([numbers.len()], numbers).unwrap().into());
        let found = of(vec![2.0, f32::NAN, -1.0, 5.0]).unwrap();
        assert_eq!(found, Statistics { min: -1.0, max: 5.0, mean: 2.0, nan: 1 });
        let nothing_else = of(vec![f32::NAN]).unwrap();
        assert!(nothing_else.nan == 1 && nothing_else.min.is_nan() && nothing_else.mean.is_nan());
        assert_eq!(of(vec![]), None);
        assert_eq!(Statistics::of(&Tensor::scalar(-7i64).into()).unwrap().min, -7.0);
    }

    #[test]
    fn elements_of_impossible_shapes_are_counted_without_overflow() {
        let info = |shape: &[usize]| TensorInfo::new("w", "f64", shape, 64);
        assert_eq!((info(&[]).elements(), info(&[]).bytes), (1, 8));
        assert_eq!(info(&[usize::MAX, usize::MAX]).bytes, u64::MAX / 8 + 1);
        assert_eq!(info(&[usize::MAX, usize::MAX, 0]).elements(), 0);
    }
}
