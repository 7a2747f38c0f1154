//! Elements as files store them, and how they become an [`Entry`]. Not a file format: where a
//! tensor's bytes are, and of which type, is the formats' business.

use std::io::{self, Read, Write};

use bytemuck::Pod;
use half::{bf16, f16};
use residual_tensor::{Element, Layout, Shape, Tensor};

use crate::{Entry, FormatError};

/// An element type found in files. Narrow types are widened to the next that an [`Entry`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stored {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

/// The order of an element's bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

/// As many axes as NumPy and PyTorch allow.
pub(crate) const MOST_AXES: usize = 64;

/// The shape that a file claims for a tensor, if there can be one.
pub(crate) fn checked_shape(name: &str, axes: &[usize]) -> Result<Shape, FormatError> {
    let shape = Shape::new(axes).ok().filter(|shape| shape.rank() <= MOST_AXES);
    shape.ok_or_else(|| FormatError::TooLarge { name: name.to_owned(), axes: axes.to_vec() })
}

impl Stored {
    /// Its name, after those of safetensors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }

    /// The bytes of an element in a file.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The bytes of an element in memory, after widening.
    pub(crate) fn size_in_memory(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::F16 | Self::Bf16 | Self::I32 | Self::I16 | Self::I8 => 4,
            Self::U8 | Self::Bool => 1,
        }
    }

    /// Reads a row-major tensor of `shape`, which must have been [checked](checked_shape) and be
    /// covered by the length of the file.
    pub(crate) fn read(self, shape: &Shape, order: ByteOrder, from: &mut impl Read) -> io::Result<Entry> {
        Ok(match self {
            Self::F64 => Entry::F64(plain(shape, order, from)?),
            Self::F32 => Entry::F32(plain(shape, order, from)?),
            Self::F16 => Entry::F32(widened(shape, order, from, f16::to_f32)?),
            Self::Bf16 => Entry::F32(widened(shape, order, from, bf16::to_f32)?),
            Self::I64 => Entry::I64(plain(shape, order, from)?),
            Self::I32 => Entry::I32(plain(shape, order, from)?),
            Self::I16 => Entry::I32(widened(shape, order, from, |x: i16| x.into())?),
            Self::I8 => Entry::I32(widened(shape, order, from, |x: i8| x.into())?),
            Self::U8 => Entry::U8(plain(shape, order, from)?),
            Self::Bool => Entry::U8(widened(shape, order, from, |x: u8| u8::from(x != 0))?),
        })
    }
}

fn unfilled<T: Element>(shape: &Shape) -> io::Result<Tensor<T>> {
    let tensor = Tensor::try_unfilled(shape, Layout::Contiguous);
    tensor.map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))
}

fn plain<T: Element>(shape: &Shape, order: ByteOrder, from: &mut impl Read) -> io::Result<Tensor<T>> {
    let mut tensor = unfilled(shape)?;
    read_elements(tensor.as_mut_slice(), order, from)?;
    Ok(tensor)
}

fn widened<S: Pod, T: Element>(
    shape: &Shape,
    order: ByteOrder,
    from: &mut impl Read,
    widen: fn(S) -> T,
) -> io::Result<Tensor<T>> {
    let mut tensor = unfilled(shape)?;
    let mut narrow = [S::zeroed(); 2048];
    for wide in tensor.as_mut_slice().chunks_mut(narrow.len()) {
        let narrow = &mut narrow[..wide.len()];
        read_elements(narrow, order, from)?;
        for (to, &from) in wide.iter_mut().zip(&*narrow) {
            *to = widen(from);
        }
    }
    Ok(tensor)
}

fn read_elements<S: Pod>(to: &mut [S], order: ByteOrder, from: &mut impl Read) -> io::Result<()> {
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(to);
    from.read_exact(bytes)?;
    if (order == ByteOrder::Big) != cfg!(target_endian = "big") {
        reverse_each(bytes, size_of::<S>());
    }
    Ok(())
}

fn reverse_each(bytes: &mut [u8], size: usize) {
    bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
}

/// Writes the elements in row-major order, little-endian.
pub(crate) fn write_elements<T: Element>(tensor: &Tensor<T>, to: &mut impl Write) -> io::Result<()> {
    let tensor = tensor.to_layout(Layout::Contiguous);
    let bytes: &[u8] = bytemuck::cast_slice(tensor.as_slice());
    if cfg!(target_endian = "little") {
        return to.write_all(bytes);
    }
    let mut reversed = bytes.to_vec();
    reverse_each(&mut reversed, size_of::<T>());
    to.write_all(&reversed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_must_fit_memory_by_its_axes_that_are_not_zero() {
        assert!(checked_shape("w", &[]).is_ok());
        assert!(checked_shape("w", &[3, 0, 4]).is_ok());
        assert!(checked_shape("w", &[1; 64]).is_ok());
        for axes in [&[1usize; 65][..], &[1 << 60], &[0, 1 << 32, 1 << 32], &[usize::MAX, 0]] {
            let error = checked_shape("w", axes).unwrap_err();
            assert!(matches!(error, FormatError::TooLarge { .. }), "{axes:?}");
        }
    }
}
