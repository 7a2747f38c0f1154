//! The safetensors format: a length, a JSON header, and the tensors' bytes without gaps.
//!
//! The header's rules (offsets that neither overlap nor leave gaps, products that do not
//! overflow) are checked by the `safetensors` crate. Not used from it: its reader, which wants
//! the whole file in memory, lets duplicate names pass and forgets the order; and its writer,
//! whose metadata is in random order, so that equal weights would give different files.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Cursor, Read, Seek, Write},
    path::Path,
};

use ::safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{
    Entry, FormatError, Result, Weights,
    checksum::{self, Checksum, Summed},
    file,
    inspect::{Contents, Format, Statistics, TensorInfo as Inspected},
    stored::{ByteOrder, Stored, checked_shape},
};

const METADATA: &str = "__metadata__";
/// The format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;
const LENGTH_BYTES: u64 = 8;

/// Reads a file.
///
/// # Errors
/// [`WeightsError`](crate::WeightsError) with the path, if it cannot be opened or is malformed.
pub fn read(path: impl AsRef<Path>) -> Result<Weights> {
    file::read(path.as_ref(), read_from)
}

/// Reads a file that is in memory.
///
/// # Errors
/// [`FormatError`] if it is malformed.
pub fn read_bytes(bytes: &[u8]) -> std::result::Result<Weights, FormatError> {
    read_from(&mut Cursor::new(bytes), bytes.len() as u64)
}

/// Writes a file, replacing what stood there only when the new one is complete.
///
/// # Errors
/// [`WeightsError::Write`](crate::WeightsError::Write) with the path.
pub fn write(path: impl AsRef<Path>, weights: &Weights) -> Result<()> {
    file::replace(path.as_ref(), |to| write_to(to, weights))
}

/// The bytes of a file.
///
/// # Errors
/// If a tensor is called `__metadata__`, or the header is longer than the format allows.
pub fn to_bytes(weights: &Weights) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, weights)?;
    Ok(bytes)
}

pub(crate) fn read_from(
    from: &mut (impl Read + Seek),
    file_length: u64,
) -> std::result::Result<Weights, FormatError> {
    let opened = Opened::read(from, file_length)?;
    let mut weights = Weights::new();
    let mut checksum = Checksum::new(&opened.metadata);
    for name in &opened.names {
        let info = opened.info(name);
        let stored = Stored::of(info.dtype)
            .ok_or_else(|| FormatError::Dtype { name: name.clone(), dtype: info.dtype.to_string() })?;
        let (entry, bytes) = opened.entry(name, stored, from)?;
        checksum.add(name, info.dtype, &info.shape, bytes);
        weights.insert_new(name.clone(), entry)?;
    }
    weights.metadata = opened.metadata;
    if let Some(claimed) = weights.metadata.remove(checksum::KEY) {
        checksum.verify(&claimed)?;
    }
    Ok(weights)
}

pub(crate) fn inspect_from(
    from: &mut (impl Read + Seek),
    file_length: u64,
    statistics: bool,
) -> std::result::Result<Contents, FormatError> {
    let opened = Opened::read(from, file_length)?;
    let mut contents = Contents::new(Format::Safetensors);
    for name in &opened.names {
        let info = opened.info(name);
        let dtype = info.dtype.to_string().to_lowercase();
        let mut inspected = Inspected::new(name, &dtype, &info.shape, info.dtype.bitsize() as u64);
        if let Some(stored) = Stored::of(info.dtype).filter(|_| statistics) {
            inspected.statistics = Statistics::of(&opened.entry(name, stored, from)?.0);
        }
        contents.tensors.push(inspected);
    }
    contents.metadata = opened.metadata;
    Ok(contents)
}

/// A file whose header has been read and checked. No tensor is read yet.
struct Opened {
    metadata: BTreeMap<String, String>,
    /// In the order of the header.
    names: Vec<String>,
    checked: Metadata,
    /// Where the first tensor begins.
    data_start: u64,
}

