//! Fetching into the second cache what will be read before long. What arrives from memory while
//! kernels compute something else costs next to nothing; a kernel that waits for it stands still.

/// Elements of a cache line.
pub(super) const LINE: usize = 16;

/// Brings memory that will be written before long into the first cache, to be written.
#[inline(always)]
pub(crate) fn fetch_to_write<T>(memory: *mut T, length: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..(length * size_of::<T>()).div_ceil(LINE * size_of::<f32>()) {
        super::x86::prefetch_to_write(memory.cast::<f32>().wrapping_add(line * LINE));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (memory, length);
}

/// A stretch of memory that will be read before long. Kernels fetch it bit by bit while they
/// compute something else: what arrives from far away costs nothing then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    next: *const f32,
    end: *const f32,
}

impl Ahead {
    /// All of a slice.
    pub(crate) fn new(slice: &[f32]) -> Self {
        Self::at(slice.as_ptr(), slice.len())
    }

    /// So many numbers from `start`.
    pub(crate) fn at(start: *const f32, length: usize) -> Self {
        Self { next: start, end: start.wrapping_add(length) }
    }

    /// The next `lines` cache lines, for a kernel that fetches so many, if any are left.
    pub(crate) fn take(&mut self, lines: usize) -> Option<*const f32> {
        let next = self.next;
        self.next = next.wrapping_add(lines * LINE);
        if next < self.end {
            Some(next)
        } else {
            self.next = next;
            None
        }
    }
}
