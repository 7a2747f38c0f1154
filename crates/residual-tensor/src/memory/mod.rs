//! The memory that all tensors come from and return to.
//!
//! A training step allocates the same sizes again and again. Fresh memory has to be mapped,
//! cleared and faulted in page by page, which costs more than most kernels that use it. Here a
//! freed block is kept, merged with what is free beside it, and cut again, so that what one stage
//! of a network has freed serves the next, whatever the sizes.
//!
//! **Threads.** There are [`ARENAS`] arenas, each with its own lock, and each thread has one: while
//! there are fewer threads than arenas no two share one, and a thread that ends leaves its arena to
//! the next one. A block goes back to the arena that it was cut from, whichever thread frees it.
//!
//! **Giving back.** [`trim`] gives everything that is not in use back to the system at once. What
//! has not been used for one to two times the [period](set_idle_period) goes back by itself: a
//! thread that runs only while there is memory to give back looks every so often. It keeps no
//! process alive.
//!
//! **Content.** Recycled memory is handed out as it is. It has been written before, or is zeroed,
//! so that reading it is defined for every [`Element`](crate::Element).
//!
//! **After `fork`** (Linux) the child has a copy of everything and can use tensors: no lock stays
//! taken by a thread that the child does not have. The threads that compute are not copied: a child
//! whose parent has computed already computes on its one thread.

mod arena;
#[cfg(target_os = "linux")]
mod fork;
mod idle;
mod system;

use std::{
    ptr::NonNull,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

pub(crate) use arena::GRAIN;
use arena::{Arena, Piece};
use system::Memory;

pub use idle::{IDLE_PERIOD, set_idle_period};

/// Every block starts at a multiple of this: a cache line, and an AVX-512 register.
pub const ALIGNMENT: usize = 64;

/// How many threads can allocate without ever waiting for each other.
pub const ARENAS: usize = 64;

static HOMES: [Home; ARENAS] = [const { Home::new() }; ARENAS];

/// How many forks lie between this process and the one that the program was started in: what a thread of the
/// parent was to do will not be done where this has changed. Counted on Linux, 0 elsewhere.
pub fn forks() -> usize {
    #[cfg(target_os = "linux")]
    return fork::FORKS.load(Relaxed);
    #[cfg(not(target_os = "linux"))]
    0
}

/// How much memory there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes in use by tensors of a page or more, in whole pages.
    pub in_use: usize,
    /// Bytes that have been in use and are kept for reuse.
    pub retained: usize,
}

/// How much memory there is now. Looks at one arena after the other.
pub fn statistics() -> Statistics {
    HOMES.iter().map(|home| home.arena().statistics()).fold(Statistics::default(), |sum, arena| Statistics {
        in_use: sum.in_use + arena.in_use,
        retained: sum.retained + arena.retained,
    })
}

/// Gives all memory that is not in use back to the system: regions without a block in use, and, on
/// Linux, the pages between blocks.
pub fn trim() {
    HOMES.iter().for_each(|home| home.arena().trim());
}

/// An arena, and how many threads have it. Aligned so that no two share a cache line, or a pair
/// that is fetched together.
#[repr(align(128))]
pub(crate) struct Home {
    arena: Mutex<Arena>,
    threads: AtomicUsize,
}

impl Home {
    const fn new() -> Self {
        Self { arena: Mutex::new(Arena::EMPTY), threads: AtomicUsize::new(0) }
    }

    fn arena(&self) -> MutexGuard<'_, Arena> {
        // Nothing panics while the lock is held; a poisoned arena is still a consistent one.
        self.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of this thread.
    fn of_thread() -> &'static Self {
        // A thread that is ending, and has given up its own, takes the first.
        RESIDENT.try_with(|resident| resident.0).unwrap_or(&HOMES[0])
    }
}

thread_local! {
    static RESIDENT: Resident = Resident::new();
}

/// A thread's claim to an arena.
struct Resident(&'static Home);

impl Resident {
    /// In the first of the arenas that the fewest threads have.
    fn new() -> Self {
        let with = |threads| {
            HOMES
                .iter()
                .find(|home| home.threads.compare_exchange(threads, threads + 1, Relaxed, Relaxed).is_ok())
        };
        Self((0..).find_map(with).expect("a number that no arena's is above"))
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.0.threads.fetch_sub(1, Relaxed);
    }
}

/// As aligned as every block.
#[repr(align(64))]
struct Line;

/// Initialised memory, owned.
pub(crate) enum Block {
    /// No bytes: nothing is allocated.
    Empty,
    /// Less than a grain: the global allocator is as fast.
    Small(Memory),
    /// Cut from an arena.
    Piece(Piece, &'static Home),
}

impl Block {
    /// At least `bytes` bytes of initialised memory with unspecified contents; `None` if the
    /// system has no more.
    pub(crate) fn acquire(bytes: usize) -> Option<Self> {
        let step = if bytes < GRAIN { ALIGNMENT } else { GRAIN };
        match bytes.checked_next_multiple_of(step)? {
            0 => Some(Self::Empty),
            bytes @ ..GRAIN => Memory::zeroed(bytes).map(Self::Small),
            bytes => {
                let home = Home::of_thread();
                let piece = home.arena().cut(bytes);
                let piece = piece.or_else(|| {
                    trim();
                    home.arena().cut(bytes)
                });
                piece.map(|piece| Self::Piece(piece, home))
            }
        }
    }

    /// Returns the block to where it came from.
    pub(crate) fn release(self) {
        match self {
            Self::Empty => {}
            Self::Small(memory) => drop(memory),
            Self::Piece(piece, home) => {
                let mut arena = home.arena();
                arena.merge(piece);
                let freed = arena.freed();
                drop(arena);
                idle::freed(freed);
            }
        }
    }

    pub(crate) fn pointer(&self) -> NonNull<u8> {
        match self {
            Self::Empty => NonNull::<Line>::dangling().cast(),
            Self::Small(memory) => memory.pointer(),
            Self::Piece(piece, _) => piece.pointer(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    #[test]
    fn blocks_are_aligned_and_hold_what_was_asked_for() {
        for bytes in [0, 1, 64, 100, 4095, 4096, 5 << 10, (5 << 20) + 1] {
            let block = Block::acquire(bytes).unwrap();
            assert!(block.pointer().addr().get().is_multiple_of(ALIGNMENT), "{bytes}");
            // SAFETY: it is initialised memory of at least that length, and nobody else's.
            unsafe { std::slice::from_raw_parts_mut(block.pointer().as_ptr(), bytes) }.fill(1);
            block.release();
        }
        assert!(Block::acquire(isize::MAX as usize).is_none());
    }

    #[test]
    fn threads_share_no_arena_and_leave_theirs_to_the_next() {
        let address = || std::ptr::from_ref(Home::of_thread()).addr();
        let here = address();
        // Other tests have threads too: only what cannot depend on them is checked.
        let barrier = std::sync::Barrier::new(8);
        let at_once = || {
            let address = address();
            barrier.wait();
            address
        };
        let others: HashSet<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(at_once)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(others.len() == 8 && !others.contains(&here));
        assert_eq!(here, address());
        let one_after_the_other: HashSet<_> =
            (0..1000).map(|_| thread::spawn(address).join().unwrap()).collect();
        assert!(one_after_the_other.len() < ARENAS / 2);
    }
}
