//! One tensor of a file, of whichever element type.

use std::{
    any::Any,
    io::{self, Write},
};

use half::f16;
use ndarray::{ArrayView, IxDyn, ShapeBuilder};
use residual_tensor::{Element, Float, Shape, Tensor};

use crate::stored::write_elements;

/// A tensor by element type.
///
/// Files know more types than networks use. On reading, half and bfloat16 become f32, `i8` and
/// `i16` become i32, and `bool` becomes u8 (all exact); what a narrow type was is not kept. Half precision
/// is there to be written ([`to_half`](Self::to_half)).
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Single precision: nearly everything.
    F32(Tensor<f32>),
    /// Double precision.
    F64(Tensor<f64>),
    /// Half precision.
    F16(Tensor<f16>),
    /// Long integers: `num_batches_tracked`.
    I64(Tensor<i64>),
    /// Integers.
    I32(Tensor<i32>),
    /// Bytes and flags.
    U8(Tensor<u8>),
}

/// Evaluates an expression with the tensor of whichever type.
macro_rules! with_tensor {
    ($entry:expr, $tensor:ident => $value:expr) => {
        match $entry {
            Entry::F32($tensor) => $value,
            Entry::F64($tensor) => $value,
            Entry::F16($tensor) => $value,
            Entry::I64($tensor) => $value,
            Entry::I32($tensor) => $value,
            Entry::U8($tensor) => $value,
        }
    };
}

impl Entry {
    /// The lengths of the axes.
    pub fn shape(&self) -> &Shape {
        with_tensor!(self, tensor => tensor.shape())
    }

    /// The name of the element type: `f32`, `f64`, `f16`, `i64`, `i32`, `u8`.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::F16(_) => "f16",
            Self::I64(_) => "i64",
            Self::I32(_) => "i32",
            Self::U8(_) => "u8",
        }
    }

    /// The tensor with elements to compute with, each the nearest to the stored value. Shares
    /// memory if it has that type already.
    pub fn to_float<T: Float>(&self) -> Tensor<T> {
        match self {
            Self::F32(tensor) => same(tensor).unwrap_or_else(|| tensor.map(|x| T::of(x.into()))),
            Self::F64(tensor) => same(tensor).unwrap_or_else(|| tensor.map(T::of)),
            Self::F16(tensor) => tensor.map(|x| T::of(x.into())),
            Self::I64(tensor) => tensor.map(|x| T::of(x as f64)),
            Self::I32(tensor) => tensor.map(|x| T::of(x.into())),
            Self::U8(tensor) => tensor.map(|x| T::of(x.into())),
        }
    }

    /// A tensor that was computed with, in the precision that it has. Shares memory.
    pub fn from_float<T: Float>(tensor: &Tensor<T>) -> Self {
        match same::<T, f32>(tensor) {
            Some(single) => Self::F32(single),
            None => Self::F64(same(tensor).unwrap_or_else(|| tensor.map(Float::to_f64))),
        }
    }

    /// The tensor in half precision, each element rounded to the nearest; as it is, if it is one of integers,
    /// or has a finite element that half precision has not (beyond 65,504).
    #[must_use]
    pub fn to_half(&self) -> Self {
        let narrow = match self {
            Self::F32(tensor) => tensor.map(f16::from_f32),
            Self::F64(tensor) => tensor.map(f16::from_f64),
            Self::F16(_) | Self::I64(_) | Self::I32(_) | Self::U8(_) => return self.clone(),
        };
        let wide = self.to_float::<f64>();
        let fits = wide
            .view()
            .iter()
            .zip(narrow.view())
            .all(|(wide, narrow)| !wide.is_finite() || narrow.is_finite());
        if fits { Self::F16(narrow) } else { self.clone() }
    }

    /// The tensor of this one's elements that are `strides` apart, if there are that many.
    pub(crate) fn strided(&self, shape: &[usize], strides: &[usize]) -> Option<Self> {
        with_tensor!(self, tensor => strided(tensor, shape, strides).map(Self::from))
    }

    /// The bytes that the elements take up in a file.
    pub(crate) fn bytes(&self) -> usize {
        with_tensor!(self, tensor => size_of_val(tensor.as_slice()))
    }

    /// Writes the elements in row-major order, little-endian.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        with_tensor!(self, tensor => write_elements(tensor, to))
    }
}

/// A tensor of elements of `from` that are `strides` apart, if there are that many.
fn strided<T: Element>(from: &Tensor<T>, shape: &[usize], strides: &[usize]) -> Option<Tensor<T>> {
    let axes = IxDyn(shape).strides(IxDyn(strides));
    ArrayView::from_shape(axes, from.as_slice()).ok().map(Tensor::from)
}

/// The tensor itself, if `T` is the type it has.
fn same<S: Float, T: Float>(tensor: &Tensor<S>) -> Option<Tensor<T>> {
    (tensor as &dyn Any).downcast_ref::<Tensor<T>>().cloned()
}

macro_rules! from_tensor {
    ($($element:ident => $variant:ident),*) => {
        $(impl From<Tensor<$element>> for Entry {
            fn from(tensor: Tensor<$element>) -> Self {
                Self::$variant(tensor)
            }
        })*
    };
}
from_tensor!(f32 => F32, f64 => F64, f16 => F16, i64 => I64, i32 => I32, u8 => U8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_of_the_stored_type_share_memory_and_others_are_converted() {
        let tensor = Tensor::from_vec([2], vec![0.1f32, -2.5]).unwrap();
        let entry = Entry::from(tensor.clone());
        assert!(entry.to_float::<f32>().shares_memory_with(&tensor));
        assert_eq!(entry.to_float::<f64>().to_vec(), [f64::from(0.1f32), -2.5]);
        assert_eq!(Entry::from_float(&tensor), entry);
        assert_eq!(Entry::from_float(&Tensor::<f64>::scalar(0.1)).dtype(), "f64");
        let counts = Entry::from(Tensor::<i64>::scalar(7));
        assert_eq!(counts.to_float::<f32>().item(), Ok(7.0));
    }

    #[test]
    fn halves_are_the_nearest_and_what_does_not_fit_stays() {
        // 1 + 2⁻¹¹ lies between two halves; ties go to the even one.
        let tensor =
            Tensor::from_vec([4], vec![1.0f32 + 1.0 / 2048.0, -65_504.0, 0.1, f32::INFINITY]).unwrap();
        let half = Entry::from(tensor).to_half();
        assert_eq!(half.dtype(), "f16");
        assert_eq!(half.to_float::<f64>().to_vec(), [1.0, -65_504.0, 0.099_975_585_937_5, f64::INFINITY]);
        assert_eq!(half.to_half(), half);
        for stays in [Entry::from(Tensor::<f32>::scalar(1e5)), Entry::from(Tensor::<i64>::scalar(7))] {
            assert_eq!(stays.to_half(), stays);
        }
    }
}
