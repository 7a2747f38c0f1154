//! The allow-list: the names in a pickle that mean something here, and what each means.
//!
//! A pickle is a program that may call anything in Python. Here a name is a value of this enum, and
//! nothing is ever called but what this file and `pickle.rs` spell out. Every other name is foreign:
//! what the file makes with it is noted by that name and not read, because training scripts put all
//! kinds of objects beside the tensors (`argparse.Namespace`, settings, paths).

use crate::stored::Stored;

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
    /// Makes a plain value beside the weights, such as a number of NumPy; it is not looked at.
    Inert,
    /// Anything else, by the index of its name.
    Foreign(usize),
}

impl Global {
    /// What an allowed name stands for; nothing if it is not on the list.
    pub(super) fn allowed(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter") => Self::Parameter,
            ("torch" | "torch.cuda", storage) if storage.ends_with("Storage") => {
                Self::Storage(element_type(storage)?)
            }
            ("torch", "Size" | "device")
            | ("torch", "float32" | "float64" | "float16" | "bfloat16" | "int64" | "int32")
            | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar")
            | ("numpy", "dtype")
            | ("_codecs", "encode")
            | ("collections", "defaultdict")
            | ("builtins" | "__builtin__", "dict" | "list" | "set") => Self::Inert,
            _ => return None,
        })
    }
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
