//! Protocol Buffers' wire format, read field by field from a file of which nothing is kept. Which
//! fields there are is not known here; its counterpart that writes is `protobuf.rs`.
//!
//! Rejected: `prost`, which takes a message as a whole, weights included.

use std::io::{Read, Seek};

use crate::{FormatError, budget::Budget};

type Result<T> = std::result::Result<T, FormatError>;

pub(super) fn malformed(problem: &str) -> FormatError {
    FormatError::Malformed { format: "ONNX", problem: problem.into() }
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// A number.
    Varint(u64),
    /// So many bytes, which come next: text, a message, numbers side by side.
    Delimited(u64),
    /// A number of four or eight bytes, which is skipped.
    Fixed,
}

/// A place in a file, and the end of the innermost message that it is in.
pub(super) struct Reader<'a, R> {
    from: &'a mut R,
    at: u64,
    end: u64,
    budget: &'a mut Budget,
}

impl<'a, R: Read + Seek> Reader<'a, R> {
    /// At the beginning of a file.
    pub(super) fn new(from: &'a mut R, budget: &'a mut Budget) -> Self {
        Self { from, at: 0, end: u64::MAX, budget }
    }

    /// Where in the file the next byte is.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Pays for a value that is kept.
    pub(super) fn spend<T>(&mut self) -> Result<()> {
        self.budget.spend(size_of::<T>() as u64)
    }

    /// Shows each field of a message of `length` bytes, with its number. What `each` leaves unread of
    /// a field is skipped.
    pub(super) fn message(
        &mut self,
        length: u64,
        mut each: impl FnMut(&mut Self, u64, Field) -> Result<()>,
    ) -> Result<()> {
        self.within(length, |reader| {
            while reader.at < reader.end {
                let key = reader.varint()?;
                let (number, field) = (key >> 3, key & 7);
                let (field, after) = match field {
                    0 => (Field::Varint(reader.varint()?), reader.at),
                    1 => (Field::Fixed, reader.after(8)?),
                    5 => (Field::Fixed, reader.after(4)?),
                    2 => {
                        let length = reader.varint()?;
                        (Field::Delimited(length), reader.after(length)?)
                    }
                    _ => return Err(malformed("a field of a kind that there is not")),
                };
                each(reader, number, field)?;
                if reader.at != after {
                    // Within what has been read already, if it can be.
                    reader.from.seek_relative((after - reader.at) as i64)?;
                    reader.at = after;
                }
            }
            Ok(())
        })
    }

    /// Text of `length` bytes.
    pub(super) fn text(&mut self, length: u64) -> Result<String> {
        self.budget.spend(length)?;
        let mut bytes = Vec::new();
        let read = (&mut *self.from).take(length).read_to_end(&mut bytes)?;
        self.at += read as u64;
        if (read as u64) < length {
            return Err(FormatError::Truncated);
        }
        String::from_utf8(bytes).map_err(|_| malformed("a name that is not text"))
    }

    /// Shows each number of `length` bytes of numbers side by side.
    pub(super) fn varints(&mut self, length: u64, mut each: impl FnMut(u64) -> Result<()>) -> Result<()> {
        self.within(length, |reader| {
            while reader.at < reader.end {
                each(reader.varint()?)?;
            }
            Ok(())
        })
    }

    /// Reads the next `length` bytes as a whole of their own.
    fn within(&mut self, length: u64, read: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let end = self.after(length)?;
        let outer = std::mem::replace(&mut self.end, end);
        read(self)?;
        self.end = outer;
        Ok(())
    }

    /// The place after the next `length` bytes.
    fn after(&self, length: u64) -> Result<u64> {
        let after = self.at.checked_add(length).filter(|&after| after <= self.end);
        after.ok_or_else(|| malformed("a part that is longer than the whole"))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            self.budget.spend(1)?;
            let mut byte = [0];
            self.from.read_exact(&mut byte)?;
            self.at += 1;
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return match self.at <= self.end {
                    true => Ok(number),
                    false => Err(malformed("a number that its message ends within")),
                };
            }
        }
        Err(malformed("a number of more than 64 bits"))
    }
}
