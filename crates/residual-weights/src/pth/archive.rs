//! The zip archive around a modern `.pth` file: finding records in it, and writing it. `rawzip` knows
//! the format; here is what is asked of an archive besides. What PyTorch never writes (encryption,
//! bytes behind the end, two records of one name) is refused.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom, Write},
};

use flate2::read::DeflateDecoder;
use rawzip::{
    CompressionMethod, ErrorKind, Header, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ZipArchive, ZipArchiveWriter,
    extra_fields::ExtraFieldId,
};

use crate::{FormatError, budget::Budget};

fn malformed(problem: impl Into<String>) -> FormatError {
    FormatError::Malformed { format: "zip archive", problem: problem.into() }
}

impl From<rawzip::Error> for FormatError {
    fn from(error: rawzip::Error) -> Self {
        let problem = error.to_string();
        match error.into_kind() {
            // Downloads that broke off have no end.
            ErrorKind::MissingEndOfCentralDirectory | ErrorKind::Eof => Self::Truncated,
            ErrorKind::IO(error) => error.into(),
            _ => malformed(problem),
        }
    }
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

/// The archive's directory: records by name.
pub(super) struct Directory(BTreeMap<String, Record>);

impl Directory {
    /// Reads the directory at the end of the file, and in front of each record where it begins.
    pub(super) fn read(from: &mut (impl Read + Seek), file_length: u64) -> Result<Self, FormatError> {
        let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let archive = ZipArchive::from_seekable(from, &mut buffer)?;
        if archive.end_offset() != file_length {
            return Err(malformed("bytes behind its end"));
        }
        let mut records = BTreeMap::new();
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry()? {
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            let deflated = match entry.compression_method() {
                CompressionMethod::STORE => false,
                CompressionMethod::DEFLATE => true,
                method => return Err(malformed(format!("{name} is compressed by {method:?}"))),
            };
            let length = entry.uncompressed_size_hint();
            let (start, end) = archive.get_entry(entry.wayfinder())?.compressed_data_range();
            let packed = end.checked_sub(start).ok_or(FormatError::Truncated)?;
            if entry.flags().is_encrypted() || !deflated && packed != length {
                return Err(malformed(format!("{name} is encrypted, or stored but of two lengths")));
            }
            if records.insert(name.clone(), Record { start, packed, length, deflated }).is_some() {
                return Err(malformed(format!("two records are called {name}")));
            }
        }
        Ok(Self(records))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The record of this name, if there is one.
    pub(super) fn record(&self, name: &str) -> Option<Record> {
        self.0.get(name).copied()
    }
}

/// Writes an archive of stored records, each beginning at a multiple of [`ALIGNMENT`] as
/// `torch.save` has it, so that they can be mapped into memory. Equal records give equal archives:
/// they have no dates.
pub(super) struct Writer<W>(ZipArchiveWriter<W>);

const ALIGNMENT: u64 = 64;
/// PyTorch's extra field for padding.
const PADDING: ExtraFieldId = ExtraFieldId::new(u16::from_le_bytes(*b"FB"));
/// The bytes of a record's header before its name, and of the padding field before its content.
const BEFORE_RECORD: u64 = 30 + 4;

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W) -> Self {
        Self(ZipArchiveWriter::new(to))
    }

    /// Adds a record.
    pub(super) fn add(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let unpadded = self.0.stream_offset() + BEFORE_RECORD + name.len() as u64;
        let padding = vec![0; (unpadded.next_multiple_of(ALIGNMENT) - unpadded) as usize];
        let record = self.0.new_file(name).extra_field(PADDING, &padding, Header::LOCAL);
        let (mut record, content) = record.and_then(|record| record.start()).map_err(io::Error::other)?;
        let mut content = content.wrap(&mut record);
        write(&mut content)?;
        let (_, checksum) = content.finish().map_err(io::Error::other)?;
        record.finish(checksum).map_err(io::Error::other)?;
        Ok(())
    }

    /// Writes the directory, which ends the archive.
    pub(super) fn finish(self) -> io::Result<()> {
        self.0.finish().map(drop).map_err(io::Error::other)
    }
}
