//! A slot: where a caller publishes a loop, and where workers enter it. This is the protocol, which
//! `loom` checks in all its interleavings; threads are started elsewhere.
//!
//! A caller owns a slot while it holds its lock. It opens the door, takes tasks like everyone else,
//! shuts the door when there are none left, and waits for the workers that are inside; then nobody can
//! see the loop any more. A worker announces where it is before it makes sure that the door is still
//! open, so that a caller that shuts the door either keeps it out or sees it. Nobody waits for a
//! worker that is not inside.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
    sync::{PoisonError, TryLockError},
};

use super::{
    sleep::Sleep,
    sync::{AtomicPtr, AtomicUsize, Line, Mutex, MutexGuard, Ordering, fence},
};

/// Bits for a number of workers in [`Door::word`].
const BITS: u32 = usize::BITS / 4;

/// Helpers of a loop at most: 65 535 where pointers have 64 bits.
pub(super) const MOST_HELPERS: usize = (1 << BITS) - 1;

/// The workers that may help with a loop: `count` of them from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Helpers {
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Helpers {
    /// Which member of the loop a worker is; its caller is member 0.
    fn member(self, worker: usize) -> Option<usize> {
        let position = worker.wrapping_sub(self.first);
        (position < self.count).then_some(position + 1)
    }
}

/// A parallel loop, on the stack of its caller.
pub(super) struct Loop<'a> {
    pub(super) body: &'a (dyn Fn(usize) + Sync),
    /// Tasks in all.
    pub(super) count: usize,
    pub(super) helpers: Helpers,
    /// Threads that the caller may use; loops within this one may, too.
    pub(super) threads: usize,
    /// For each member the next task of its share.
    next: &'a [Line<AtomicUsize>],
    /// What the first task to panic said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Loop<'_> {
    /// Where a member's share of the tasks begins.
    fn share(&self, member: usize) -> usize {
        // As `count * member / members`, which could overflow.
        let members = self.helpers.count + 1;
        self.count / members * member + self.count % members * member / members
    }

    /// Runs tasks while there are some: of the member's own share first, then of the others'.
    fn take_part(&self, member: usize, door: &Door, word: usize) {
        let taken = catch_unwind(AssertUnwindSafe(|| {
            for owner in (member..=self.helpers.count).chain(0..member) {
                let (next, end) = (&self.next[owner].0, self.share(owner + 1));
                // A look before the attempt leaves the line where it is when there is nothing to take.
                while next.load(Ordering::Relaxed) < end && door.word.load(Ordering::Relaxed) == word {
                    let task = next.fetch_add(1, Ordering::Relaxed);
                    if task >= end {
                        break;
                    }
                    (self.body)(task);
                }
            }
        }));
        // No task is left, or none shall be taken: workers that come now need not enter.
        door.shut(word);
        if let Err(panic) = taken {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }
}

/// What workers look at while they wait.
struct Door {
    /// Which loop this is, and its [`Helpers`]; a count of zero means shut.
    word: AtomicUsize,
    work: AtomicPtr<Loop<'static>>,
}

impl Door {
    /// Shuts the door of an open loop. By its members alone: while one is inside, no other loop opens.
    fn shut(&self, word: usize) {
        if self.word.load(Ordering::Relaxed) == word {
            self.word.store(word & !MOST_HELPERS, Ordering::Relaxed);
        }
    }
}

fn helpers_of(word: usize) -> Helpers {
    Helpers { first: word >> BITS & MOST_HELPERS, count: word & MOST_HELPERS }
}

/// Where one loop at a time is published.
pub(super) struct Slot {
    /// Held by the caller whose loop is here, with counters for its members.
    owner: Line<Mutex<Vec<Line<AtomicUsize>>>>,
    door: Line<Door>,
}

impl Slot {
    pub(super) fn new() -> Self {
        let door = Door { word: AtomicUsize::new(0), work: AtomicPtr::new(ptr::null_mut()) };
        Self { owner: Line(Mutex::new(Vec::new())), door: Line(door) }
    }

    /// Makes the slot the caller's, if it is nobody's.
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        let counters = match self.owner.0.try_lock() {
            Ok(counters) => counters,
            Err(TryLockError::Poisoned(counters)) => counters.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Claim { door: &self.door.0, counters })
    }

    /// Whether a worker would be let in.
    pub(super) fn is_open_to(&self, worker: usize) -> bool {
        helpers_of(self.door.0.word.load(Ordering::Relaxed)).member(worker).is_some()
    }
}

