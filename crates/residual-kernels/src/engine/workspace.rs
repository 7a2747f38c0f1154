//! Memory that a task needs while it runs, kept by each thread for its next task.
//!
//! The tensors' pool would do, but for a lock and two small allocations at each turn; and a task
//! finds its own memory in its own second cache.

use std::{
    cell::RefCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use residual_tensor::{Float, Layout, Tensor};

/// How many pieces a thread keeps: as many as are in use at once, one inside the other.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Tensor<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers of unspecified values, aligned to a cache line.
pub(crate) struct Workspace<T> {
    /// None only while it is dropped.
    memory: Option<Tensor<u8>>,
    bytes: usize,
    numbers: PhantomData<T>,
}

impl<T: Float> Workspace<T> {
    /// So many numbers: of the pieces that the thread has, in the smallest that is large enough.
    pub(crate) fn take(length: usize) -> Self {
        let bytes = length * size_of::<T>();
        let kept = FREE.with_borrow_mut(|free| {
            let suited = free.iter().enumerate().filter(|(_, memory)| memory.len() >= bytes);
            let smallest = suited.min_by_key(|(_, memory)| memory.len()).map(|(index, _)| index);
            smallest.map(|index| free.swap_remove(index))
        });
        let memory = kept.unwrap_or_else(|| Tensor::unfilled([bytes], Layout::Contiguous));
        Self { memory: Some(memory), bytes, numbers: PhantomData }
    }
}

impl<T: Float> Deref for Workspace<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.memory.as_ref().map_or(&[], |memory| bytemuck::cast_slice(&memory.as_slice()[..self.bytes]))
    }
}

impl<T: Float> DerefMut for Workspace<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let bytes = self.bytes;
        let memory = self.memory.as_mut();
        memory.map_or(&mut [], |memory| bytemuck::cast_slice_mut(&mut memory.as_mut_slice()[..bytes]))
    }
}

impl<T> Drop for Workspace<T> {
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
        let (large, small) = (Workspace::<f32>::take(1000), Workspace::<f64>::take(10));
        let addresses = [large.as_ptr().addr(), small.as_ptr().addr()];
        drop((large, small));
        // The smallest that fits, whatever came back first.
        let (small, large) = (Workspace::<f32>::take(20), Workspace::<f64>::take(450));
        assert_eq!([large.as_ptr().addr(), small.as_ptr().addr()], addresses);
        assert_eq!([large.len(), small.len()], [450, 20]);
    }

    #[test]
    fn no_more_is_kept_than_is_used_at_once() {
        drop((1..100).map(Workspace::<f32>::take).collect::<Vec<_>>());
        FREE.with_borrow(|free| {
            assert_eq!(free.len(), KEPT);
            assert!(
                free.iter().all(|memory| memory.len() > (99 - KEPT) * size_of::<f32>()),
                "the largest stay"
            );
        });
    }
}
