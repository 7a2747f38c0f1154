//! Protocol Buffers' wire format, as far as a writer of small messages needs it. Not a protobuf
//! library: which fields there are is not known here. Its counterpart that reads is `wire.rs`.
//!
//! Rejected: `prost`, which holds every message in memory as a whole, weights included, and brings
//! a code generator along for what is said in these few lines.

/// A message under construction: its fields, one after the other.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// How a field's value is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Delimited = 2,
    Fixed32 = 5,
}

impl Message {
    /// An `int32` or `int64`; below zero it takes ten bytes.
    pub(super) fn int(&mut self, field: u32, value: i64) {
        key(&mut self.0, field, Wire::Varint);
        varint(&mut self.0, value as u64);
    }

    /// A `float`.
    pub(super) fn float(&mut self, field: u32, value: f32) {
        key(&mut self.0, field, Wire::Fixed32);
        self.0.extend(value.to_le_bytes());
    }

    /// A `string`.
    pub(super) fn text(&mut self, field: u32, value: &str) {
        self.delimited(field, value.as_bytes());
    }

    /// A message within this one.
    pub(super) fn message(&mut self, field: u32, value: &Self) {
        self.delimited(field, &value.0);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn delimited(&mut self, field: u32, bytes: &[u8]) {
        tag(&mut self.0, field);
        varint(&mut self.0, bytes.len() as u64);
        self.0.extend(bytes);
    }
}

/// The beginning of a field that has a length: that follows, then the bytes.
pub(super) fn tag(to: &mut Vec<u8>, field: u32) {
    key(to, field, Wire::Delimited);
}

fn key(to: &mut Vec<u8>, field: u32, wire: Wire) {
    varint(to, u64::from(field << 3 | wire as u32));
}

/// A number in groups of seven bits, the lowest first; the eighth says that more follow.
pub(super) fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