/// A slot that a caller owns.
pub(super) struct Claim<'a> {
    door: &'a Door,
    counters: MutexGuard<'a, Vec<Line<AtomicUsize>>>,
}

impl Claim<'_> {
    /// Runs a loop here, with the workers that come to help: `opened` is called when they can, and
    /// `wait` must return when none of the loop's helpers is inside this slot.
    ///
    /// # Panics
    /// With what the first task to panic said, when everyone has left.
    pub(super) fn run(
        mut self,
        threads: usize,
        helpers: Helpers,
        count: usize,
        body: &(dyn Fn(usize) + Sync),
        opened: impl FnOnce(),
        wait: impl FnOnce(),
    ) {
        let missing = (helpers.count + 1).saturating_sub(self.counters.len());
        self.counters.extend((0..missing).map(|_| Line(AtomicUsize::new(0))));
        let next = &self.counters[..=helpers.count];
        let work = Loop { body, count, helpers, threads, next, panic: Mutex::new(None) };
        for (member, next) in next.iter().enumerate() {
            next.0.store(work.share(member), Ordering::Relaxed);
        }
        let last = self.door.word.load(Ordering::Relaxed) >> (2 * BITS);
        let word = last.wrapping_add(1) << (2 * BITS) | helpers.first << BITS | helpers.count;
        self.door.work.store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        self.door.word.store(word, Ordering::Release);
        opened();
        work.take_part(0, self.door, word);
        // Of the two fences, here and in `enter`, one is first. If it is this one, then a worker that
        // enters finds the door shut; if it is the other, then `wait` finds the worker inside.
        self.door.word.store(word & !MOST_HELPERS, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        wait();
        let panic = work.panic.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(self.counters);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// What others know of a worker.
pub(super) struct Worker {
    /// The slot that the worker is in, or tries to enter, counted from 1; 0 for none.
    inside: Line<AtomicUsize>,
    /// Where the worker waits for loops.
    pub(super) idle: Line<Sleep>,
    /// Where callers wait for the worker to leave.
    left: Line<Sleep>,
}

impl Worker {
    pub(super) fn new() -> Self {
        Self { inside: Line(AtomicUsize::new(0)), idle: Line(Sleep::new()), left: Line(Sleep::new()) }
    }

    /// Enters `slot`, the one with this number, as worker `index`, if it is open to that worker.
    pub(super) fn enter<'a>(&'a self, index: usize, slot: &'a Slot, number: usize) -> Option<Visit<'a>> {
        let door = &slot.door.0;
        let word = door.word.load(Ordering::Relaxed);
        let member = helpers_of(word).member(index)?;
        self.inside.0.store(number + 1, Ordering::Relaxed);
        let mut visit = Visit { worker: self, door, word, member, work: ptr::null() };
        // The other fence is in `Claim::run`.
        fence(Ordering::SeqCst);
        // The loop is as its caller wrote it before it opened the door.
        if door.word.load(Ordering::Acquire) != word {
            return None;
        }
        visit.work = door.work.load(Ordering::Relaxed);
        Some(visit)
    }

    /// Whether the worker is inside another slot than this one.
    pub(super) fn is_elsewhere(&self, number: usize) -> bool {
        ![0, number + 1].contains(&self.inside.0.load(Ordering::Relaxed))
    }

    /// Returns when the worker is not inside the slot with this number.
    pub(super) fn wait_until_outside(&self, number: usize) {
        let inside = || self.inside.0.load(Ordering::Acquire) == number + 1;
        if inside() {
            self.left.0.wait(|| !inside());
        }
    }
}

/// A worker inside a slot: the loop there lasts at least as long as this.
pub(super) struct Visit<'a> {
    worker: &'a Worker,
    door: &'a Door,
    word: usize,
    member: usize,
    work: *const Loop<'static>,
}

impl Visit<'_> {
    /// Which member of the loop the worker is, and the loop.
    pub(super) fn of(&self) -> (usize, &Loop<'_>) {
        // SAFETY: the worker is inside, and the door was open then: the caller of the loop keeps it,
        // unchanged, until the worker has left, when `self` is gone. A loop may be used from any thread.
        (self.member, unsafe { &*self.work })
    }

    /// Runs tasks while there are some.
    pub(super) fn help(&self) {
        self.of().1.take_part(self.member, self.door, self.word);
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.worker.inside.0.store(0, Ordering::Release);
        self.worker.left.0.wake();
    }
}
