//! Writing weights as `torch.save(net.state_dict())` does. Not a pickler: the one pickle that is
//! written always has the same form.

use std::io::{self, Write};

use residual_tensor::Layout;

use super::{archive, op};
use crate::{Entry, Weights};

/// Writes the archive: the pickle, and the elements of each tensor in a record of its own.
pub(super) fn state_dict(to: &mut impl Write, weights: &Weights) -> io::Result<()> {
    let mut archive = archive::Writer::new(to);
    let mut add = |name: &str, content: &[u8]| archive.add(name, |to| to.write_all(content));
    add("archive/data.pkl", &pickle(weights))?;
    add("archive/byteorder", b"little")?;
    add("archive/version", b"3\n")?;
    for (key, (_, entry)) in weights.iter().enumerate() {
        archive.add(&format!("archive/data/{key}"), |mut to| entry.write(&mut to))?;
    }
    archive.finish()
}

/// An `OrderedDict` from names to tensors, each a whole storage whose key is its number.
fn pickle(weights: &Weights) -> Vec<u8> {
    let mut pickle = Pickle(vec![op::PROTO, 2]);
    pickle.ordered_dict();
    pickle.op(op::MARK);
    for (key, (name, entry)) in weights.iter().enumerate() {
        pickle.text(name);
        pickle.tensor(key, entry);
    }
    pickle.op(op::SETITEMS);
    pickle.op(op::STOP);
    pickle.0
}

struct Pickle(Vec<u8>);

impl Pickle {
    fn op(&mut self, op: u8) {
        self.0.push(op);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.op(op::GLOBAL);
        self.0.extend(format!("{module}\n{name}\n").as_bytes());
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.op(op::EMPTY_TUPLE);
        self.op(op::REDUCE);
    }

    fn text(&mut self, text: &str) {
        self.op(op::BINUNICODE);
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn int(&mut self, number: usize) {
        match i32::try_from(number) {
            Ok(number) => {
                self.op(op::BININT);
                self.0.extend(number.to_le_bytes());
            }
            Err(_) => {
                self.0.extend([op::LONG1, 8]);
                self.0.extend((number as i64).to_le_bytes());
            }
        }
    }

    fn ints(&mut self, numbers: &[usize]) {
        self.op(op::MARK);
        numbers.iter().for_each(|&number| self.int(number));
        self.op(op::TUPLE);
    }

    /// `_rebuild_tensor_v2(storage, 0, shape, strides, requires_grad=False, hooks=OrderedDict())`
    fn tensor(&mut self, key: usize, entry: &Entry) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.op(op::MARK);
        self.storage(key, entry);
        self.int(0);
        self.ints(entry.shape());
        self.ints(&Layout::Contiguous.strides(entry.shape()).expect("any shape can be row-major"));
        self.op(op::NEWFALSE);
        self.ordered_dict();
        self.op(op::TUPLE);
        self.op(op::REDUCE);
    }

    /// `("storage", type, key, device, elements)`, which PyTorch looks up in the archive.
    fn storage(&mut self, key: usize, entry: &Entry) {
        let storage = match entry {
            Entry::F32(_) => "FloatStorage",
            Entry::F64(_) => "DoubleStorage",
            Entry::F16(_) => "HalfStorage",
            Entry::I64(_) => "LongStorage",
            Entry::I32(_) => "IntStorage",
            Entry::U8(_) => "ByteStorage",
        };
        self.op(op::MARK);
        self.text("storage");
        self.global("torch", storage);
        self.text(&key.to_string());
        self.text("cpu");
        self.int(entry.shape().elements());
        self.op(op::TUPLE);
        self.op(op::BINPERSID);
    }
}
