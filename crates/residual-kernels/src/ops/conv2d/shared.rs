//! Memory that several threads write to, each its own part.

use std::marker::PhantomData;

/// A slice that tasks write to without overlap.
///
/// The borrow checker cannot see that tiles of a tensor are disjoint; those who write through
/// [`at`](Self::at) must.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    start: *mut f32,
    length: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: nothing is accessed through this type itself; whoever dereferences a pointer from it
// promises that no other thread accesses the same elements.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Lends the whole slice.
    pub(super) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// How many elements there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The address of element `index`; the end is allowed.
    pub(super) fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.length, "element {index} of {}", self.length);
        // SAFETY: within the slice or at its end.
        unsafe { self.start.add(index) }
    }
}
