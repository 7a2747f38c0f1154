//! NumPy's `.npy`: one array without a name, after a header that is a Python literal. Not `.npz`,
//! and no arrays of objects, which NumPy pickles.

use std::{
    io::{self, Cursor, Read, Seek, Write},
    path::Path,
};

use residual_tensor::Shape;

use crate::{
    Entry, FormatError, Result, file,
    inspect::{Contents, Format, Statistics, TensorInfo},
    stored::{ByteOrder, Stored, checked_shape},
};

pub(crate) const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// A multiple of this is the length of all that stands before the elements.
const ALIGNMENT: usize = 64;

fn malformed(problem: impl Into<String>) -> FormatError {
    FormatError::Malformed { format: ".npy", problem: problem.into() }
}

/// Reads a file. The result is row-major, whatever the file is.
///
/// # Errors
/// [`WeightsError`](crate::WeightsError) with the path, if it cannot be opened or is malformed.
pub fn read(path: impl AsRef<Path>) -> Result<Entry> {
    file::read(path.as_ref(), read_from)
}

/// Reads a file that is in memory.
///
/// # Errors
/// [`FormatError`] if it is malformed.
pub fn read_bytes(bytes: &[u8]) -> std::result::Result<Entry, FormatError> {
    read_from(&mut Cursor::new(bytes), bytes.len() as u64)
}

/// Writes a file, replacing what stood there only when the new one is complete.
///
/// # Errors
/// [`WeightsError::Write`](crate::WeightsError::Write) with the path.
pub fn write(path: impl AsRef<Path>, entry: &Entry) -> Result<()> {
    file::replace(path.as_ref(), |to| write_to(to, entry))
}

/// The bytes of a file.
///
/// # Errors
/// None; the writers of all formats have the same form.
pub fn to_bytes(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, entry)?;
    Ok(bytes)
}

pub(crate) fn inspect_from(
    from: &mut (impl Read + Seek),
    file_length: u64,
    statistics: bool,
) -> std::result::Result<Contents, FormatError> {
    let opened = Opened::read(from, file_length)?;
    let mut contents = Contents::new(Format::Npy);
    let mut array = TensorInfo::new("", opened.stored.name(), &opened.shape, 8 * opened.stored.size() as u64);
    if statistics {
        array.statistics = Statistics::of(&opened.entry(from)?);
    }
    contents.tensors.push(array);
    Ok(contents)
}

fn read_from(from: &mut (impl Read + Seek), file_length: u64) -> std::result::Result<Entry, FormatError> {
    Opened::read(from, file_length)?.entry(from)
}

/// A file whose header has been read and checked. The array comes next.
struct Opened {
    stored: Stored,
    order: ByteOrder,
    fortran_order: bool,
    shape: Shape,
}

impl Opened {
    fn read(from: &mut (impl Read + Seek), file_length: u64) -> std::result::Result<Self, FormatError> {
        let mut start = [0; 8];
        from.read_exact(&mut start)?;
        let [magic @ .., version, _minor] = start;
        if magic != MAGIC {
            return Err(malformed("it does not begin like one"));
        }
        let mut length = [0; 4];
        match version {
            1 => from.read_exact(&mut length[..2])?,
            2 | 3 => from.read_exact(&mut length)?,
            _ => return Err(malformed(format!("version {version} of the format"))),
        }
        /// Longer than any header of plain elements.
        const LONGEST_HEADER: u32 = 10_000;
        let length = u32::from_le_bytes(length);
        if length > LONGEST_HEADER {
            return Err(malformed(format!("a header of {length} bytes")));
        }
        let mut header = vec![0; length as usize];
        from.read_exact(&mut header)?;
        let header = std::str::from_utf8(&header).ok().and_then(|text| Literal(text).header());
        let header = header.ok_or_else(|| malformed("a header that is not what NumPy writes"))?;
        let (stored, order) = element_type(header.descr).ok_or_else(|| {
            malformed(format!("elements of type {}; convert them to float first", header.descr))
        })?;

        let shape = checked_shape("the array", &header.shape)?;
        let bytes = (shape.elements() * stored.size()) as u64;
        match (from.stream_position()? + bytes).cmp(&file_length) {
            std::cmp::Ordering::Greater => return Err(FormatError::Truncated),
            std::cmp::Ordering::Less => return Err(malformed("bytes after the array")),
            std::cmp::Ordering::Equal => {}
        }
        Ok(Self { stored, order, fortran_order: header.fortran_order, shape })
    }

