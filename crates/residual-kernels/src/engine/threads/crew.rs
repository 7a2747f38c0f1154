//! The workers, which are started as loops ask for them, and how they find the loops.

use std::{
    cell::Cell,
    sync::{LazyLock, OnceLock},
    thread,
};

use residual_tensor::memory::forks;

use super::{
    slot::{Helpers, MOST_HELPERS, Slot, Worker},
    sync::{AtomicUsize, Mutex, Ordering},
};

/// Loops at the same time that workers can help with; the caller of any other runs it alone.
const SLOTS: usize = 64;

/// Tables of 1, 2, 4 … workers: as many as [`MOST_HELPERS`] needs.
const TABLES: usize = 17;

/// The threads of the process.
static CREW: LazyLock<Crew> = LazyLock::new(Crew::new);

thread_local! {
    /// The slot that this thread used last.
    static LAST_SLOT: Cell<usize> = const { Cell::new(0) };
    /// The loop that this thread runs a task of.
    static OUTER: Cell<Option<Outer>> = const { Cell::new(None) };
}

/// What a loop within a loop has to know of the outer one.
#[derive(Clone, Copy)]
struct Outer {
    threads: usize,
    /// The first of the workers that help with it.
    first: usize,
}

struct Crew {
    slots: [Slot; SLOTS],
    /// How many slots, from the first on, were ever used.
    used: AtomicUsize,
    /// Workers, which are never given up. They stand in tables so that none ever moves.
    tables: [OnceLock<Box<[Worker]>>; TABLES],
    /// How many workers have been started.
    started: AtomicUsize,
    /// Held while workers are started.
    starting: Mutex<()>,
    /// Workers beside a caller that have processors of their own.
    processors: usize,
    /// Of the process that the workers belong to.
    forks: usize,
}

/// How many threads a loop that is called here is run by: those of the pool of rayon that this is
/// called in, or of the outer loop.
pub(super) fn threads() -> usize {
    OUTER.get().map_or_else(rayon::current_num_threads, |outer| outer.threads)
}

/// Calls `body` for each task below `count`, on so many threads.
pub(super) fn run(threads: usize, count: usize, body: &(dyn Fn(usize) + Sync)) {
    let shared = threads > 1 && count > 1 && CREW.run(threads, count, body);
    if !shared {
        (0..count).for_each(body);
    }
}

impl Crew {
    fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| Slot::new()),
            used: AtomicUsize::new(0),
            tables: [const { OnceLock::new() }; TABLES],
            started: AtomicUsize::new(0),
            starting: Mutex::new(()),
            processors: thread::available_parallelism().map_or(1, usize::from) - 1,
            forks: forks(),
        }
    }

    /// Runs a loop in a slot, unless there is none, or the workers are those of a parent process: one of them may have
    /// been in a slot, or held a lock, when the process forked.
    fn run(&'static self, threads: usize, count: usize, body: &(dyn Fn(usize) + Sync)) -> bool {
        if self.forks != forks() {
            return false;
        }
        let (outer, last) = (OUTER.get(), LAST_SLOT.get());
        let numbers = (last..SLOTS).chain(0..last);
        let mut claims = numbers.filter_map(|number| Some((number, self.slots[number].claim()?)));
        let Some((number, claim)) = claims.next() else { return false };
        if number >= self.used.load(Ordering::Relaxed) {
            self.used.fetch_max(number + 1, Ordering::Relaxed);
        }
        let most = (threads - 1).min(MOST_HELPERS);
        let first = match outer {
            // The threads that the outer loop may use, and no others.
            Some(outer) => outer.first,
            None => {
                LAST_SLOT.set(number);
                // Callers at the same time are in different slots and get different workers, as far as
                // there are processors for them.
                let others = self.processors.min(MOST_HELPERS).saturating_sub(most);
                number * most % (others + 1)
            }
        };
        let helpers = Helpers { first, count: most.min(count - 1) };
        self.start(helpers.first + helpers.count);
        OUTER.set(Some(Outer { threads, first }));
        let _back = OnDrop(|| OUTER.set(outer));
        let opened = || self.wake_below(0, helpers, number);
        let wait = || {
            for helper in 0..helpers.count {
                self.worker(helpers.first + helper).wait_until_outside(number);
            }
        };
        claim.run(threads, helpers, count, body, opened, wait);
        true
    }

    /// Wakes those helpers that member `member` of the loop in slot `number` has to wake: two each, so
    /// that a loop for many threads does not wait for its caller to wake all of them. For a helper
    /// that is busy elsewhere, the member wakes in its place.
    fn wake_below(&self, member: usize, helpers: Helpers, number: usize) {
        for member in (2 * member + 1..=2 * member + 2).take_while(|&member| member <= helpers.count) {
            let worker = self.worker(helpers.first + member - 1);
            worker.idle.0.wake();
            if worker.is_elsewhere(number) {
                self.wake_below(member, helpers, number);
            }
        }
    }

    fn worker(&self, index: usize) -> &Worker {
        let table = (index + 1).ilog2() as usize;
        let workers = self.tables[table].get_or_init(|| (0..1 << table).map(|_| Worker::new()).collect());
        &workers[index + 1 - (1 << table)]
    }

    /// Sees to it that `count` workers have been started, if the system lets us have them.
    fn start(&'static self, count: usize) {
        if self.started.load(Ordering::Relaxed) >= count {
            return;
        }
        // Whoever holds the lock starts workers; a loop needs none to end.
        let Ok(_guard) = self.starting.try_lock() else { return };
        for index in self.started.load(Ordering::Relaxed)..count {
            let name = format!("residual-{}", index + 1);
            if thread::Builder::new().name(name).spawn(move || self.work(index)).is_err() {
                return;
            }
            self.started.store(index + 1, Ordering::Relaxed);
        }
    }

    /// What a worker does all its life.
    fn work(&self, index: usize) {
        let worker = self.worker(index);
        let slots = || self.slots.iter().take(self.used.load(Ordering::Relaxed)).enumerate();
        loop {
            for (number, slot) in slots() {
                let Some(visit) = worker.enter(index, slot, number) else { continue };
                let (member, work) = visit.of();
                self.wake_below(member, work.helpers, number);
                OUTER.set(Some(Outer { threads: work.threads, first: work.helpers.first }));
                visit.help();
            }
            worker.idle.0.wait(|| slots().any(|(_, slot)| slot.is_open_to(index)));
        }
    }
}

/// Does something at the end of a scope, also if that ends by a panic.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
