//! What can be wrong with a file, and with the bytes in it.

use std::{io, path::PathBuf};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file could not be opened.
    #[error("cannot open {}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file's content is not what its format demands.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// The file could not be written; what stood there before still does.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file's extension does not say which format to write.
    #[error("cannot write {}: end the name in .safetensors or .pth", .path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
}

/// Bytes that are not a valid file of their format, or one that asks for something unsafe.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The bytes stop, or cannot be read on.
    #[error("{0}")]
    Io(io::Error),
    /// The file ends before its content does.
    #[error("the file is incomplete; copy or download it again")]
    Truncated,
    /// The tensors or the text beside them are not those that the file was written with.
    #[error(
        "the content does not have the checksum that was written with it; take another copy, or remove {} \
         from the metadata if another program changed it on purpose",
        crate::checksum::KEY
    )]
    Checksum,
    /// The bytes begin like no format that is known here.
    #[error("the content is neither safetensors, .pth, .npy nor ONNX")]
    Unknown,
    /// An ONNX file where weights are wanted.
    #[error("the content is ONNX, which is written and not read; take the weights that it was made from")]
    Onnx,
    /// A `.npy` file where named tensors are wanted.
    #[error("the content is .npy, one array without a name, but weights are many with names")]
    Nameless,
    /// The description of the content is malformed.
    #[error("malformed {format}: {}", shown(.problem))]
    Malformed {
        /// The format.
        format: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Where the tensors should be, there is an object of Python, whose code is not run.
    #[error("the file holds a whole {}, whose code is not run; in PyTorch, save net.state_dict() instead", shown(.name))]
    Object {
        /// What made it: a module and a name in it.
        name: String,
    },
    /// The file would take up far more memory than it is long.
    #[error("unpacking takes more than {limit} bytes, which is too much for a file of this length")]
    Expansion {
        /// The most that is granted.
        limit: u64,
    },
    /// There are no named tensors in the checkpoint.
    #[error("no state_dict in the checkpoint; it holds {}", if .keys.is_empty() { "no dictionary".into() } else { shown(&.keys.join(", ")) })]
    NoStateDict {
        /// The first keys that there are instead.
        keys: Vec<String>,
    },
    /// A tensor of a type that networks here do not use.
    #[error("`{}` holds {}; convert it to a float, an integer up to i64 or bool first", shown(.name), shown(.dtype))]
    Dtype {
        /// The tensor.
        name: String,
        /// The type, as the file writes it.
        dtype: String,
    },
    /// A shape that memory cannot hold.
    #[error("`{}` claims the shape {axes:?}, more than memory can address", shown(.name))]
    TooLarge {
        /// The tensor.
        name: String,
        /// The claimed shape.
        axes: Vec<usize>,
    },
    /// The same name twice.
    #[error("two tensors are called `{}`", shown(.name))]
    Duplicate {
        /// The name.
        name: String,
    },
}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

/// Text of a file as part of a message or a table: in one line, not too long, and with characters
/// escaped that a terminal would obey or that turn the direction of writing.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown = String::new();
    for character in text.chars() {
        if shown.len() > LONGEST {
            shown.push('…');
            break;
        }
        let turns =
            matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match turns || character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_file_stays_in_its_line() {
        let error = FormatError::Duplicate { name: "a\nb\u{1b}[2Jé\u{202e}".to_owned() };
        assert_eq!(error.to_string(), "two tensors are called `a\\nb\\u{1b}[2Jé\\u{202e}`");
        let long = FormatError::Object { name: "x".repeat(10_000) };
        assert!(long.to_string().len() < 400);
    }
}
