//! From a checkpoint's objects to named tensors: which dictionary it is, and where in the
//! storages each of its elements lies.

use std::{
    collections::HashMap,
    io::{self, Read, Seek},
};

use super::{
    archive::Record,
    budget::Budget,
    heap::{Heap, Storage, Value, View},
};
use crate::{
    Entry, FormatError, Weights,
    stored::{ByteOrder, checked_shape},
};

type Result<T> = std::result::Result<T, FormatError>;

fn malformed(problem: String) -> FormatError {
    FormatError::Malformed { format: "state_dict", problem }
}

/// Under which keys checkpoints hold a network's weights beside other things.
const NESTED: [&str; 4] = ["state_dict", "model_state_dict", "model", "net"];

/// The named tensors of a checkpoint: those of a nested dictionary, or of the checkpoint itself.
/// What else it holds (epoch, best accuracy, optimizer) is left out.
pub(super) fn find(heap: &Heap, checkpoint: Value) -> Result<Vec<(&str, &View)>> {
    let nested = NESTED.iter().filter_map(|key| heap.get(checkpoint, key));
    for dictionary in nested.chain([checkpoint]) {
        let items = heap.dictionary(dictionary).unwrap_or_default();
        let tensors = items.iter().filter_map(|&(name, value)| Some((heap.text(name), heap.tensor(value)?)));
        let named = tensors.map(|(name, view)| match name {
            Some(name) => Ok((name, view)),
            None => Err(malformed("a tensor whose name is not text".into())),
        });
        let named = named.collect::<Result<Vec<_>>>()?;
        if !named.is_empty() {
            return Ok(named);
        }
    }
    let keys = heap.dictionary(checkpoint).unwrap_or_default().iter().filter_map(|&(key, _)| heap.text(key));
    Err(FormatError::NoStateDict { keys: keys.take(8).map(str::to_owned).collect() })
}

/// Where the storages of a file are.
pub(super) struct Storages {
    pub(super) records: HashMap<String, Record>,
    pub(super) order: ByteOrder,
}

impl Storages {
    /// Reads the named tensors. Views of the same elements share memory.
    pub(super) fn assemble<R: Read + Seek>(
        &self,
        heap: &Heap,
        tensors: &[(&str, &View)],
        from: &mut R,
        budget: &mut Budget,
    ) -> Result<Weights> {
        let mut weights = Weights::new();
        let mut read: HashMap<&View, Entry> = HashMap::new();
        for &(name, view) in tensors {
            budget.spend((size_of::<Entry>() + name.len() + size_of_val(&view.shape[..])) as u64)?;
            let entry = match read.get(view) {
                Some(entry) => entry.clone(),
                None => self.read(name, view, &heap.storages[view.storage], from, budget)?,
            };
            read.insert(view, entry.clone());
            weights.insert_new(name.to_owned(), entry)?;
        }
        Ok(weights)
    }

    fn read<R: Read + Seek>(
        &self,
        name: &str,
        view: &View,
        storage: &Storage,
        from: &mut R,
        budget: &mut Budget,
    ) -> Result<Entry> {
        let shape = checked_shape(name, &view.shape)?;
        let stored = storage.stored;
        budget.spend((shape.elements() * stored.size_in_memory()) as u64)?;
        if shape.elements() == 0 {
            return Ok(stored.read(&shape, self.order, &mut io::empty())?);
        }

        let beyond = || malformed(format!("`{name}` reaches beyond the storage of its elements"));
        let span = view.span().ok_or_else(beyond)?;
        let end = view.offset.checked_add(span).ok_or_else(beyond)? as u64;
        let record = self.records.get(&storage.key);
        let record =
            record.ok_or_else(|| malformed(format!("the storage of `{name}` is not in the file")))?;
        let length = storage.elements.checked_mul(stored.size() as u64).ok_or_else(beyond)?;
        if end > storage.elements || length > record.length {
            return Err(beyond());
        }

        let skipped = (view.offset * stored.size()) as u64;
        let mut from = record.open(from, skipped, budget)?;
        if view.is_row_major() {
            return Ok(stored.read(&shape, self.order, &mut from)?);
        }
        let span = checked_shape(name, &[span])?;
        budget.spend((span.elements() * stored.size_in_memory()) as u64)?;
        let elements = stored.read(&span, self.order, &mut from)?;
        elements.strided(&view.shape, &view.strides).ok_or_else(beyond)
    }
}
