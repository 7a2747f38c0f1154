//! The pool of memory blocks that all buffers come from and return to.
//!
//! A training step allocates the same sizes again and again. Fresh memory has to be mapped,
//! cleared and faulted in page by page, which costs more than most kernels that use it; a
//! recycled block costs a lock and a pop. Blocks of 2 MiB and more are aligned to huge pages
//! and ask the system for them.
//!
//! Recycled memory is handed out as it is. It has been written before (fresh blocks are
//! zeroed), so that reading it is defined for every [`Element`](crate::Element).

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    collections::BTreeMap,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Every block starts at a multiple of this: a cache line, and an AVX-512 register.
pub const ALIGNMENT: usize = 64;
const HUGE_PAGE: usize = 2 << 20;
/// Below this the system's allocator is as fast.
const SMALLEST_POOLED: usize = 4 << 10;

static POOL: Mutex<Pool> = Mutex::new(Pool { free: BTreeMap::new(), statistics: Statistics::NEW });

struct Pool {
    free: BTreeMap<usize, Vec<Block>>,
    statistics: Statistics,
}

/// What the pool has done and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes in use by buffers.
    pub in_use: usize,
    /// The most bytes that were ever in use at once.
    pub peak: usize,
    /// Bytes kept for reuse.
    pub retained: usize,
    /// Blocks that had to come from the system.
    pub fresh: usize,
    /// Blocks that were reused.
    pub reused: usize,
}

impl Statistics {
    const NEW: Self = Self { in_use: 0, peak: 0, retained: 0, fresh: 0, reused: 0 };
}

/// What the pool has done since the process began, and holds now.
pub fn statistics() -> Statistics {
    lock().statistics
}

/// Gives all retained memory back to the system.
pub fn trim() {
    let free = {
        let mut pool = lock();
        pool.statistics.retained = 0;
        std::mem::take(&mut pool.free)
    };
    for block in free.into_values().flatten() {
        block.free();
    }
}

fn lock() -> MutexGuard<'static, Pool> {
    // Nothing panics while the lock is held; a poisoned pool is still a consistent one.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A piece of initialised memory, owned.
pub(crate) struct Block {
    pointer: NonNull<u8>,
    bytes: usize,
    /// Bytes of the allocation before `pointer`, which is aligned.
    skipped: usize,
}

// SAFETY: a block is exclusively owned memory without any tie to a thread.
unsafe impl Send for Block {}
// SAFETY: a shared block only lends its address.
unsafe impl Sync for Block {}

impl Block {
    /// At least `bytes` bytes of initialised memory with unspecified contents.
    pub(crate) fn acquire(bytes: usize) -> Self {
        let bytes = size_class(bytes);
        if bytes < SMALLEST_POOLED {
            return Self::fresh(bytes);
        }
        let recycled = {
            let mut pool = lock();
            let block = pool.free.get_mut(&bytes).and_then(Vec::pop);
            let statistics = &mut pool.statistics;
            statistics.in_use += bytes;
            statistics.peak = statistics.peak.max(statistics.in_use);
            match block {
                Some(_) => {
                    statistics.retained -= bytes;
                    statistics.reused += 1;
                }
                None => statistics.fresh += 1,
            }
            block
        };
        recycled.unwrap_or_else(|| Self::fresh(bytes))
    }

    /// Returns the block to the pool.
    pub(crate) fn release(self) {
        if self.bytes < SMALLEST_POOLED {
            return self.free();
        }
        let mut pool = lock();
        pool.statistics.in_use -= self.bytes;
        pool.statistics.retained += self.bytes;
        pool.free.entry(self.bytes).or_default().push(self);
    }

    pub(crate) fn pointer(&self) -> NonNull<u8> {
        self.pointer
    }

    /// Memory from the system, aligned here: asked for aligned memory, the standard library clears
    /// it by writing, and pages that nothing is ever read from or written to would take up memory.
    fn fresh(bytes: usize) -> Self {
        let layout = Self::layout(bytes);
        // SAFETY: the layout's size is not zero, `size_class` sees to that.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        let skipped = start.addr().get().next_multiple_of(alignment(bytes)) - start.addr().get();
        // SAFETY: less than `alignment` bytes, and the allocation has that many more than `bytes`.
        let pointer = unsafe { start.add(skipped) };
        ask_for_huge_pages(pointer, bytes);
        Self { pointer, bytes, skipped }
    }

    fn free(self) {
        // SAFETY: that is where the allocation starts, as in `fresh`.
        let start = unsafe { self.pointer.sub(self.skipped) };
        // SAFETY: it came from `alloc_zeroed` with this layout and is given up here.
        unsafe { dealloc(start.as_ptr(), Self::layout(self.bytes)) }
    }

    /// Of an allocation that has room for an aligned block.
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes + alignment(bytes), 1).expect("a size below isize::MAX")
    }
}

fn alignment(bytes: usize) -> usize {
    if bytes < HUGE_PAGE { ALIGNMENT } else { HUGE_PAGE }
}

/// Rounds up to one of four sizes per power of two, so that nearly equal requests share
/// blocks and at most a fifth of a block is unused.
fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(ALIGNMENT);
    let step = (bytes.next_power_of_two() / 8).max(ALIGNMENT);
    bytes.div_ceil(step) * step
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
    fn classes_cover_the_request_and_waste_little() {
        for bytes in (1..20_000).chain([1 << 20, (1 << 20) + 1, (3 << 20) + 7]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGNMENT), "{bytes} -> {class}");
            assert!(bytes < 512 || class * 4 <= bytes * 5 + 4 * ALIGNMENT, "{bytes} -> {class}");
        }
    }

    #[test]
    fn blocks_are_aligned_and_zeroed() {
        for bytes in [1, 64, 100, 5 << 10, 1 << 20, 2 << 20, (5 << 20) + 1] {
            let block = Block::fresh(size_class(bytes));
            assert!(block.pointer.addr().get().is_multiple_of(alignment(block.bytes)), "{bytes}");
            // SAFETY: the block is initialised memory of that length.
            let content = unsafe { std::slice::from_raw_parts(block.pointer.as_ptr(), block.bytes) };
            assert!(content.iter().all(|&byte| byte == 0), "{bytes}");
            block.free();
        }
    }

    #[test]
    fn a_released_block_comes_back() {
        let bytes = 123 << 10; // a size that no other test uses
        let first = Block::acquire(bytes);
        let address = first.pointer();
        first.release();
        let second = Block::acquire(bytes);
        assert_eq!(second.pointer(), address);
        second.release();
    }
}
