//! The zip archive around a modern `.pth` file: finding records in it, and writing it. Not a
//! zip library: what PyTorch never writes (encryption, several disks, leading bytes) is refused.
//!
//! Rejected: the `zip` crate, which tolerates much more than that, by searching and guessing
//! in what an attacker may have written, and brings ten other crates along.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom, Write},
};

use flate2::{CrcWriter, read::DeflateDecoder};

use crate::{FormatError, budget::Budget};

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;

const LOCAL_HEADER_BYTES: usize = 30;
const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const END_64_LOCATOR_BYTES: usize = 20;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The extra field that holds sizes of more than 32 bits.
const ZIP64_FIELD: u16 = 1;

fn malformed(problem: impl Into<String>) -> FormatError {
    FormatError::Malformed { format: "zip archive", problem: problem.into() }
}

/// Where a record's bytes are in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) start: u64,
    /// The length in the file.
    pub(super) packed: u64,
    /// The length when unpacked, which a hostile file may misstate.
    pub(super) length: u64,
    pub(super) deflated: bool,
}

impl Record {
    /// Reads the record after its first `skipped` bytes.
    pub(super) fn open<'a, R: Read + Seek>(
        &self,
        from: &'a mut R,
        skipped: u64,
        budget: &mut Budget,
    ) -> Result<RecordReader<'a, R>, FormatError> {
        if !self.deflated {
            from.seek(SeekFrom::Start(self.start + skipped))?;
            return Ok(RecordReader::Stored(from.take(self.packed - skipped)));
        }
        budget.spend(skipped)?;
        from.seek(SeekFrom::Start(self.start))?;
        let mut unpacked = DeflateDecoder::new(from.take(self.packed));
        io::copy(&mut unpacked.by_ref().take(skipped), &mut io::sink())?;
        Ok(RecordReader::Deflated(unpacked))
    }
}

pub(super) enum RecordReader<'a, R> {
    Stored(io::Take<&'a mut R>),
    Deflated(DeflateDecoder<io::Take<&'a mut R>>),
}

impl<R: Read> Read for RecordReader<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(from) => from.read(to),
            Self::Deflated(from) => from.read(to),
        }
    }
}

/// The archive's directory: records by name. Their starts are those of their local headers.
pub(super) struct Directory(BTreeMap<String, Record>);

impl Directory {
    /// Reads the directory at the end of the file.
    pub(super) fn read(from: &mut (impl Read + Seek), file_length: u64) -> Result<Self, FormatError> {
        let (start, length) = find(from, file_length)?;
        if start.checked_add(length).is_none_or(|end| end > file_length) {
            return Err(FormatError::Truncated);
        }
        from.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes)?;
        let mut records = BTreeMap::new();
        let mut rest = Fields(&bytes);
        while !rest.0.is_empty() {
            let (name, record) = directory_entry(&mut rest)?;
            if records.contains_key(&name) {
                return Err(malformed(format!("two records are called {name}")));
            }
            records.insert(name, record);
        }
        Ok(Self(records))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Finds the bytes of a record, if there is one of that name.
    pub(super) fn record(
        &self,
        name: &str,
        from: &mut (impl Read + Seek),
    ) -> Result<Option<Record>, FormatError> {
        let Some(&record) = self.0.get(name) else { return Ok(None) };
        from.seek(SeekFrom::Start(record.start))?;
        let mut header = [0; LOCAL_HEADER_BYTES];
        from.read_exact(&mut header)?;
        let mut fields = Fields(&header);
        if fields.u32()? != LOCAL_HEADER {
            return Err(malformed(format!("no header where {name} should be")));
        }
        fields.skip(22)?;
        let start =
            record.start + LOCAL_HEADER_BYTES as u64 + u64::from(fields.u16()?) + u64::from(fields.u16()?);
        Ok(Some(Record { start, ..record }))
    }
}

/// The start and the length of the directory.
fn find(from: &mut (impl Read + Seek), file_length: u64) -> Result<(u64, u64), FormatError> {
    // The last thing in the file, but for a comment whose length it states.
    let tail_start = file_length.saturating_sub((END_BYTES + usize::from(u16::MAX)) as u64);
    from.seek(SeekFrom::Start(tail_start))?;
    let mut tail = Vec::new();
    from.take(file_length - tail_start).read_to_end(&mut tail)?;
    let ends_here = |at: usize| {
        let comment = tail.len() - at - END_BYTES;
        tail[at..].starts_with(&END.to_le_bytes())
            && tail[at + END_BYTES - 2..].starts_with(&(comment as u16).to_le_bytes())
    };
    let at = (0..(tail.len() + 1).saturating_sub(END_BYTES)).rev().find(|&at| ends_here(at));
    let at = at.ok_or(FormatError::Truncated)?; // downloads that broke off have no end
    let mut end = Fields(&tail[at + 12..]);
    let (length, start) = (end.u32()?, end.u32()?);
    if start != u32::MAX && length != u32::MAX {
        return Ok((start.into(), length.into()));
    }

    let locator = tail_start + at as u64;
    let locator = locator.checked_sub(END_64_LOCATOR_BYTES as u64).ok_or(FormatError::Truncated)?;
    let mut bytes = [0; END_64_LOCATOR_BYTES];
    from.seek(SeekFrom::Start(locator))?;
    from.read_exact(&mut bytes)?;
    let mut fields = Fields(&bytes);
    if fields.u32()? != END_64_LOCATOR {
        return Err(malformed("no zip64 locator"));
    }
    fields.skip(4)?;
    from.seek(SeekFrom::Start(fields.u64()?))?;
    let mut bytes = [0; END_64_BYTES];
    from.read_exact(&mut bytes)?;
    let mut fields = Fields(&bytes);
    if fields.u32()? != END_64 {
        return Err(malformed("no zip64 directory where its locator points"));
    }
    fields.skip(36)?;
    let (length, start) = (fields.u64()?, fields.u64()?);
    Ok((start, length))
}

