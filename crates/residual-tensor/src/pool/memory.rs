//! Memory from the system: zeroed, aligned, in huge pages where it is large enough for them.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::NonNull,
};

use super::ALIGNMENT;

const HUGE_PAGE: usize = 2 << 20;

/// An allocation, given back when dropped. It begins as zeros; pages that nothing is ever read
/// from or written to take up no memory.
pub(crate) struct Memory {
    pointer: NonNull<u8>,
    bytes: usize,
    /// Bytes of the allocation before `pointer`, which is aligned.
    skipped: usize,
}

// SAFETY: it is exclusively owned and has no tie to a thread.
unsafe impl Send for Memory {}
// SAFETY: shared, it only lends its address.
unsafe impl Sync for Memory {}

impl Memory {
    /// `bytes` bytes; `None` if the system refuses.
    ///
    /// They are aligned here: asked for aligned memory, the standard library clears it by
    /// writing, and every page would take up memory.
    pub(super) fn zeroed(bytes: usize) -> Option<Self> {
        // SAFETY: the layout's size is not zero, as an alignment is added.
        let start = NonNull::new(unsafe { alloc_zeroed(Self::layout(bytes)?) })?;
        let skipped = start.addr().get().next_multiple_of(alignment(bytes)) - start.addr().get();
        // SAFETY: less than `alignment` bytes, and the allocation has that many more than `bytes`.
        let pointer = unsafe { start.add(skipped) };
        ask_for_huge_pages(pointer, bytes);
        Some(Self { pointer, bytes, skipped })
    }

    pub(super) fn pointer(&self) -> NonNull<u8> {
        self.pointer
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of an allocation that has room for aligned bytes; `None` if no system could have it.
    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.checked_add(alignment(bytes))?, 1).ok()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: that is where the allocation starts, as in `zeroed`.
        let start = unsafe { self.pointer.sub(self.skipped) };
        let layout = Self::layout(self.bytes).expect("the layout that it was allocated with");
        // SAFETY: it came from `alloc_zeroed` with this layout and is given up here.
        unsafe { dealloc(start.as_ptr(), layout) }
    }
}

fn alignment(bytes: usize) -> usize {
    if bytes < HUGE_PAGE { ALIGNMENT } else { HUGE_PAGE }
}

#[cfg(target_os = "linux")]
fn ask_for_huge_pages(pointer: NonNull<u8>, bytes: usize) {
    if bytes >= HUGE_PAGE {
        // SAFETY: the range was just allocated and starts on a page; the call is advice, and
        // its failure changes nothing.
        unsafe { libc::madvise(pointer.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_pointer: NonNull<u8>, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zeroed() {
        for bytes in [64, 5 << 10, 1 << 20, 2 << 20, 5 << 20] {
            let memory = Memory::zeroed(bytes).unwrap();
            assert!(memory.pointer.addr().get().is_multiple_of(alignment(bytes)), "{bytes}");
            // SAFETY: it is initialised memory of that length.
            let content = unsafe { std::slice::from_raw_parts(memory.pointer.as_ptr(), bytes) };
            assert!(content.iter().all(|&byte| byte == 0), "{bytes}");
        }
    }

    #[test]
    fn what_no_system_has_is_refused() {
        for bytes in [usize::MAX, isize::MAX as usize, isize::MAX as usize / 2] {
            assert!(Memory::zeroed(bytes).is_none(), "{bytes}");
        }
    }
}
