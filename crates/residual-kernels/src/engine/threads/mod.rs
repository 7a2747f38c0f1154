//! The threads that share parallel loops, and the one way to run such a loop: [`for_each`].
//!
//! **Decision.** A layer of a network on one picture may last fifty microseconds, and a sleeping
//! thread wakes in ten or more. Workers of our own therefore wait awake for a moment after each loop
//! ([`sleep`]), find the next one within half a microsecond, and sleep when none comes. A caller
//! publishes its loop in a slot ([`slot`]), takes part itself, and at the end waits for those workers
//! alone that are inside that loop. So a loop needs no worker to end: not one that is busy, not one
//! that does not exist, where the system grants no more threads. In the child of a `fork`, which has none of
//! them, the caller runs its loops alone. Loops within
//! loops and callers at the same time use other slots. A task that panics ends its own loop, with
//! that panic in its caller, after everyone has left. Which thread runs a task does not show in any
//! result: tasks depend on the data alone, never on [`count`].
//!
//! How many threads share a loop is what rayon says where it is called, so that
//! `rayon::ThreadPool::install` and `RAYON_NUM_THREADS` mean what they mean elsewhere. Each thread
//! begins with a share of the tasks, the same one in loops of the same size, so that it finds in its
//! caches what it left there; then it takes what others have left over.
//!
//! **Rejected**; `docs/architecture.md` has the measurements.
//! *rayon*'s `join` and `scope` wake a thread that sleeps at each loop, and a thread that waits runs
//! others' work meanwhile. *chili* and *forte* hand out work at a heartbeat, of which such a loop sees
//! none. *micropool* is the nearest, and needs a newer compiler than this workspace. *paralight* locks
//! and sleeps; *orx-parallel* starts threads for each loop; *ForkUnion* is C++. *Rayon's threads, kept awake*: they then wait for us
//! where others wait for them.
//!
//! **Not here.** What a task is: [`parallel`](super::parallel) divides work. A body must not wait for
//! rayon's pool, whose threads may be the callers that wait for this body; no loop of this crate does.
//! A process that forks in the middle of a loop has in its child neither the loop's helpers nor what
//! they would have computed: fork between loops.
//!
//! `tests/models.rs` of this crate checks the protocol of a slot and of sleeping in small programs, with `loom`, in all
//! interleavings of up to 2 to 5 preemptions:
//! `cargo xtask verify --only models`.

mod crew;
mod sleep;
mod slot;
mod sync;

#[cfg(test)]
mod tests;

/// How many threads share a loop that is called here: as many as the pool of rayon has that this is
/// called in, or as share the loop that this is a task of.
pub(crate) fn count() -> usize {
    crew::threads()
}

/// Calls `body` for each task below `count`, on all threads. Tasks are independent; neighbours tend
/// to run on the same thread, one after the other.
///
/// # Panics
/// If a task does, with its panic; the remaining tasks may not run then.
pub(crate) fn for_each(count: usize, body: &(dyn Fn(usize) + Sync)) {
    crew::run(crew::threads(), count, body);
}
