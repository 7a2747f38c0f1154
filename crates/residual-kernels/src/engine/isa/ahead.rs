//! Fetching into the second cache what will be read before long. What arrives from memory while
//! kernels compute something else costs next to nothing; a kernel that waits for it stands still.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Elements of a cache line.
pub(super) const fn line_len<T>() -> usize {
    LINE / size_of::<T>()
}

/// Brings memory that will be written before long into the first cache, to be written.
#[inline(always)]
pub(crate) fn fetch_to_write<T>(memory: *mut T, length: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..(length * size_of::<T>()).div_ceil(LINE) {
        super::x86::prefetch_to_write(memory.wrapping_byte_add(line * LINE));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (memory, length);
}

/// A stretch of memory that will be read before long. Kernels fetch it bit by bit while they
/// compute something else: what arrives from far away costs nothing then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead<T> {
    next: *const T,
    end: *const T,
}

impl<T> Ahead<T> {
    /// All of a slice.
    pub(crate) fn new(slice: &[T]) -> Self {
        Self::at(slice.as_ptr(), slice.len())
    }

    /// So many numbers from `start`.
    pub(crate) fn at(start: *const T, length: usize) -> Self {
        Self { next: start, end: start.wrapping_add(length) }
    }

    /// The next `lines` cache lines, for a kernel that fetches so many, if any are left.
    pub(crate) fn take(&mut self, lines: usize) -> Option<*const T> {
        let next = self.next;
        self.next = next.wrapping_add(lines * line_len::<T>());
        if next < self.end {
            Some(next)
        } else {
            self.next = next;
            None
        }
    }
}
