//! Event files that TensorBoard reads: numbers by step, as records of protocol buffers with checksums.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{EpochRecord, Observer, Result, Start, Step, TrainError};

/// Writes what happens in a run to an event file, for `tensorboard --logdir`: loss, accuracy and learning rate of
/// every tenth step, and the epochs.
pub struct TensorBoard {
    path: PathBuf,
    file: File,
    /// Steps of an epoch.
    per_epoch: u64,
    failed: Option<io::Error>,
}

/// Of so many steps, one is written.
const EVERY: u64 = 10;

impl TensorBoard {
    /// A new event file in a folder. Those of earlier parts of a run stay: TensorBoard shows them together.
    ///
    /// # Errors
    /// [`TrainError::Io`] with the path.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("events.out.tfevents.{}.residual.{}", since.as_secs(), std::process::id());
        let path = folder.as_ref().join(name);
        let file = File::create(&path).map_err(TrainError::io(&path))?;
        let mut this = Self { path, file, per_epoch: 0, failed: None };
        this.write(&version());
        this.finish()?;
        Ok(this)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// # Errors
    /// [`TrainError::Io`] if something could not be written since the file was made. A run goes on without its
    /// event file.
    pub fn finish(&mut self) -> Result<()> {
        match self.failed.take() {
            Some(error) => Err(TrainError::io(&self.path)(error)),
            None => Ok(()),
        }
    }

    fn write(&mut self, event: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(&record(event)).and_then(|()| self.file.flush()).err();
        }
    }

    fn scalars(&mut self, step: u64, values: &[(&str, f64)]) {
        self.write(&scalars(seconds(), step, values));
    }
}

impl Observer for TensorBoard {
    fn start(&mut self, start: &Start<'_>) {
        self.per_epoch = start.run.per_epoch;
    }

    fn step(&mut self, step: &Step) {
        let number = (step.epoch - 1) * self.per_epoch + step.step;
        if number.is_multiple_of(EVERY) {
            self.scalars(
                number,
                &[
                    ("train/loss", step.loss),
                    ("train/accuracy", step.accuracy),
                    ("learning_rate", step.learning_rate),
                    ("images_per_second", step.images_per_second),
                ],
            );
        }
    }

    fn epoch(&mut self, record: &EpochRecord, _is_best: bool) {
        self.scalars(
            record.iteration,
            &[
                ("epoch/train_loss", record.train_loss),
                ("epoch/train_accuracy", record.train_accuracy),
                ("epoch/val_loss", record.val_loss),
                ("epoch/val_accuracy", record.val_accuracy),
            ],
        );
    }
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A record of TensorFlow's format: length and content, each with its masked checksum.
fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(&length).to_le_bytes());
    record.extend(content);
    record.extend(masked(content).to_le_bytes());
    record
}

/// The first event of a file: `wall_time` (1) and `file_version` (3).
fn version() -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(seconds().to_le_bytes());
    field(&mut event, 3, b"brain.Event:2");
    event
}

/// An event: `wall_time` (1), `step` (2), `summary` (5), which holds for each `value` (1) its `tag` (1) and its
/// `simple_value` (2).
fn scalars(time: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(time.to_le_bytes());
    event.push(2 << 3);
    number(&mut event, step);
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut entry = Vec::new();
        field(&mut entry, 1, tag.as_bytes());
        entry.push(2 << 3 | 5);
        entry.extend((*value as f32).to_le_bytes());
        field(&mut summary, 1, &entry);
    }
    field(&mut event, 5, &summary);
    event
}

/// A field of so many bytes.
fn field(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag << 3 | 2);
    number(out, content.len() as u64);
    out.extend(content);
}

/// A whole number, seven bits a byte.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// CRC-32C (Castagnoli), masked as the format TFRecord wants it.
fn masked(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let crc = bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg()))
    });
    (!crc).rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_tensorflows() {
        // The CRC-32C of "123456789" is 0xE3069283 (RFC 3720, appendix B.4, names the polynomial).
        assert_eq!(masked(b"123456789"), 0xE306_9283u32.rotate_right(15).wrapping_add(0xA282_EAD8));
    }

    #[test]
    fn an_event_has_the_fields_of_the_format() {
        let event = scalars(1.5, 300, &[("a", 0.5)]);
        let time = 1.5f64.to_le_bytes();
        let value = [10, 8, 10, 1, b'a', 21, 0, 0, 0, 63];
        let expected = [&[9][..], &time, &[16, 172, 2], &[42, 10], &value].concat();
        assert_eq!(event, expected);
        let written = record(&event);
        assert_eq!((written.len(), written[0]), (event.len() + 16, event.len() as u8));
    }
}
