//! The map from names to tensors that every file is read to and written from.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::{Entry, FormatError};

/// Named tensors in the order in which they were inserted or found, and free-form metadata.
///
/// Equality ignores the order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    entries: IndexMap<String, Entry>,
    /// Text beside the tensors: class names, preprocessing, training state. Only safetensors
    /// files can hold it; other formats leave it out.
    pub metadata: BTreeMap<String, String>,
}

impl Weights {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a tensor under a name, at the end if the name is new, and gives back what the name
    /// stood for before.
    pub fn insert(&mut self, name: impl Into<String>, entry: impl Into<Entry>) -> Option<Entry> {
        self.entries.insert(name.into(), entry.into())
    }

    /// The same for readers, where a name that comes twice means a file that contradicts itself.
    pub(crate) fn insert_new(&mut self, name: String, entry: Entry) -> Result<(), FormatError> {
        match self.entries.entry(name) {
            indexmap::map::Entry::Occupied(taken) => {
                Err(FormatError::Duplicate { name: taken.key().clone() })
            }
            indexmap::map::Entry::Vacant(free) => {
                free.insert(entry);
                Ok(())
            }
        }
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Takes the tensor of that name out; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        self.entries.shift_remove(name)
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The names in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The same with tensors in half precision, as far as [`Entry::to_half`] can: files of half the size.
    #[must_use]
    pub fn to_half(&self) -> Self {
        let entries = self.iter().map(|(name, entry)| (name.to_owned(), entry.to_half())).collect();
        Self { entries, metadata: self.metadata.clone() }
    }

    /// Takes `prefix` off every name if all names begin with it; says whether they did.
    ///
    /// Networks that were trained in a wrapper carry its name in front of every path. The `.pth`
    /// reader takes off those of PyTorch's own (see [`pth`](crate::pth)).
    pub fn strip_prefix(&mut self, prefix: &str) -> bool {
        let all = !self.is_empty() && self.names().all(|name| name.starts_with(prefix));
        if all {
            self.entries = std::mem::take(&mut self.entries)
                .into_iter()
                .map(|(name, entry)| (name[prefix.len()..].to_owned(), entry))
                .collect();
        }
        all
    }

    /// Gives each tensor the name that `new_name` makes of its old one, or returns the first new
    /// name that two tensors would share.
    pub(crate) fn rename_each(&mut self, new_name: impl Fn(&str) -> String) -> Result<(), String> {
        let mut renamed = IndexMap::with_capacity(self.len());
        for (name, entry) in self.iter() {
            let name = new_name(name);
            if renamed.contains_key(&name) {
                return Err(name);
            }
            renamed.insert(name, entry.clone());
        }
        self.entries = renamed;
        Ok(())
    }
}

impl<N: Into<String>, E: Into<Entry>> FromIterator<(N, E)> for Weights {
    fn from_iter<I: IntoIterator<Item = (N, E)>>(entries: I) -> Self {
        let entries = entries.into_iter().map(|(name, entry)| (name.into(), entry.into())).collect();
        Self { entries, metadata: BTreeMap::new() }
    }
}

impl IntoIterator for Weights {
    type Item = (String, Entry);
    type IntoIter = indexmap::map::IntoIter<String, Entry>;

    /// Names and tensors in order.
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use residual_tensor::Tensor;

    use super::*;

    fn named(names: &[&str]) -> Weights {
        names.iter().map(|&name| (name, Tensor::<f32>::zeros([1]))).collect()
    }

    #[test]
    fn the_order_is_that_of_insertion_also_after_removal() {
        let mut weights = named(&["c", "a", "b", "d"]);
        assert!(weights.remove("a").is_some());
        assert!(weights.remove("a").is_none());
        weights.insert("a", Tensor::<f32>::zeros([2]));
        assert_eq!(weights.names().collect::<Vec<_>>(), ["c", "b", "d", "a"]);
    }

    #[test]
    fn a_prefix_goes_only_if_every_name_has_it() {
        let mut wrapped = named(&["module.fc.weight", "module.fc.bias"]);
        assert!(wrapped.strip_prefix("module."));
        assert_eq!(wrapped.names().collect::<Vec<_>>(), ["fc.weight", "fc.bias"]);
        let mut mixed = named(&["module.a", "b"]);
        assert!(!mixed.strip_prefix("module."));
        assert_eq!(mixed.names().collect::<Vec<_>>(), ["module.a", "b"]);
    }
}
