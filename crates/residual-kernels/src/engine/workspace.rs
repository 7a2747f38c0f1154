//! Memory that a task needs while it runs, kept by each thread for its next task.
//!
//! The tensors' pool would do, but for a lock and two small allocations at each turn; and a task
//! finds its own memory in its own second cache.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

use residual_tensor::{Layout, Tensor};

/// How many pieces a thread keeps: as many as are in use at once, one inside the other.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Tensor<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers of unspecified values, aligned to a cache line.
pub(crate) struct Workspace {
    /// None only while it is dropped.
    memory: Option<Tensor<f32>>,
    length: usize,
}

impl Workspace {
    /// So many numbers: of the pieces that the thread has, in the smallest that is large enough.
    pub(crate) fn take(length: usize) -> Self {
        let kept = FREE.with_borrow_mut(|free| {
            let suited = free.iter().enumerate().filter(|(_, memory)| memory.len() >= length);
            let smallest = suited.min_by_key(|(_, memory)| memory.len()).map(|(index, _)| index);
            smallest.map(|index| free.swap_remove(index))
        });
        let memory = kept.unwrap_or_else(|| Tensor::unfilled([length], Layout::Contiguous));
        Self { memory: Some(memory), length }
    }
}

impl Deref for Workspace {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        self.memory.as_ref().map_or(&[], |memory| &memory.as_slice()[..self.length])
    }
}

impl DerefMut for Workspace {
    fn deref_mut(&mut self) -> &mut [f32] {
        let length = self.length;
        self.memory.as_mut().map_or(&mut [], |memory| &mut memory.as_mut_slice()[..length])
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        FREE.with_borrow_mut(|free| {
            free.extend(self.memory.take());
            if free.len() > KEPT {
                let smallest = (0..free.len()).min_by_key(|&index| free[index].len());
                smallest.map(|index| free.swap_remove(index));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_its_own_memory_back() {
        let (large, small) = (Workspace::take(1000), Workspace::take(10));
        let addresses = [large.as_ptr(), small.as_ptr()];
        drop((large, small));
        // The smallest that fits, whatever came back first.
        let (small, large) = (Workspace::take(7), Workspace::take(900));
        assert_eq!([large.as_ptr(), small.as_ptr()], addresses);
        assert_eq!([large.len(), small.len()], [900, 7]);
    }

    #[test]
    fn no_more_is_kept_than_is_used_at_once() {
        drop((1..100).map(Workspace::take).collect::<Vec<_>>());
        FREE.with_borrow(|free| {
            assert_eq!(free.len(), KEPT);
            assert!(free.iter().all(|memory| memory.len() > 99 - KEPT), "the largest stay");
        });
    }
}
