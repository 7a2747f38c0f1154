//! A fixed-length run of elements in an aligned block. It has no shape: that is a tensor's.

use std::{
    fmt,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
};

use crate::{
    Element, Result, Shape, TensorError,
    memory::{Block, GRAIN},
};

/// Like a boxed slice, but 64-byte aligned and from [memory](crate::memory) that is recycled: what
/// tensors are made of, and room for intermediate results of kernels.
pub struct Buffer<T: Element> {
    block: ManuallyDrop<Block>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// A buffer of `len` elements whose values are whatever the memory held before.
    ///
    /// # Panics
    /// If [`try_unfilled`](Self::try_unfilled) gives an error.
    #[track_caller]
    pub fn unfilled(len: usize) -> Self {
        Self::try_unfilled(len).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A buffer of `len` elements whose values are whatever the memory held before.
    ///
    /// # Errors
    /// [`TensorError::TooLarge`] if memory cannot address so many elements,
    /// [`TensorError::OutOfMemory`] if the system has no memory for them.
    pub fn try_unfilled(len: usize) -> Result<Self> {
        Self::in_block(len, 0)
    }

    /// [`unfilled`](Self::unfilled) for room that is needed again and again: however small, it comes
    /// from memory that this crate recycles, and not from the global allocator.
    ///
    /// # Panics
    /// As [`unfilled`](Self::unfilled).
    #[track_caller]
    pub fn recycled(len: usize) -> Self {
        let least = if len == 0 { 0 } else { GRAIN };
        Self::in_block(len, least).unwrap_or_else(|error| panic!("{error}"))
    }

    /// In a block of at least `least` bytes.
    fn in_block(len: usize, least: usize) -> Result<Self> {
        let bytes = (Shape::count(&[len])? * size_of::<T>()).max(least);
        match Block::acquire(bytes) {
            Some(block) => Ok(Self { block: ManuallyDrop::new(block), len, element: PhantomData }),
            None => Err(TensorError::OutOfMemory { shape: Shape::new([len])?, bytes }),
        }
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

impl<T: Element> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}
