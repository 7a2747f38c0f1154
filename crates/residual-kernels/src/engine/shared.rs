//! Memory that several threads write to, each its own part.

use std::marker::PhantomData;

/// A slice that tasks write to without overlap.
///
/// The borrow checker cannot see that tiles of a tensor are disjoint; code that writes through
/// [`at`](Self::at) must see to it.
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: nothing is accessed through this type itself; whoever dereferences a pointer from it
// promises that no other thread accesses the same elements.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Lends the whole slice.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The address of element `index`; the end is allowed.
    pub(crate) fn at(&self, index: usize) -> *mut T {
        assert!(index <= self.length, "element {index} of {}", self.length);
        // SAFETY: within the slice or at its end.
        unsafe { self.start.add(index) }
    }
}
