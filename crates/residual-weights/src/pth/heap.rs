//! The objects that a pickle describes. Not Python objects: only what a file of weights is made
//! of is told apart.
//!
//! Objects lie side by side and refer to each other by index, so that neither deep nesting nor
//! cycles, which a hostile file can have, need recursion anywhere.

use indexmap::IndexSet;

use super::globals::Global;
use crate::{FormatError, budget::Budget, stored::Stored};

/// A value on the pickle's stack or inside a container.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// What is not looked at: `None`, bytes, and whatever an inert name makes of values.
    Opaque,
    /// What a foreign name makes of values, by the index of that name: something not read.
    Unread(usize),
    Bool(bool),
    Int(i64),
    Float(f64),
    Global(Global),
    /// The index of a storage.
    Storage(usize),
    /// The index of an object.
    Object(usize),
}

#[derive(Debug)]
pub(super) enum Object {
    Text(String),
    /// A list or a tuple.
    Sequence(Vec<Value>),
    Dictionary(Vec<(Value, Value)>),
    Tensor(View),
}

/// A run of elements of one type, stored under a key.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) stored: Stored,
    pub(super) elements: u64,
}

/// A tensor as a look at a storage: element `[i, j, …]` is number
/// `offset + i·strides[0] + j·strides[1] + …` of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct View {
    /// The storage's index.
    pub(super) storage: usize,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl View {
    /// How many elements of the storage lie between the first and the last of the view, both
    /// included. Only for views that are not empty.
    pub(super) fn span(&self) -> Option<usize> {
        let mut steps = self.shape.iter().zip(&self.strides).map(|(&n, &stride)| (n - 1).checked_mul(stride));
        if self.shape.len() != self.strides.len() {
            return None;
        }
        steps.try_fold(1usize, |span, step| span.checked_add(step?))
    }

    /// Whether successive elements lie side by side.
    pub(super) fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&n, &stride)| {
            let matches = n == 1 || stride == expected;
            expected *= n;
            matches
        })
    }
}

/// All objects and storages of a file's pickles.
#[derive(Debug, Default)]
pub(super) struct Heap {
    objects: Vec<Object>,
    /// In the order in which the pickles mention them.
    pub(super) storages: IndexSet<Storage>,
    /// The names that are not on the allow-list.
    foreign: IndexSet<String>,
}

impl Heap {
    pub(super) fn add(&mut self, object: Object, budget: &mut Budget) -> Result<Value, FormatError> {
        let content = match &object {
            Object::Text(_) => 0, // paid for before it was read
            Object::Sequence(values) => size_of_val(&values[..]),
            Object::Dictionary(pairs) => size_of_val(&pairs[..]),
            Object::Tensor(view) => size_of_val(&view.shape[..]) + size_of_val(&view.strides[..]),
        };
        budget.spend((size_of::<Object>() + content) as u64)?;
        self.objects.push(object);
        Ok(Value::Object(self.objects.len() - 1))
    }

    pub(super) fn add_storage(
        &mut self,
        storage: Storage,
        budget: &mut Budget,
    ) -> Result<Value, FormatError> {
        budget.spend((size_of::<Storage>() + storage.key.len()) as u64)?;
        Ok(Value::Storage(self.storages.insert_full(storage).0))
    }

    /// What a name stands for, on the allow-list or not.
    pub(super) fn global(
        &mut self,
        module: &str,
        name: &str,
        budget: &mut Budget,
    ) -> Result<Value, FormatError> {
        if let Some(global) = Global::allowed(module, name) {
            return Ok(Value::Global(global));
        }
        let name = format!("{module}.{name}");
        budget.spend((size_of::<String>() + name.len()) as u64)?;
        Ok(Value::Global(Global::Foreign(self.foreign.insert_full(name).0)))
    }

    /// The foreign name that made a value, or that it is.
    pub(super) fn foreign(&self, value: Value) -> Option<&str> {
        match value {
            Value::Unread(name) | Value::Global(Global::Foreign(name)) => {
                self.foreign.get_index(name).map(String::as_str)
            }
            _ => None,
        }
    }

    fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    pub(super) fn object_mut(&mut self, value: Value) -> Option<&mut Object> {
        match value {
            Value::Object(index) => self.objects.get_mut(index),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::Sequence(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn dictionary(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.object(value)? {
            Object::Dictionary(pairs) => Some(pairs),
            _ => None,
        }
    }

    pub(super) fn tensor(&self, value: Value) -> Option<&View> {
        match self.object(value)? {
            Object::Tensor(view) => Some(view),
            _ => None,
        }
    }

    /// What a dictionary holds under a key.
    pub(super) fn get(&self, dictionary: Value, key: &str) -> Option<Value> {
        let pairs = self.dictionary(dictionary)?;
        pairs.iter().rev().find(|&&(k, _)| self.text(k) == Some(key)).map(|&(_, value)| value)
    }
}
