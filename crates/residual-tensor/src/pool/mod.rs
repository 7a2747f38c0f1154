//! The pool of memory that all buffers come from and return to.
//!
//! A training step allocates the same sizes again and again. Fresh memory has to be mapped,
//! cleared and faulted in page by page, which costs more than most kernels that use it; a
//! recycled block costs a lock and a short search. Blocks are cut from an arena
//! and merge again in it, so that what one stage of a network has freed serves the next,
//! whatever the sizes.
//!
//! Recycled memory is handed out as it is. It has been written before (fresh memory is
//! zeroed), so that reading it is defined for every [`Element`](crate::Element).

mod arena;
mod memory;

use std::{
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

use arena::{Arena, GRAIN, Piece};
use memory::Memory;

/// Every block starts at a multiple of this: a cache line, and an AVX-512 register.
pub const ALIGNMENT: usize = 64;

static POOL: Mutex<Pool> = Mutex::new(Pool::NEW);

/// What the pool has done and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes in use by buffers.
    pub in_use: usize,
    /// The most bytes that were ever in use at once.
    pub peak: usize,
    /// Bytes that have been in use and are kept for reuse.
    pub retained: usize,
    /// Blocks for which memory had to come from the system.
    pub fresh: usize,
    /// Blocks of nothing but reused memory.
    pub reused: usize,
}

/// What the pool has done since the process began, and holds now.
pub fn statistics() -> Statistics {
    lock().statistics
}

/// Gives retained memory back to the system, except for what lies between blocks in use.
pub fn trim() {
    lock().trim();
}

fn lock() -> MutexGuard<'static, Pool> {
    // Nothing panics while the lock is held; a poisoned pool is still a consistent one.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The arena, and what is known about its use.
struct Pool {
    arena: Arena,
    statistics: Statistics,
}

impl Pool {
    const NEW: Self = Self {
        arena: Arena::EMPTY,
        statistics: Statistics { in_use: 0, peak: 0, retained: 0, fresh: 0, reused: 0 },
    };

    /// A piece of `bytes` bytes, whole grains; `None` if the system has no more memory.
    fn acquire(&mut self, bytes: usize) -> Option<Piece> {
        let (piece, never_used) = self.arena.cut(bytes)?;
        let statistics = &mut self.statistics;
        statistics.in_use += bytes;
        statistics.peak = statistics.peak.max(statistics.in_use);
        statistics.retained -= bytes - never_used;
        match never_used {
            0 => statistics.reused += 1,
            _ => statistics.fresh += 1,
        }
        Some(piece)
    }

    fn release(&mut self, piece: Piece) {
        self.statistics.in_use -= piece.bytes();
        self.statistics.retained += piece.bytes();
        self.arena.merge(piece);
    }

    fn trim(&mut self) {
        self.statistics.retained -= self.arena.trim();
    }
}

/// Initialised memory, owned.
pub(crate) enum Block {
    /// Less than a grain: the system's allocator is as fast.
    Small(Memory),
    Pooled(Piece),
}

impl Block {
    /// At least `bytes` bytes of initialised memory with unspecified contents; `None` if the
    /// system has no more.
    pub(crate) fn acquire(bytes: usize) -> Option<Self> {
        let step = if bytes < GRAIN { ALIGNMENT } else { GRAIN };
        match bytes.max(1).checked_next_multiple_of(step)? {
            bytes @ ..GRAIN => Memory::zeroed(bytes).map(Self::Small),
            bytes => lock().acquire(bytes).map(Self::Pooled),
        }
    }

    /// Returns the block to where it came from.
    pub(crate) fn release(self) {
        match self {
            Self::Small(memory) => drop(memory),
            Self::Pooled(piece) => lock().release(piece),
        }
    }

    pub(crate) fn pointer(&self) -> NonNull<u8> {
        match self {
            Self::Small(memory) => memory.pointer(),
            Self::Pooled(piece) => piece.pointer(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    /// The content of a piece, to be compared with what was written.
    fn content(piece: &mut Piece) -> &mut [u8] {
        // SAFETY: a piece is initialised memory of that length, and nobody else's.
        unsafe { std::slice::from_raw_parts_mut(piece.pointer().as_ptr(), piece.bytes()) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pieces_are_disjoint_and_counted_and_merge(
            steps in vec((any::<bool>(), 1..600usize, any::<Index>()), 1..120),
        ) {
            let mut pool = Pool::NEW;
            let mut live: Vec<(Piece, u8)> = Vec::new();
            for (step, (acquires, grains, which)) in steps.into_iter().enumerate() {
                let before = pool.statistics;
                if acquires || live.is_empty() {
                    // Most are small, as most tensors are, and few grow the arena by more than it has.
                    let bytes = grains.pow(2).div_ceil(600) * GRAIN;
                    let mut piece = pool.acquire(bytes).unwrap();
                    prop_assert_eq!(piece.bytes(), bytes);
                    prop_assert!(piece.pointer().addr().get().is_multiple_of(ALIGNMENT));
                    content(&mut piece).fill(step as u8);
                    live.push((piece, step as u8));
                    let now = pool.statistics;
                    let grown = (now.in_use + now.retained) - (before.in_use + before.retained);
                    prop_assert!(grown <= bytes);
                    let is_fresh = usize::from(grown > 0);
                    prop_assert_eq!((now.fresh, now.reused), (before.fresh + is_fresh, before.reused + 1 - is_fresh));
                } else {
                    let (mut piece, written) = live.swap_remove(which.index(live.len()));
                    prop_assert!(content(&mut piece).iter().all(|&byte| byte == written), "written by another");
                    pool.release(piece);
                }
                let in_use = live.iter().map(|(piece, _)| piece.bytes()).sum::<usize>();
                prop_assert_eq!(pool.statistics.in_use, in_use);
                prop_assert_eq!(pool.statistics.peak, before.peak.max(in_use));
            }
            live.drain(..).for_each(|(piece, _)| pool.release(piece));
            prop_assert!(pool.statistics.retained >= pool.statistics.peak);
            pool.trim();
            prop_assert_eq!(pool.statistics.retained, 0, "a region has not merged");
        }
    }

    #[test]
    fn blocks_are_aligned_and_hold_what_was_asked_for() {
        for bytes in [0, 1, 64, 100, 4095, 4096, 5 << 10, (5 << 20) + 1] {
            let block = Block::acquire(bytes).unwrap();
            assert!(block.pointer().addr().get().is_multiple_of(ALIGNMENT), "{bytes}");
            let length = match &block {
                Block::Small(memory) => memory.bytes(),
                Block::Pooled(piece) => piece.bytes(),
            };
            assert!((bytes.max(1)..bytes + GRAIN).contains(&length), "{bytes}: {length}");
            block.release();
        }
    }
}
