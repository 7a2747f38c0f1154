//! PyTorch's `.pth` (`.pt`, `.th`) files: a zip archive of a pickle and storages, or, before
//! 2020, a stream of pickles followed by storages. Both are read; the archive is written.
//!
//! **Which tensors.** The weights may be nested in a checkpoint, as training scripts of PyTorch,
//! torchvision, timm and Lightning save them. Taken is the first dictionary with tensors under
//! `state_dict_ema`, `model_ema` (averaged weights, which such scripts evaluate and publish),
//! `state_dict`, `model_state_dict`, `model`, `net`, or else those of the checkpoint itself. What
//! else is in it (epoch, optimizer, arguments) is left out; [`inspect`](crate::inspect()) lists it.
//! Names lose `module.` and `_orig_mod.`, which `DataParallel` and `torch.compile` put in front of
//! all of them. Views with strides, offsets and shared storages become plain tensors.
//!
//! **No code is run.** A pickle is a program that may call anything in Python. Here it is
//! interpreted: a short list of names makes dictionaries and tensors, and what a file makes with
//! any other name is not read. If a tensor depends on it, the file is refused.
//!
//! **Not here.** Whole pickled networks (`torch.save(net)`): they are Python code.

mod archive;
mod globals;
mod heap;
mod op;
mod pickle;
mod state_dict;
mod write;

use std::{
    collections::HashMap,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

pub use self::state_dict::WRAPPERS;
use self::{
    archive::{Directory, Record},
    heap::{Heap, Value},
    state_dict::{StateDict, Storages},
};
use crate::{
    Entry, FormatError, Result, Weights,
    budget::Budget,
    file,
    inspect::{Contents, Format, Statistics, TensorInfo},
    stored::ByteOrder,
};

/// Reads a file of either form.
///
/// # Errors
/// [`WeightsError`](crate::WeightsError) with the path, if it cannot be opened, is malformed, or
/// asks for something that is refused.
pub fn read(path: impl AsRef<Path>) -> Result<Weights> {
    file::read(path.as_ref(), read_from)
}

/// Reads a file of either form that is in memory.
///
/// # Errors
/// [`FormatError`] if it is malformed or asks for something that is refused.
pub fn read_bytes(bytes: &[u8]) -> std::result::Result<Weights, FormatError> {
    read_from(&mut Cursor::new(bytes), bytes.len() as u64)
}

/// Writes the zip form, which `torch.load(…, weights_only=True)` reads as a `state_dict`, replacing
/// what stood there only when the new file is complete. [`Weights::metadata`] has no place in it.
///
/// # Errors
/// [`WeightsError::Write`](crate::WeightsError::Write) with the path.
pub fn write(path: impl AsRef<Path>, weights: &Weights) -> Result<()> {
    file::replace(path.as_ref(), |to| write::state_dict(to, weights))
}

/// The bytes of a file in the zip form.
///
/// # Errors
/// None that memory has; the writers of all formats have the same form.
pub fn to_bytes(weights: &Weights) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write::state_dict(&mut bytes, weights)?;
    Ok(bytes)
}

/// Whether a file that begins like this is a pickle of the number that PyTorch put in front of the
/// legacy form.
pub(crate) fn is_stream(start: &[u8]) -> bool {
    const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    start.starts_with(&[op::PROTO]) && start.windows(MAGIC.len()).any(|bytes| bytes == MAGIC)
}

pub(crate) fn read_from<R: Read + Seek>(
    from: &mut R,
    file_length: u64,
) -> std::result::Result<Weights, FormatError> {
    let file = Opened::read(from, file_length)?;
    let StateDict { key, tensors } = state_dict::find(&file.heap, file.checkpoint)?;
    log::debug!("{} tensors under {}", tensors.len(), key.unwrap_or("no key"));
    let mut weights = Weights::new();
    file.read_each(&tensors, from, file_length, |name, entry| weights.insert_new(name.to_owned(), entry))?;
    Ok(weights)
}

pub(crate) fn inspect_from<R: Read + Seek>(
    from: &mut R,
    file_length: u64,
    statistics: bool,
) -> std::result::Result<Contents, FormatError> {
    let file = Opened::read(from, file_length)?;
    let heap = &file.heap;
    let (found, no_tensors) = match state_dict::find(heap, file.checkpoint) {
        Ok(found) => (found, None),
        Err(error @ (FormatError::NoStateDict { .. } | FormatError::Object { .. })) => {
            (StateDict { key: None, tensors: Vec::new() }, Some(error))
        }
        Err(error) => return Err(error),
    };
    let mut contents = Contents::new(file.format);
    let described = found.tensors.iter().map(|(name, view)| {
        let stored = heap.storages[view.storage].stored;
        TensorInfo::new(name, stored.name(), &view.shape, 8 * stored.size() as u64)
    });
    contents.tensors = described.collect();
    let items = heap.dictionary(file.checkpoint).unwrap_or_default().iter();
    let items = items.filter_map(|&(key, value)| Some((heap.text(key)?, value)));
    let beside = items.filter(|&(key, value)| match found.key {
        Some(taken) => key != taken,
        None => heap.tensor(value).is_none(),
    });
    contents.beside =
        beside.map(|(key, value)| (key.to_owned(), state_dict::describe(heap, value))).collect();
    contents.key = found.key.map(str::to_owned);
    match no_tensors {
        Some(error) if contents.beside.is_empty() => return Err(error),
        _ => {}
    }
    if statistics {
        let mut infos = contents.tensors.iter_mut();
        file.read_each(&found.tensors, from, file_length, |_, entry| {
            infos.by_ref().take(1).for_each(|info| info.statistics = Statistics::of(&entry));
            Ok(())
        })?;
    }
    Ok(contents)
}

