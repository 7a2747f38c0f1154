//! A machine for the pickles of weights. It builds values and calls nothing; Python's own
//! would import and call whatever a file names.
//!
//! Every step and every value costs something from a [`Budget`], so that both memory and time
//! are bounded by the file's length. Nothing recurses.

use std::{
    collections::HashMap,
    io::{self, Read},
};

use super::{
    globals::Global,
    heap::{Heap, Object, Storage, Value, View},
    op,
};
use crate::{FormatError, budget::Budget, stored::MOST_AXES};

type Result<T> = std::result::Result<T, FormatError>;

fn malformed(problem: impl Into<String>) -> FormatError {
    FormatError::Malformed { format: "pickle", problem: problem.into() }
}

/// Runs one pickle to its end, adds its objects to the heap, and returns what it describes.
pub(super) fn read(from: &mut impl Read, heap: &mut Heap, budget: &mut Budget) -> Result<Value> {
    Machine { from, heap, budget, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }.run()
}

struct Machine<'a, R> {
    from: &'a mut R,
    heap: &'a mut Heap,
    budget: &'a mut Budget,
    stack: Vec<Value>,
    /// Heights of the stack where collections begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<R: Read> Machine<'_, R> {
    /// Interprets operation after operation. Where a method is given a number, that is the width in
    /// bytes of what follows the operation in the file: its operand, or the length of its operand.
    fn run(mut self) -> Result<Value> {
        loop {
            match self.unsigned(1)? as u8 {
                op::STOP => return self.pop(),
                op::PROTO => self.skip(1)?,
                op::FRAME => self.skip(8)?,

                op::NONE | op::EMPTY_SET => self.push(Value::Opaque)?,
                op::NEWTRUE => self.push(Value::Bool(true))?,
                op::NEWFALSE => self.push(Value::Bool(false))?,
                op::BININT1 => self.int(1)?,
                op::BININT2 => self.int(2)?,
                op::BININT => self.long(4)?,
                op::LONG1 => self.sized(1, Self::long)?,
                op::LONG4 => self.sized(4, Self::long)?,
                op::BINFLOAT => self.float()?,
                op::SHORT_BINSTRING | op::SHORT_BINUNICODE => self.sized(1, Self::text)?,
                op::BINSTRING | op::BINUNICODE => self.sized(4, Self::text)?,
                op::BINUNICODE8 => self.sized(8, Self::text)?,
                op::SHORT_BINBYTES => self.sized(1, Self::bytes)?,
                op::BINBYTES => self.sized(4, Self::bytes)?,
                op::BINBYTES8 | op::BYTEARRAY8 => self.sized(8, Self::bytes)?,

                op::MARK => self.mark()?,
                op::EMPTY_TUPLE | op::EMPTY_LIST => self.add(Object::Sequence(Vec::new()))?,
                op::TUPLE1 => self.tuple(1)?,
                op::TUPLE2 => self.tuple(2)?,
                op::TUPLE3 => self.tuple(3)?,
                op::TUPLE => self.since_mark(Self::tuple)?,
                op::APPEND => self.append(1)?,
                op::APPENDS | op::ADDITEMS => self.since_mark(Self::append)?,
                op::FROZENSET => self.since_mark(Self::set)?,
                op::EMPTY_DICT => self.add(Object::Dictionary(Vec::new()))?,
                op::SETITEM => self.set_items(2)?,
                op::SETITEMS => self.since_mark(Self::set_items)?,

                op::POP => self.drop(1)?,
                op::POP_MARK => self.since_mark(Self::drop)?,
                op::BINPUT => self.memoize(1)?,
                op::LONG_BINPUT => self.memoize(4)?,
                op::MEMOIZE => self.memoize_at(self.memo.len() as u32)?,
                op::BINGET => self.recall(1)?,
                op::LONG_BINGET => self.recall(4)?,

                op::GLOBAL => self.global()?,
                op::STACK_GLOBAL => self.stack_global()?,
                op::REDUCE | op::NEWOBJ => self.call()?,
                op::NEWOBJ_EX => {
                    self.pop()?; // arguments by name, which nothing on the allow-list has
                    self.call()?;
                }
                op::BUILD => drop((self.pop()?, self.top()?)), // attributes, which are not looked at
                op::BINPERSID => self.storage()?,
                other => return Err(malformed(format!("operation {other:#04x}, which no weights need"))),
            }
        }
    }

    // Operands.

    /// A little-endian number of up to eight bytes.
    fn unsigned(&mut self, bytes: usize) -> Result<u64> {
        self.budget.spend(1)?;
        let mut number = [0; 8];
        self.from.read_exact(&mut number[..bytes])?;
        Ok(u64::from_le_bytes(number))
    }

    /// Continues with an operand of as many bytes as the following number says.
    fn sized(&mut self, bytes: usize, operand: fn(&mut Self, u64) -> Result<()>) -> Result<()> {
        let length = self.unsigned(bytes)?;
        operand(self, length)
    }

    fn int(&mut self, bytes: usize) -> Result<()> {
        let number = self.unsigned(bytes)?;
        self.push(Value::Int(number as i64))
    }

    /// A number in two's complement; beyond 64 bits it is not looked at.
    fn long(&mut self, bytes: u64) -> Result<()> {
        match bytes {
            0 => self.push(Value::Int(0)),
            1..=8 => {
                let unused = 64 - 8 * bytes as u32;
                let number = (self.unsigned(bytes as usize)? << unused) as i64 >> unused;
                self.push(Value::Int(number))
            }
            _ => self.bytes(bytes),
        }
    }

    fn float(&mut self) -> Result<()> {
        let bits = self.unsigned(8)?;
        self.push(Value::Float(f64::from_bits(bits.swap_bytes()))) // big-endian
    }

    fn text(&mut self, bytes: u64) -> Result<()> {
        self.budget.spend(bytes)?;
        let mut text = Vec::new();
        self.from.take(bytes).read_to_end(&mut text)?;
        if (text.len() as u64) < bytes {
            return Err(FormatError::Truncated);
        }
        match String::from_utf8(text) {
            Ok(text) => self.add(Object::Text(text)),
            Err(_) => self.push(Value::Opaque), // Python 2 wrote bytes as text
        }
    }

    fn bytes(&mut self, bytes: u64) -> Result<()> {
        self.skip(bytes)?;
        self.push(Value::Opaque)
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        self.budget.spend(bytes)?;
        let skipped = io::copy(&mut self.from.take(bytes), &mut io::sink())?;
        if skipped < bytes { Err(FormatError::Truncated) } else { Ok(()) }
    }

    fn line(&mut self) -> Result<String> {
        const LONGEST: usize = 200;
        let mut line = Vec::new();
        loop {
            match self.unsigned(1)? as u8 {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                _ if line.len() == LONGEST => return Err(malformed("a name without end")),
                byte => line.push(byte),
            }
        }
    }

    // The stack.

    fn push(&mut self, value: Value) -> Result<()> {
        self.budget.spend(size_of::<Value>() as u64)?;
        self.stack.push(value);
        Ok(())
    }

    fn add(&mut self, object: Object) -> Result<()> {
        let value = self.heap.add(object, self.budget)?;
        self.push(value)
    }

    fn top(&self) -> Result<Value> {
        self.stack.last().copied().ok_or_else(|| malformed("an operation without operands"))
    }

    fn pop(&mut self) -> Result<Value> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>> {
        let rest = self.stack.len().checked_sub(count);
        let rest = rest.ok_or_else(|| malformed("an operation with too few operands"))?;
        Ok(self.stack.drain(rest..).collect())
    }

    fn mark(&mut self) -> Result<()> {
        self.budget.spend(size_of::<usize>() as u64)?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Continues with the number of values since the last mark, which it takes away.
    fn since_mark(&mut self, collect: fn(&mut Self, usize) -> Result<()>) -> Result<()> {
        let mark = self.marks.pop().ok_or_else(|| malformed("the end of a collection that did not begin"))?;
        let count = self.stack.len().checked_sub(mark);
        collect(self, count.ok_or_else(|| malformed("a collection that ends before it began"))?)
    }

    fn drop(&mut self, count: usize) -> Result<()> {
        self.pop_many(count).map(drop)
    }

    fn memoize(&mut self, bytes: usize) -> Result<()> {
        let at = self.unsigned(bytes)?;
        self.memoize_at(at as u32)
    }

    fn memoize_at(&mut self, at: u32) -> Result<()> {
        self.budget.spend(size_of::<(u32, Value)>() as u64)?;
        let top = self.top()?;
        self.memo.insert(at, top);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<()> {
        let at = self.unsigned(bytes)? as u32;
        let value = self.memo.get(&at).copied();
        self.push(value.ok_or_else(|| malformed("a reference to nothing"))?)
    }

    // Collections.

    fn tuple(&mut self, count: usize) -> Result<()> {
        let items = self.pop_many(count)?;
        self.add(Object::Sequence(items))
    }

    fn set(&mut self, count: usize) -> Result<()> {
        self.drop(count)?;
        self.push(Value::Opaque)
    }

    fn append(&mut self, count: usize) -> Result<()> {
        let items = self.pop_many(count)?;
        self.budget.spend(size_of_val(&items[..]) as u64)?;
        match (self.top()?, self.heap.object_mut(self.top()?)) {
            (_, Some(Object::Sequence(list))) => list.extend(items),
            (Value::Opaque | Value::Unread(_), _) => {}
            _ => return Err(malformed("something added to what is not a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, count: usize) -> Result<()> {
        let items = self.pop_many(count)?;
        self.budget.spend(size_of_val(&items[..]) as u64)?;
        match (self.top()?, self.heap.object_mut(self.top()?)) {
            (_, Some(Object::Dictionary(dictionary))) => {
                dictionary.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            (Value::Opaque | Value::Unread(_), _) => {}
            _ => return Err(malformed("an item set in what is not a dictionary")),
        }
        Ok(())
    }

    // What in Python would import and call.

    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        let global = self.heap.global(&module, &name, self.budget)?;
        self.push(global)
    }

    fn stack_global(&mut self) -> Result<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Some(module), Some(name)) = (self.heap.text(module), self.heap.text(name)) else {
            return Err(malformed("a name that is not text"));
        };
        self.budget.spend((module.len() + name.len()) as u64)?;
        let (module, name) = (module.to_owned(), name.to_owned());
        let global = self.heap.global(&module, &name, self.budget)?;
        self.push(global)
    }

    fn call(&mut self) -> Result<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Some(arguments) = self.heap.sequence(arguments) else {
            return Err(malformed("a call without arguments"));
        };
        match (callable, arguments) {
            (Value::Global(Global::Inert) | Value::Opaque, _) => self.push(Value::Opaque),
            (Value::Global(Global::Foreign(name)) | Value::Unread(name), _) => self.push(Value::Unread(name)),
            (Value::Global(Global::OrderedDict), &[]) => self.add(Object::Dictionary(Vec::new())),
            (Value::Global(Global::OrderedDict), &[pairs, ..]) => {
                let pairs = self.pairs(pairs)?;
                self.add(Object::Dictionary(pairs))
            }
            (Value::Global(Global::Parameter), &[tensor, ..]) => self.push(tensor),
            (Value::Global(Global::Tensor), &[unread @ Value::Unread(_), ..]) => self.push(unread),
            (Value::Global(Global::Tensor), &[Value::Storage(storage), offset, shape, strides, ..]) => {
                let view = View {
                    storage,
                    offset: self.natural(offset)?,
                    shape: self.naturals(shape)?,
                    strides: self.naturals(strides)?,
                };
                self.add(Object::Tensor(view))
            }
            _ => Err(malformed("a call with too few arguments, or of what cannot be called")),
        }
    }

    /// A list of pairs, as old Pythons write an ordered dictionary.
    fn pairs(&self, list: Value) -> Result<Vec<(Value, Value)>> {
        let not_pairs = || malformed("a dictionary of what are not pairs");
        let list = self.heap.sequence(list).ok_or_else(not_pairs)?;
        let pair = |&pair| match self.heap.sequence(pair) {
            Some(&[key, value]) => Ok((key, value)),
            _ => Err(not_pairs()),
        };
        list.iter().map(pair).collect()
    }

    fn natural(&self, value: Value) -> Result<usize> {
        match value {
            Value::Int(number) => usize::try_from(number).ok(),
            _ => None,
        }
        .ok_or_else(|| malformed("something else where a length or an offset should be"))
    }

    fn naturals(&self, values: Value) -> Result<Vec<usize>> {
        match self.heap.sequence(values) {
            Some(values) if values.len() <= MOST_AXES => values.iter().map(|&n| self.natural(n)).collect(),
            _ => Err(malformed("something else where the axes of a tensor should be")),
        }
    }

    /// What PyTorch keeps outside of the pickle: `("storage", type, key, device, elements)`, and
    /// in legacy files whether it is a part of another, which it no longer writes.
    fn storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        if let Some(&[_, Value::Global(Global::Foreign(kind)), ..]) = self.heap.sequence(id) {
            return self.push(Value::Unread(kind)); // elements of a type that is not read
        }
        let Some(
            &[tag, Value::Global(Global::Storage(stored)), key, _, elements]
            | &[tag, Value::Global(Global::Storage(stored)), key, _, elements, Value::Opaque],
        ) = self.heap.sequence(id)
        else {
            return Err(malformed("something outside of the pickle that is not a storage"));
        };
        let (Some("storage"), Some(key)) = (self.heap.text(tag), self.heap.text(key)) else {
            return Err(malformed("a storage without a key"));
        };
        let storage = Storage { key: key.to_owned(), stored, elements: self.natural(elements)? as u64 };
        let storage = self.heap.add_storage(storage, self.budget)?;
        self.push(storage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pickle: &[u8]) -> Result<(Heap, Value)> {
        let mut heap = Heap::default();
        let value = read(&mut &pickle[..], &mut heap, &mut Budget::for_description(pickle.len() as u64))?;
        Ok((heap, value))
    }

    #[test]
    fn integers_are_signed_and_of_any_length() {
        for (pickle, expected) in [
            (&b"K\xff."[..], Value::Int(255)),
            (b"M\x01\x02.", Value::Int(0x201)),
            (b"J\xfe\xff\xff\xff.", Value::Int(-2)),
            (b"\x8a\x00.", Value::Int(0)),
            (b"\x8a\x01\xfe.", Value::Int(-2)),
            (b"\x8a\x03\x00\x00\x01.", Value::Int(0x10000)),
            (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", Value::Int(i64::MAX)),
            (b"\x8a\x09\0\0\0\0\0\0\0\0\x01.", Value::Opaque),
        ] {
            assert_eq!(run(pickle).unwrap().1, expected, "{pickle:?}");
        }
    }

    /// Python 2.7: `pickle.dumps(OrderedDict([("a", 1), ("b", 2)]), 2)`, as old files of
    /// torchvision have it.
    #[test]
    fn an_ordered_dictionary_of_python_2() {
        let pickle = b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(]q\x02(U\x01aq\x03K\x01e]q\x04(U\x01bq\x05K\x02ee\x85q\x06Rq\x07.";
        let (heap, value) = run(pickle).unwrap();
        assert_eq!(heap.dictionary(value).unwrap().len(), 2);
        assert_eq!(heap.get(value, "a"), Some(Value::Int(1)));
        assert_eq!(heap.get(value, "b"), Some(Value::Int(2)));
    }

    #[test]
    fn what_foreign_names_make_is_noted_and_not_read() {
        for pickle in [
            &b"\x80\x02cargparse\nNamespace\n)\x81}U\x02lrG\x3f\xb9\x99\x99\x99\x99\x99\x9asb."[..],
            b"\x80\x04\x8c\x08argparse\x8c\x09Namespace\x93)}\x92.", // with arguments by name
            b"\x80\x02cargparse\nNamespace\n)R)R.",                  // what was made is called again
            b"\x80\x02cargparse\nNamespace\n)\x81(K\x01K\x02u(K\x01e.", // items, as of a dictionary or a list
            b"\x80\x02(U\x010cargparse\nNamespace\ntQ.",
        ] {
            let (heap, value) = run(pickle).unwrap();
            assert!(matches!(value, Value::Unread(_)), "{pickle:?}");
            assert!(heap.foreign(value) == Some("argparse.Namespace"), "{pickle:?}");
        }
        let (_, value) = run(b"\x80\x04(K\x01K\x02\x91.").unwrap();
        assert_eq!(value, Value::Opaque, "a frozen set");
        assert_eq!(run(b"G\x3f\xf8\0\0\0\0\0\0.").unwrap().1, Value::Float(1.5));
    }

    #[test]
    fn operations_without_their_operands_are_errors() {
        for pickle in [
            &b"."[..],
            b"t",
            b"0",
            b"Na",
            b"]Ns",
            b"h\x05",
            b"R",
            b"\x92",
            b"\x91",
            b"Q",
            b"NQ",
            b"(0t",
            b"N(0t",
            b"b",
            b"\x85",
            b"\x93",
            b"a",
            b"q\0",
        ] {
            assert!(run(pickle).is_err(), "{pickle:?}");
        }
    }
}
