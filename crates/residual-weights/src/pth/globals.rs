//! The allow-list: the names that a pickle may mention, and the little that each does.
//!
//! A pickle is a program that may call anything in Python. Here a name is a value of this enum
//! or an error, and nothing is ever called but what this file and `pickle.rs` spell out.

use crate::{FormatError, stored::Stored};

/// What an allowed name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    /// Makes a dictionary, of pairs if any are given.
    OrderedDict,
    /// Makes a tensor of `(storage, offset, shape, strides, …)`.
    Tensor,
    /// Wraps the tensor that is its first argument.
    Parameter,
    /// Names the element type of a storage.
    Storage(Stored),
    /// Makes something that training notes beside the weights; it is not looked at.
    Inert,
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Result<Self, FormatError> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter") | ("torch.nn.parameter", "Parameter") => Self::Parameter,
            ("torch" | "torch.cuda", storage) if storage.ends_with("Storage") => {
                Self::Storage(element_type(storage).ok_or_else(|| forbidden(module, name))?)
            }
            ("torch", "Size" | "device")
            | ("torch", "float32" | "float64" | "float16" | "bfloat16" | "int64" | "int32")
            | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar")
            | ("numpy", "dtype")
            | ("_codecs", "encode")
            | ("collections", "defaultdict")
            | ("builtins" | "__builtin__", "dict" | "list" | "set") => Self::Inert,
            _ => return Err(forbidden(module, name)),
        })
    }
}

fn forbidden(module: &str, name: &str) -> FormatError {
    FormatError::Forbidden { name: format!("{module}.{name}") }
}

fn element_type(storage: &str) -> Option<Stored> {
    Some(match storage {
        "DoubleStorage" => Stored::F64,
        "FloatStorage" => Stored::F32,
        "HalfStorage" => Stored::F16,
        "BFloat16Storage" => Stored::Bf16,
        "LongStorage" => Stored::I64,
        "IntStorage" => Stored::I32,
        "ShortStorage" => Stored::I16,
        "CharStorage" => Stored::I8,
        "ByteStorage" => Stored::U8,
        "BoolStorage" => Stored::Bool,
        _ => return None,
    })
}