/// A file whose pickles have been interpreted. No tensor is read yet.
struct Opened {
    format: Format,
    heap: Heap,
    checkpoint: Value,
    storages: Storages,
}

impl Opened {
    fn read<R: Read + Seek>(from: &mut R, file_length: u64) -> std::result::Result<Self, FormatError> {
        let mut start = [0; 2];
        from.read_exact(&mut start)?;
        from.rewind()?;
        let mut heap = Heap::default();
        let mut budget = Budget::for_description(file_length);
        let (format, (checkpoint, storages)) = match &start {
            b"PK" => (Format::PthZip, read_archive(from, file_length, &mut heap, &mut budget)?),
            _ => (Format::PthStream, read_stream(from, file_length, &mut heap, &mut budget)?),
        };
        Ok(Self { format, heap, checkpoint, storages })
    }

    fn read_each<R: Read + Seek>(
        &self,
        tensors: &[(&str, &heap::View)],
        from: &mut R,
        file_length: u64,
        each: impl FnMut(&str, Entry) -> std::result::Result<(), FormatError>,
    ) -> std::result::Result<(), FormatError> {
        self.storages.read_each(&self.heap, tensors, from, &mut Budget::for_tensors(file_length), each)
    }
}

/// The zip form: `NAME/data.pkl`, `NAME/data/KEY` for each storage, `NAME/byteorder`.
fn read_archive<R: Read + Seek>(
    from: &mut R,
    file_length: u64,
    heap: &mut Heap,
    budget: &mut Budget,
) -> std::result::Result<(Value, Storages), FormatError> {
    let directory = Directory::read(from, file_length)?;
    let not_pytorch = || FormatError::Malformed {
        format: ".pth",
        problem: "a zip archive without data.pkl, so not from torch.save".into(),
    };
    let folders = directory.names().filter_map(|name| name.strip_suffix("data.pkl"));
    let folder = folders.filter(|folder| folder.is_empty() || folder.ends_with('/')).min_by_key(|f| f.len());
    let folder = folder.ok_or_else(not_pytorch)?;
    let record = |name: &str| directory.record(&format!("{folder}{name}"));

    let pickle = record("data.pkl").ok_or_else(not_pytorch)?;
    let mut pickle = BufReader::new(pickle.open(from, 0, budget)?);
    let checkpoint = pickle::read(&mut pickle, heap, budget)?;

    let mut order = ByteOrder::Little;
    if let Some(record) = record("byteorder") {
        let mut text = String::new();
        record.open(from, 0, budget)?.take(3).read_to_string(&mut text)?;
        if text == "big" {
            order = ByteOrder::Big;
        }
    }
    let mut records = HashMap::new();
    for storage in &heap.storages {
        if let Some(record) = record(&format!("data/{}", storage.key)) {
            records.insert(storage.key.clone(), record);
        }
    }
    Ok((checkpoint, Storages { records, order }))
}

/// The legacy form: pickles of a magic number, a version, the system that wrote it, the
/// checkpoint, and the storages' keys; then each storage after the number of its elements.
fn read_stream<R: Read + Seek>(
    from: &mut R,
    file_length: u64,
    heap: &mut Heap,
    budget: &mut Budget,
) -> std::result::Result<(Value, Storages), FormatError> {
    const VERSION: i64 = 1001;
    let malformed = |problem: &str| FormatError::Malformed { format: ".pth", problem: problem.into() };
    let mut pickle = || pickle::read(from, heap, budget);
    let (_magic, version, system, checkpoint, keys) = (pickle()?, pickle()?, pickle()?, pickle()?, pickle()?);
    if version != Value::Int(VERSION) {
        return Err(malformed("not of the legacy version 1001"));
    }
    let order = match heap.get(system, "little_endian") {
        Some(Value::Bool(false)) => ByteOrder::Big,
        _ => ByteOrder::Little,
    };

    let sizes: HashMap<_, _> =
        heap.storages.iter().map(|s| (s.key.as_str(), s.stored.size() as u64)).collect();
    let mut records = HashMap::new();
    let mut start = from.stream_position()?;
    for &key in heap.sequence(keys).ok_or_else(|| malformed("no list of storages"))? {
        let key = heap.text(key).ok_or_else(|| malformed("a storage without a key"))?;
        let size = sizes
            .get(key)
            .ok_or_else(|| malformed("a storage that nothing refers to, or of a type that is not read"))?;
        let mut elements = [0; 8];
        from.seek(SeekFrom::Start(start))?;
        from.read_exact(&mut elements)?;
        let elements = match order {
            ByteOrder::Little => u64::from_le_bytes(elements),
            ByteOrder::Big => u64::from_be_bytes(elements),
        };
        start += 8;
        let length =
            elements.checked_mul(*size).filter(|&length| length <= file_length.saturating_sub(start));
        let length = length.ok_or(FormatError::Truncated)?;
        records.insert(key.to_owned(), Record { start, packed: length, length, deflated: false });
        start += length;
    }
    Ok((checkpoint, Storages { records, order }))
}
