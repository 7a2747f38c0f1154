//! The protocol of a slot and of sleeping threads, in all interleavings of small programs. What `loom`
//! looks for: two threads at the same cell, memory that is not yet visible, and threads that wait for
//! ever.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use sleep::Sleep;
use slot::{Helpers, Slot, Worker};

#[path = "../src/engine/threads/sleep.rs"]
mod sleep;
#[path = "../src/engine/threads/slot.rs"]
mod slot;

/// In the place of `src/engine/threads/sync.rs`.
mod sync {
    pub(super) use loom::sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
    };

    /// A model has no time, and need not try what looking alone can reach.
    pub(super) const WAITS_AWAKE: bool = false;

    /// A model has no caches either.
    pub(super) struct Line<T>(pub(super) T);
}

/// A slot, the workers beside it, and what loops write.
struct World {
    slot: Slot,
    workers: Vec<Worker>,
}

impl World {
    fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { slot: Slot::new(), workers: (0..workers).map(|_| Worker::new()).collect() })
    }

    /// A loop whose tasks each write a cell of their own; all are to be written at its end.
    fn call(&self, tasks: usize) {
        let helpers = Helpers { first: 0, count: self.workers.len().min(tasks - 1) };
        let cells: Vec<UnsafeCell<usize>> = (0..tasks).map(|_| UnsafeCell::new(0)).collect();
        let cells = Cells(cells);
        self.run(helpers, tasks, &|task| {
            // SAFETY: the model fails if another thread is here.
            cells.at(task).with_mut(|cell| unsafe { *cell += 1 });
        });
        for cell in cells.0 {
            assert_eq!(cell.into_inner(), 1);
        }
    }

    /// Runs a loop in the slot, or alone.
    fn run(&self, helpers: Helpers, count: usize, body: &(dyn Fn(usize) + Sync)) {
        let Some(claim) = self.slot.claim() else { return (0..count).for_each(body) };
        let wait = || {
            for worker in &self.workers[..helpers.count] {
                worker.wait_until_outside(0);
            }
        };
        claim.run(helpers.count + 1, helpers, count, body, || (), wait);
    }
}

/// A worker that looks at the slot so many times.
fn help(world: &Arc<World>, index: usize, times: usize) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || {
        for _ in 0..times {
            if let Some(visit) = world.workers[index].enter(index, &world.slot, 0) {
                visit.help();
            }
        }
    })
}

struct Cells(Vec<UnsafeCell<usize>>);

// SAFETY: the model fails if two threads use a cell at once.
unsafe impl Sync for Cells {}

impl Cells {
    fn at(&self, index: usize) -> &UnsafeCell<usize> {
        &self.0[index]
    }
}

/// Explores a model, with at most so many switches from a thread that could go on.
fn explore(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}

#[test]
fn a_loop_ends_when_its_tasks_have_and_its_worker_has_left() {
    explore(5, || {
        let world = World::new(1);
        let worker = help(&world, 0, 1);
        world.call(2);
        worker.join().unwrap();
    });
}

#[test]
fn a_worker_enters_one_of_two_loops_in_turn() {
    explore(3, || {
        let world = World::new(1);
        let worker = help(&world, 0, 2);
        world.call(2);
        world.call(2);
        worker.join().unwrap();
    });
}

#[test]
fn two_workers_share_a_loop() {
    explore(2, || {
        let world = World::new(2);
        let workers = [0, 1].map(|index| help(&world, index, 1));
        world.call(3);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn two_callers_do_not_share_a_slot() {
    explore(3, || {
        let world = World::new(1);
        let worker = help(&world, 0, 1);
        let caller = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.call(2))
        };
        world.call(2);
        worker.join().unwrap();
        caller.join().unwrap();
    });
}

#[test]
fn a_panic_reaches_the_caller_after_all_have_left() {
    explore(3, || {
        let world = World::new(1);
        let worker = help(&world, 0, 1);
        let cells = Cells((0..2).map(|_| UnsafeCell::new(0)).collect());
        let helpers = Helpers { first: 0, count: 1 };
        let result = catch_unwind(AssertUnwindSafe(|| {
            world.run(helpers, 2, &|task| {
                // SAFETY: the model fails if another thread is here.
                cells.at(task).with_mut(|cell| unsafe { *cell += 1 });
                if task == 1 {
                    resume_unwind(Box::new("task 1"));
                }
            });
        }));
        let panic = result.expect_err("a task has panicked");
        assert_eq!(panic.downcast_ref(), Some(&"task 1"));
        let runs: Vec<usize> = cells.0.into_iter().map(UnsafeCell::into_inner).collect();
        assert!(runs[0] <= 1 && runs[1] == 1, "{runs:?}");
        worker.join().unwrap();
    });
}

#[test]
fn nobody_sleeps_through_what_it_waits_for() {
    explore(5, || {
        let place = Arc::new((Sleep::new(), AtomicUsize::new(0)));
        let sleepers = [1, 2].map(|enough| {
            let place = Arc::clone(&place);
            thread::spawn(move || place.0.sleep(|| place.1.load(Ordering::Relaxed) >= enough))
        });
        for _ in 0..2 {
            place.1.fetch_add(1, Ordering::Relaxed);
            place.0.wake();
        }
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    });
}

#[test]
fn a_sleeping_worker_wakes_for_a_loop_that_lasts() {
    explore(3, || {
        let world = World::new(1);
        let worker = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let worker = &world.workers[0];
                worker.idle.0.sleep(|| world.slot.is_open_to(0));
                worker.enter(0, &world.slot, 0).expect("the loop lasts").help();
            })
        };
        let (helped, bell) = (AtomicBool::new(false), Sleep::new());
        let claim = world.slot.claim().expect("there is no other caller");
        let body = |task: usize| match task {
            // The caller's: it lasts until the worker's has run.
            0 => bell.sleep(|| helped.load(Ordering::Relaxed)),
            _ => {
                helped.store(true, Ordering::Relaxed);
                bell.wake();
            }
        };
        let wake = || world.workers[0].idle.0.wake();
        let wait = || world.workers[0].wait_until_outside(0);
        claim.run(2, Helpers { first: 0, count: 1 }, 2, &body, wake, wait);
        worker.join().unwrap();
    });
}