    fn entry(&self, from: &mut impl Read) -> std::result::Result<Entry, FormatError> {
        let Self { stored, order, fortran_order, ref shape } = *self;
        if !fortran_order {
            return Ok(stored.read(shape, order, from)?);
        }
        // The first index varies fastest.
        let elements = stored.read(&checked_shape("the array", &[shape.elements()])?, order, from)?;
        let strides = shape.iter().scan(1, |step, &n| Some(std::mem::replace(step, *step * n)));
        elements
            .strided(shape, &strides.collect::<Vec<_>>())
            .ok_or_else(|| malformed("a shape that does not fit"))
    }
}

fn write_to(to: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let descr = match entry {
        Entry::F32(_) => "<f4",
        Entry::F64(_) => "<f8",
        Entry::F16(_) => "<f2",
        Entry::I64(_) => "<i8",
        Entry::I32(_) => "<i4",
        Entry::U8(_) => "|u1",
    };
    let axes: String = entry.shape().iter().map(|n| format!("{n}, ")).collect();
    let axes = if entry.shape().rank() == 1 { axes.trim_end() } else { axes.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    let before = MAGIC.len() + 4; // magic, version, length
    let padding = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - (before + header.len() + 1);
    header.extend(std::iter::repeat_n(' ', padding).chain(['\n']));
    to.write_all(&MAGIC)?;
    to.write_all(&[1, 0])?;
    to.write_all(&(header.len() as u16).to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    entry.write(to)
}

fn element_type(descr: &str) -> Option<(Stored, ByteOrder)> {
    let (order, code) = descr.split_at_checked(1)?;
    let order = match order {
        "<" | "|" => ByteOrder::Little,
        ">" => ByteOrder::Big,
        _ => return None,
    };
    let stored = match code {
        "f8" => Stored::F64,
        "f4" => Stored::F32,
        "f2" => Stored::F16,
        "i8" => Stored::I64,
        "i4" => Stored::I32,
        "i2" => Stored::I16,
        "i1" => Stored::I8,
        "u1" => Stored::U8,
        "b1" => Stored::Bool,
        _ => return None,
    };
    Some((stored, order))
}

struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// The rest of a Python literal. Each method takes off what it is called for, or gives `None`.
struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    /// A dictionary like `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn header(mut self) -> Option<Header<'a>> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect("{")?;
        while self.expect("}").is_none() {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran_order = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return None,
            }
            if self.expect(",").is_none() && !self.0.trim_start().starts_with('}') {
                return None;
            }
        }
        Some(Header { descr: descr?, fortran_order: fortran_order?, shape: shape? })
    }

    fn expect(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = if self.expect("'").is_some() { '\'' } else { self.expect("\"").map(|()| '"')? };
        let (string, rest) = self.0.split_once(quote)?;
        self.0 = rest;
        Some(string)
    }

    fn boolean(&mut self) -> Option<bool> {
        let is_true = self.expect("True").is_some();
        (is_true || self.expect("False").is_some()).then_some(is_true)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut numbers = Vec::new();
        self.expect("(")?;
        while self.expect(")").is_none() {
            let digits = self.0.trim_start();
            let end = digits.find(|c: char| !c.is_ascii_digit())?;
            numbers.push(digits[..end].parse().ok()?);
            self.0 = &digits[end..];
            if self.expect(",").is_none() && !self.0.trim_start().starts_with(')') {
                return None;
            }
        }
        Some(numbers)
    }
}
