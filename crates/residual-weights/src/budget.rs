//! A limit to the memory that a file may make its reader use: readers that follow what a file says
//! spend from it before they allocate.

use crate::FormatError;

/// Bytes that may still be allocated on behalf of a file. Nothing is given back, so that time
/// is limited together with memory.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    left: u64,
}

impl Budget {
    /// For tensors: widening takes up to four times the file (`i8`), strided copies and
    /// compression more.
    pub(crate) fn for_tensors(file_length: u64) -> Self {
        Self::new(file_length.saturating_mul(8).saturating_add(1 << 20))
    }

    /// For what describes the tensors: a `.pth` file's pickle, an ONNX file's messages.
    pub(crate) fn for_description(file_length: u64) -> Self {
        Self::new(file_length.saturating_mul(16).saturating_add(1 << 20).min(256 << 20))
    }

    fn new(limit: u64) -> Self {
        Self { limit, left: limit }
    }

    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), FormatError> {
        self.left = self.left.checked_sub(bytes).ok_or(FormatError::Expansion { limit: self.limit })?;
        Ok(())
    }
}
