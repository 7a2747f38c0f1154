//! From a checkpoint's objects to named tensors: which dictionary holds them, and where in the
//! storages each of its elements lies.

use std::{
    collections::HashMap,
    io::{self, Read, Seek},
};

use super::{
    archive::Record,
    heap::{Heap, Storage, Value, View},
};
use crate::{
    Entry, FormatError,
    budget::Budget,
    stored::{ByteOrder, checked_shape},
};

type Result<T> = std::result::Result<T, FormatError>;

fn malformed(problem: String) -> FormatError {
    FormatError::Malformed { format: "state_dict", problem }
}

/// Under which keys checkpoints hold a network's weights, averaged ones first: they are what a
/// training that averages evaluates and publishes.
pub(super) const NESTED: [&str; 6] =
    ["state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net"];

/// What `DataParallel` and `torch.compile` put in front of every name of the network in them.
pub const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// How many networks `torch.optim.swa_utils.AveragedModel` has averaged; it stands beside them.
const AVERAGED: &str = "n_averaged";

/// The named tensors of a checkpoint.
pub(super) struct StateDict<'a> {
    /// The key in the checkpoint; nothing if they are the checkpoint itself.
    pub(super) key: Option<&'static str>,
    pub(super) tensors: Vec<(&'a str, &'a View)>,
}

/// Finds the first dictionary with tensors in it: under one of the keys of [`NESTED`], or the
/// checkpoint itself. What else there is (epoch, best accuracy, optimizer) is left out.
pub(super) fn find(heap: &Heap, checkpoint: Value) -> Result<StateDict<'_>> {
    let nested = NESTED.iter().filter_map(|&key| Some((Some(key), heap.get(checkpoint, key)?)));
    for (key, dictionary) in nested.chain([(None, checkpoint)]) {
        let mut tensors = tensors_of(heap, dictionary)?;
        if !tensors.is_empty() {
            unwrap(&mut tensors);
            return Ok(StateDict { key, tensors });
        }
    }
    let objects = NESTED.iter().filter_map(|key| heap.foreign(heap.get(checkpoint, key)?));
    if let Some(name) = heap.foreign(checkpoint).into_iter().chain(objects).next() {
        return Err(FormatError::Object { name: name.to_owned() });
    }
    let keys = heap.dictionary(checkpoint).unwrap_or_default().iter().filter_map(|&(key, _)| heap.text(key));
    Err(FormatError::NoStateDict { keys: keys.take(8).map(str::to_owned).collect() })
}

/// The tensors among the items of a dictionary.
///
/// # Errors
/// If one of them has no name, or is of a kind that is not read: a network must not lose it silently.
fn tensors_of(heap: &Heap, dictionary: Value) -> Result<Vec<(&str, &View)>> {
    let mut tensors = Vec::new();
    for &(name, value) in heap.dictionary(dictionary).unwrap_or_default() {
        match (heap.text(name), heap.tensor(value), heap.foreign(value)) {
            (Some(name), Some(view), _) => tensors.push((name, view)),
            (None, Some(_), _) => return Err(malformed("a tensor whose name is not text".into())),
            (Some(name), None, Some(maker)) if makes_tensors(maker) => {
                return Err(FormatError::Dtype { name: name.to_owned(), dtype: maker.to_owned() });
            }
            _ => {}
        }
    }
    Ok(tensors)
}

/// Whether a foreign name is PyTorch's for a tensor: quantized, sparse, complex, …
fn makes_tensors(foreign: &str) -> bool {
    let rebuilt = foreign.starts_with("torch._") || foreign.starts_with("torch.nn.parameter.");
    rebuilt || foreign.starts_with("torch.") && foreign.ends_with("Storage")
}

/// Takes off what wrappers have put around the names.
fn unwrap(tensors: &mut Vec<(&str, &View)>) {
    let is_wrapped = |name: &str| WRAPPERS.iter().any(|wrapper| name.starts_with(wrapper));
    if tensors.iter().any(|(name, _)| is_wrapped(name))
        && tensors.iter().all(|(name, _)| *name == AVERAGED || is_wrapped(name))
    {
        tensors.retain(|(name, _)| *name != AVERAGED);
    }
    let around_all = |tensors: &[(&str, &View)], wrapper: &str| {
        !tensors.is_empty() && tensors.iter().all(|(name, _)| name.starts_with(wrapper))
    };
    while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| around_all(tensors, wrapper)) {
        tensors.iter_mut().for_each(|(name, _)| *name = &name[wrapper.len()..]);
    }
}

/// What a value of a checkpoint is, in a few words.
pub(super) fn describe(heap: &Heap, value: Value) -> String {
    let items = |count: usize, of: &str| format!("{of} of {count}");
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        _ => match (heap.text(value), heap.dictionary(value), heap.sequence(value), heap.foreign(value)) {
            (Some(text), ..) => text.to_owned(),
            (_, Some(pairs), ..) => items(pairs.len(), "a dictionary"),
            (_, _, Some(list), _) => items(list.len(), "a list"),
            (.., Some(name)) => format!("{name}, not read"),
            _ if heap.tensor(value).is_some() => "a tensor".to_owned(),
            _ => "not read".to_owned(),
        },
    }
}

/// Where the storages of a file are.
pub(super) struct Storages {
    pub(super) records: HashMap<String, Record>,
    pub(super) order: ByteOrder,
}

impl Storages {
    /// Reads the named tensors one by one. Views of the same elements share memory.
    pub(super) fn read_each<R: Read + Seek>(
        &self,
        heap: &Heap,
        tensors: &[(&str, &View)],
        from: &mut R,
        budget: &mut Budget,
        mut each: impl FnMut(&str, Entry) -> Result<()>,
    ) -> Result<()> {
        let mut read: HashMap<&View, Entry> = HashMap::new();
        for &(name, view) in tensors {
            budget.spend((size_of::<Entry>() + name.len() + size_of_val(&view.shape[..])) as u64)?;
            let entry = match read.get(view) {
                Some(entry) => entry.clone(),
                None => self.read(name, view, &heap.storages[view.storage], from, budget)?,
            };
            read.insert(view, entry.clone());
            each(name, entry)?;
        }
        Ok(())
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
