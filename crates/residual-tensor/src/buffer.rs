//! A fixed-length run of elements in a pooled, aligned block.

use std::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
};

use crate::{Element, pool::Block};

/// Like a boxed slice, but 64-byte aligned and drawn from the [pool](crate::pool).
pub(crate) struct Buffer<T: Element> {
    block: ManuallyDrop<Block>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// A buffer of `len` elements whose values are whatever the memory held before; `None` if the
    /// system has no memory for it.
    pub(crate) fn unfilled(len: usize) -> Option<Self> {
        let block = Block::acquire(len.checked_mul(size_of::<T>())?)?;
        Some(Self { block: ManuallyDrop::new(block), len, element: PhantomData })
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: the block is taken once, here, and not used afterwards.
        unsafe { ManuallyDrop::take(&mut self.block) }.release();
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the block holds at least `len` elements, is aligned for any element (asserted
        // where `Element` is implemented), and its memory is initialised; every bit pattern is a
        // valid `T` (Pod).
        unsafe { std::slice::from_raw_parts(self.block.pointer().cast().as_ptr(), self.len) }
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the block is exclusively owned.
        unsafe { std::slice::from_raw_parts_mut(self.block.pointer().cast().as_ptr(), self.len) }
    }
}
