//! The checksum of a safetensors file. The format has none, so that a disk's error in a weight would
//! be loaded as if it were trained; files that are written here carry one in their metadata, and
//! reading compares it.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use crc32fast::Hasher;

use crate::FormatError;

/// Where the metadata has it, as eight hexadecimal digits.
pub(crate) const KEY: &str = "residual.crc32";

/// CRC-32 of what a file says: its metadata, and each tensor with its name, type and shape.
pub(crate) struct Checksum(BTreeMap<String, u32>);

impl Checksum {
    /// That of a file without tensors.
    pub(crate) fn new(metadata: &BTreeMap<String, String>) -> Self {
        let text = metadata.iter().filter(|(key, _)| *key != KEY);
        Self(
            text.map(|(key, value)| (format!("metadata {key}"), crc32fast::hash(value.as_bytes()))).collect(),
        )
    }

    /// Adds a tensor by its description and the checksum of its bytes. The order does not matter.
    pub(crate) fn add(&mut self, name: &str, dtype: impl std::fmt::Display, shape: &[usize], bytes: u32) {
        self.0.insert(format!("tensor {name} {dtype} {shape:?}"), bytes);
    }

    /// The whole.
    pub(crate) fn finish(&self) -> String {
        let mut whole = Hasher::new();
        for (what, checksum) in &self.0 {
            whole.update(what.as_bytes());
            whole.update(&checksum.to_le_bytes());
        }
        format!("{:08x}", whole.finalize())
    }

    /// Compares with what a file claims of itself.
    pub(crate) fn verify(&self, claimed: &str) -> Result<(), FormatError> {
        if self.finish() == claimed { Ok(()) } else { Err(FormatError::Checksum) }
    }
}

/// The checksum of bytes on their way from or to a file.
pub(crate) struct Summed<F> {
    file: F,
    hasher: Hasher,
}

impl<F> Summed<F> {
    pub(crate) fn new(file: F) -> Self {
        Self { file, hasher: Hasher::new() }
    }

    pub(crate) fn checksum(self) -> u32 {
        self.hasher.finalize()
    }
}

impl<F: Read> Read for Summed<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }
}

impl<F: Write> Write for Summed<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use residual_tensor::Tensor;

    use super::*;
    use crate::{Weights, safetensors};

    fn file() -> Vec<u8> {
        let mut weights = Weights::new();
        weights.insert("fc.weight", Tensor::from_vec([2, 3], (0u8..6).map(f32::from).collect()).unwrap());
        weights.insert("fc.bias", Tensor::from_vec([2], vec![0.5f64, -0.25]).unwrap());
        weights.metadata.insert("classes".to_owned(), "cat dog".to_owned());
        safetensors::to_bytes(&weights).unwrap()
    }

    #[test]
    fn each_bit_of_a_weight_and_of_the_text_beside_it_counts() {
        let whole = file();
        let read = safetensors::read_bytes(&whole).unwrap();
        assert!(!read.metadata.contains_key(KEY), "what reading compares is not handed on");
        let data = whole.len() - 2 * 8 - 6 * 4..whole.len();
        let text = whole.windows(7).position(|bytes| bytes == b"cat dog").unwrap();
        for at in data.chain(text..text + 7) {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert!(safetensors::read_bytes(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_renamed_tensor_counts() {
        let mut damaged = file();
        let at = damaged.windows(7).position(|bytes| bytes == b"fc.bias").unwrap();
        damaged[at] = b'g';
        assert!(matches!(safetensors::read_bytes(&damaged), Err(FormatError::Checksum)));
    }

    #[test]
    fn a_file_of_another_program_has_none() {
        let mut without = file();
        let key = without.windows(KEY.len()).position(|bytes| bytes == KEY.as_bytes()).unwrap();
        without[key..key + 4].copy_from_slice(b"note");
        *without.last_mut().unwrap() ^= 1;
        assert!(safetensors::read_bytes(&without).is_ok());
    }
}
