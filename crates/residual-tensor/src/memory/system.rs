//! Memory from the system: zeroed, aligned, in huge pages where it is large enough for them.
//!
//! It comes through the program's global allocator, so that whatever counts or limits that
//! allocator sees it. Large allocations are whole pages, which [`discard`](Memory::discard) gives
//! back without freeing the allocation.
//!
//! Not here: who uses which part of it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ops::Range,
    ptr::NonNull,
};

use super::{ALIGNMENT, arena::GRAIN};

const HUGE_PAGE: usize = 2 << 20;

/// An allocation, freed when dropped. It begins as zeros; pages that nothing is ever read from or
/// written to take up no memory.
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

    /// Gives the pages within `range` back to the system, and says whether it could. They read as
    /// zeros afterwards, and take up memory again when something is written to them.
    ///
    /// # Safety
    /// Nothing else may look at the range meanwhile, or expect its content to stay.
    pub(super) unsafe fn discard(&self, range: Range<usize>) -> bool {
        assert!(range.start <= range.end && range.end <= self.bytes);
        // SAFETY: the range lies inside of the allocation.
        unsafe { discard_pages(self.pointer.add(range.start), range.len()) }
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
    match bytes {
        ..GRAIN => ALIGNMENT,
        GRAIN..HUGE_PAGE => GRAIN,
        _ => HUGE_PAGE,
    }
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

/// Gives back the pages that lie within the range as a whole.
///
/// # Safety
/// The range must be part of an allocation, and nobody else's.
#[cfg(target_os = "linux")]
unsafe fn discard_pages(pointer: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the call reads a constant of the system.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(64 << 10);
    let (start, end) = (pointer.addr().get(), pointer.addr().get() + bytes);
    let (first, last) = (start.next_multiple_of(page), end / page * page);
    if first >= last {
        return false;
    }
    // SAFETY: the pages lie inside of the range, which is the caller's alone. Private memory reads
    // as zeros after MADV_DONTNEED (madvise(2)), and if the call is refused it stays as it is:
    // either way it is initialised.
    unsafe {
        libc::madvise(pointer.as_ptr().add(first - start).cast(), last - first, libc::MADV_DONTNEED) == 0
    }
}

/// Other systems promise nothing like it; they get memory back region by region.
///
/// # Safety
/// None is needed.
#[cfg(not(target_os = "linux"))]
unsafe fn discard_pages(_pointer: NonNull<u8>, _bytes: usize) -> bool {
    false
}

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

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_discarded_reads_as_zeros_and_what_lies_beside_it_stays() {
        const BYTES: usize = 4 << 20;
        let memory = Memory::zeroed(BYTES).unwrap();
        // SAFETY: it is initialised memory of that length, and nobody else's.
        let content = || unsafe { std::slice::from_raw_parts_mut(memory.pointer.as_ptr(), BYTES) };
        content().fill(7);
        // Neither end is on a page: up to a page of the range stays at each.
        let range = (1 << 20) + 100..(3 << 20) - 100;
        // SAFETY: nothing borrows the content at this point.
        assert!(unsafe { memory.discard(range.clone()) });
        let content = content();
        let zeros = content.iter().filter(|&&byte| byte == 0).count();
        assert!((range.len() - (128 << 10)..=range.len()).contains(&zeros), "{zeros}");
        assert!(content[..range.start].iter().chain(&content[range.end..]).all(|&byte| byte == 7));
        // SAFETY: nothing borrows the content at this point.
        assert!(!unsafe { memory.discard(1..50) }, "less than a page");
    }
}
