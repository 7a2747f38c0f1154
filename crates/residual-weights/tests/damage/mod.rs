//! What can happen to a file, by accident or on purpose; the files to damage are in `data`. Longer
//! and for every reader: `cargo xtask fuzz`.

use std::path::Path;

/// A change to a file's bytes. Positions beyond its end wrap around.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    /// The end is missing.
    Truncate(usize),
    /// A bit is turned over.
    Flip(usize, u8),
    /// A length, an offset or an operation is something else.
    Overwrite(usize, Vec<u8>),
    /// Bytes have been put in between.
    Insert(usize, Vec<u8>),
    /// Bytes are missing.
    Remove(usize, usize),
    /// A part comes again.
    Repeat(usize, usize),
}

/// Numbers at which arithmetic goes wrong.
pub(crate) const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

impl Damage {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        let part = |at: usize, count: usize| at % length..(at % length + count % 64).min(bytes.len());
        match self {
            _ if bytes.is_empty() => {}
            Self::Truncate(at) => bytes.truncate(at % length),
            Self::Flip(at, bit) => bytes[at % length] ^= 1 << (bit % 8),
            Self::Overwrite(at, with) => {
                bytes.iter_mut().skip(at % length).zip(with).for_each(|(byte, &with)| *byte = with);
            }
            Self::Insert(at, what) => drop(bytes.splice(at % length..at % length, what.iter().copied())),
            Self::Remove(at, count) => drop(bytes.drain(part(*at, *count))),
            Self::Repeat(at, count) => {
                let again = bytes[part(*at, *count)].to_vec();
                drop(bytes.splice(at % length..at % length, again));
            }
        }
    }
}

/// The files to begin with, by name, smallest first.
pub(crate) fn intact() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let formats = ["pth", "ckpt", "safetensors", "npy", "onnx"];
    let paths = paths.filter(|path| path.extension().is_some_and(|e| formats.iter().any(|f| e == *f)));
    let named = paths.map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    });
    let mut files: Vec<_> = named.collect();
    files.sort_by_key(|(name, bytes)| (bytes.len(), name.clone()));
    files
}

/// The most memory that reading a file may take at once: the budgets of the `.pth` reader, and
/// what growing collections hold besides.
pub(crate) fn most_memory(file_length: usize) -> u64 {
    64 * file_length as u64 + (8 << 20)
}

/// A reader by name: whether it accepts a file.
pub(crate) type Reader = (&'static str, fn(&[u8]) -> bool);

pub(crate) const READERS: [Reader; 5] = [
    ("load", |bytes| residual_weights::load_bytes(bytes).is_ok_and(look_at)),
    ("pth", |bytes| residual_weights::pth::read_bytes(bytes).is_ok_and(look_at)),
    ("safetensors", |bytes| residual_weights::safetensors::read_bytes(bytes).is_ok_and(look_at)),
    ("npy", |bytes| residual_weights::npy::read_bytes(bytes).is_ok_and(look_at)),
    ("inspect", |bytes| residual_weights::inspect::inspect_bytes(bytes, true).is_ok_and(look_at)),
];

/// What is read must also be of use: comparing goes through shape, strides and elements.
fn look_at<T: PartialEq + Clone>(read: T) -> bool {
    std::hint::black_box(read.clone() == read);
    true
}

/// Whether the reader accepts the bytes, and the most memory that it used at once. Panics and
/// endless loops are for the caller to notice.
pub(crate) fn measure((_, read): Reader, bytes: &[u8]) -> (bool, u64) {
    residual_tensor::memory::trim(); // or recycled blocks would go uncounted
    let mut accepted = false;
    let used = allocation_counter::measure(|| accepted = read(bytes)).bytes_max;
    (accepted, used)
}