impl Opened {
    fn read(from: &mut (impl Read + Seek), file_length: u64) -> std::result::Result<Self, FormatError> {
        let malformed = |problem: String| FormatError::Malformed { format: "safetensors header", problem };
        let mut length = [0; LENGTH_BYTES as usize];
        from.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER {
            return Err(malformed(format!("{length} bytes long, the format allows {LONGEST_HEADER}")));
        }
        let data_start = LENGTH_BYTES + length;
        let data_length = file_length.checked_sub(data_start).ok_or(FormatError::Truncated)?;
        let mut header = vec![0; length as usize];
        from.read_exact(&mut header)?;
        let Header { metadata, mut tensors } =
            serde_json::from_slice(&header).map_err(|error| malformed(error.to_string()))?;
        drop(header);

        let names = tensors.iter().map(|(name, _)| name.clone()).collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let checked = Metadata::new(None, tensors).map_err(|error| malformed(error.to_string()))?;
        match (checked.data_len() as u64).cmp(&data_length) {
            std::cmp::Ordering::Greater => return Err(FormatError::Truncated),
            std::cmp::Ordering::Less => return Err(malformed("bytes after the last tensor".into())),
            std::cmp::Ordering::Equal => {}
        }
        Ok(Self { metadata, names, checked, data_start })
    }

    fn info(&self, name: &str) -> &TensorInfo {
        self.checked.info(name).expect("each name has its info")
    }

    /// A tensor, and the checksum of its bytes.
    fn entry(
        &self,
        name: &str,
        stored: Stored,
        from: &mut (impl Read + Seek),
    ) -> std::result::Result<(Entry, u32), FormatError> {
        let info = self.info(name);
        let shape = checked_shape(name, &info.shape)?;
        from.seek(io::SeekFrom::Start(self.data_start + info.data_offsets.0 as u64))?;
        let mut from = Summed::new(from);
        let entry = stored.read(&shape, ByteOrder::Little, &mut from)?;
        Ok((entry, from.checksum()))
    }
}

pub(crate) fn write_to(to: &mut impl Write, weights: &Weights) -> io::Result<()> {
    // Wide elements first: readers that map the file want each tensor aligned to its element.
    let mut entries: Vec<_> = weights.iter().collect();
    entries.sort_by_key(|(_, entry)| std::cmp::Reverse(dtype(entry).bitsize()));
    let mut offset = 0;
    let mut header = Header { metadata: weights.metadata.clone(), tensors: Vec::new() };
    let mut checksum = Checksum::new(&header.metadata);
    for &(name, entry) in &entries {
        let (start, dtype, shape) = (offset, dtype(entry), entry.shape().to_vec());
        offset += entry.bytes();
        let mut bytes = Summed::new(io::sink());
        entry.write(&mut bytes)?;
        checksum.add(name, dtype, &shape, bytes.checksum());
        header.tensors.push((name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, offset) }));
    }
    header.metadata.insert(checksum::KEY.to_owned(), checksum.finish());
    let mut json = serde_json::to_vec(&header)?;
    json.resize(json.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    if weights.get(METADATA).is_some() || json.len() as u64 > LONGEST_HEADER {
        let problem = "safetensors has no room for so many names, or for a tensor called __metadata__";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    to.write_all(&(json.len() as u64).to_le_bytes())?;
    to.write_all(&json)?;
    entries.iter().try_for_each(|(_, entry)| entry.write(to))
}

impl Stored {
    fn of(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::I64 => Self::I64,
            Dtype::I32 => Self::I32,
            Dtype::I16 => Self::I16,
            Dtype::I8 => Self::I8,
            Dtype::U8 => Self::U8,
            Dtype::BOOL => Self::Bool,
            _ => return None,
        })
    }
}

fn dtype(entry: &Entry) -> Dtype {
    match entry {
        Entry::F32(_) => Dtype::F32,
        Entry::F64(_) => Dtype::F64,
        Entry::F16(_) => Dtype::F16,
        Entry::I64(_) => Dtype::I64,
        Entry::I32(_) => Dtype::I32,
        Entry::U8(_) => Dtype::U8,
    }
}

/// The JSON object at the beginning: tensors by name, in order, and text beside them.
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, TensorInfo)>,
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA, &self.metadata)?;
        }
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors by name")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Header, M::Error> {
                let mut header = Header { metadata: BTreeMap::new(), tensors: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