/// Takes an entry off the directory: a record whose start is that of its local header.
fn directory_entry(fields: &mut Fields<'_>) -> Result<(String, Record), FormatError> {
    const ENCRYPTED: u16 = 1;
    if fields.u32()? != DIRECTORY_ENTRY {
        return Err(malformed("something else within the directory"));
    }
    fields.skip(4)?; // versions
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.skip(8)?; // time, date, checksum: PyTorch may leave the last out
    let (packed, length) = (fields.u32()?, fields.u32()?);
    let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
    fields.skip(8)?; // disk, attributes
    let start = fields.u32()?;
    let name = String::from_utf8_lossy(fields.take(name.into())?).into_owned();
    let mut extra = Fields(fields.take(extra.into())?);
    fields.skip(comment.into())?;
    if flags & ENCRYPTED != 0 || !matches!(method, STORED | DEFLATED) {
        return Err(malformed(format!("{name} is encrypted or compressed by method {method}")));
    }

    // What does not fit 32 bits is in an extra field, in this order.
    let mut wide = Fields(&[]);
    while let Ok(id) = extra.u16() {
        let length = extra.u16()?;
        let field = extra.take(length.into())?;
        if id == ZIP64_FIELD {
            wide = Fields(field);
        }
    }
    let mut full = |narrow: u32| if narrow == u32::MAX { wide.u64() } else { Ok(narrow.into()) };
    let (length, packed, start) = (full(length)?, full(packed)?, full(start)?);
    if method == STORED && packed != length {
        return Err(malformed(format!("{name} is stored, but of two lengths")));
    }
    Ok((name, Record { start, packed, length, deflated: method == DEFLATED }))
}

/// Little-endian numbers at the beginning of bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| malformed("a cut field"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn skip(&mut self, length: usize) -> Result<(), FormatError> {
        self.take(length).map(drop)
    }

    fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Writes an archive of stored records, each beginning at a multiple of [`ALIGNMENT`] as
/// `torch.save` has it, so that they can be mapped into memory.
pub(super) struct Writer<W> {
    to: W,
    at: u64,
    directory: Vec<u8>,
    records: usize,
}

const ALIGNMENT: u64 = 64;
/// PyTorch's extra field for padding.
const PADDING_FIELD: [u8; 2] = *b"FB";
/// Plain records by names in UTF-8 need version 2.0 of the format.
const VERSION: u16 = 20;
const UTF8: u16 = 1 << 11;
/// The first of January 1980: equal weights give equal files.
const DATE: u16 = 0x21;

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, at: 0, directory: Vec::new(), records: 0 }
    }

    /// Adds a record of `length` bytes. `write` is called twice, first for the checksum.
    pub(super) fn add(
        &mut self,
        name: &str,
        length: usize,
        write: impl Fn(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut checksum = CrcWriter::new(io::sink());
        write(&mut checksum)?;
        // What the record's header and the directory have in common.
        let mut common = Vec::new();
        for field in [VERSION, UTF8, STORED, 0, DATE] {
            common.extend(field.to_le_bytes());
        }
        for field in [checksum.crc().sum(), narrow(length as u64)?, narrow(length as u64)?] {
            common.extend(field.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());

        let unpadded = self.at + (LOCAL_HEADER_BYTES + name.len() + 4) as u64;
        let padding = (unpadded.next_multiple_of(ALIGNMENT) - unpadded) as usize;
        let mut header = LOCAL_HEADER.to_le_bytes().to_vec();
        header.extend(&common);
        header.extend((4 + padding as u16).to_le_bytes());
        header.extend(name.as_bytes());
        header.extend(PADDING_FIELD);
        header.extend((padding as u16).to_le_bytes());
        header.resize(header.len() + padding, 0);
        self.to.write_all(&header)?;
        write(&mut self.to)?;

        self.directory.extend(DIRECTORY_ENTRY.to_le_bytes());
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(common);
        self.directory.extend([0; 12]); // no extra fields, no comment, disk 0, no attributes
        self.directory.extend(narrow(self.at)?.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.at += (header.len() + length) as u64;
        self.records += 1;
        Ok(())
    }

    /// Writes the directory, which ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let records = u16::try_from(self.records).map_err(|_| too_large())?;
        self.to.write_all(&self.directory)?;
        self.to.write_all(&END.to_le_bytes())?;
        for field in [0, 0, records, records] {
            self.to.write_all(&field.to_le_bytes())?;
        }
        for field in [self.directory.len() as u64, self.at] {
            self.to.write_all(&narrow(field)?.to_le_bytes())?;
        }
        self.to.write_all(&0u16.to_le_bytes()) // no comment
    }
}

/// A length or an offset as the plain form of zip has it.
fn narrow(number: u64) -> io::Result<u32> {
    u32::try_from(number).ok().filter(|&n| n < u32::MAX).ok_or_else(too_large)
}

fn too_large() -> io::Error {
    let problem = "a .pth file of more than 4 GiB or 65,535 tensors; save it as .safetensors";
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}
