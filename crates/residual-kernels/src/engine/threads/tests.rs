//! Loops under stress: many callers, nested, with panics, on several numbers of threads. A test that
//! does not end in time fails.

use std::{
    any::Any,
    cell::UnsafeCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rayon::prelude::*;

use super::*;

const THREADS: [usize; 5] = [1, 2, 3, 4, 8];

/// More than any test takes, under a sanitizer and on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a test, which fails if it hangs. One at a time, since some wait for workers to come, which a
/// loop cannot count on.
fn watched(test: impl FnOnce() + Send + 'static) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let test = thread::spawn(test);
    let start = Instant::now();
    while !test.is_finished() {
        assert!(start.elapsed() < PATIENCE, "hangs");
        thread::sleep(Duration::from_millis(1));
    }
    test.join().unwrap_or_else(|panic| resume_unwind(panic));
}

/// Waits, with a limit, for what another thread does.
fn wait_for(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE / 2, "it does not come");
        thread::yield_now();
    }
}

/// Calls `run` on so many threads at once, which no loop has.
fn at_once(callers: usize, run: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        let run = &run;
        let callers: Vec<_> = (0..callers).map(|caller| scope.spawn(move || run(caller))).collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

/// How a task ends by a panic that is no bug and prints nothing.
fn fail(task: usize) {
    resume_unwind(Box::new(task));
}

fn caught(run: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(run))
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Numbers in plain memory, which a sanitizer watches.
struct Numbers(Vec<UnsafeCell<usize>>);

// SAFETY: a task adds to its own number alone.
unsafe impl Sync for Numbers {}

impl Numbers {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, task: usize, number: usize) {
        // SAFETY: no other task does this.
        unsafe { *self.0[task].get() += number };
    }

    fn all(self) -> Vec<usize> {
        self.0.into_iter().map(UnsafeCell::into_inner).collect()
    }
}

/// Loops three deep, some of which end by a panic; how many tasks of the innermost have run, unless one
/// of the outermost has failed.
fn storm(threads: usize, depth: usize, seed: usize) -> usize {
    let tasks = 1 + seed % 7;
    let guilty = seed.wrapping_mul(0x9E37_79B9) >> 8 & 31;
    let sums = Numbers::new(tasks);
    let result = caught(|| {
        crew::run(threads, tasks, &|task| {
            if task == guilty {
                fail(task);
            }
            sums.add(task, if depth == 0 { 1 } else { storm(threads, depth - 1, seed * 31 + task + 1) });
        });
    });
    assert_eq!(result.is_err(), guilty < tasks);
    if result.is_err() { 0 } else { sums.all().into_iter().sum() }
}

fn storms(threads: usize) -> Vec<usize> {
    (0..60).map(|seed| storm(threads, 2, seed)).collect()
}

#[test]
fn every_task_runs_once_in_every_loop() {
    watched(|| {
        for threads in THREADS {
            for tasks in (0..100).chain([1000]) {
                let runs = Numbers::new(tasks);
                crew::run(threads, tasks, &|task| {
                    let inner = Numbers::new(3);
                    crew::run(threads, 3, &|task| inner.add(task, 1));
                    runs.add(task, inner.all().into_iter().sum());
                });
                assert!(runs.all().into_iter().all(|runs| runs == 3), "{tasks}");
            }
        }
    });
}

#[test]
fn a_panic_is_raised_at_its_loop() {
    watched(|| {
        for threads in THREADS {
            for guilty in (0..40).cycle().take(1000) {
                let runs = Numbers::new(40);
                let result = caught(|| {
                    crew::run(threads, 40, &|task| {
                        runs.add(task, 1);
                        if task == guilty {
                            fail(task);
                        }
                    });
                });
                assert_eq!(result.unwrap_err().downcast_ref(), Some(&guilty));
                let runs = runs.all();
                assert!(runs[guilty] == 1 && runs.into_iter().all(|runs| runs <= 1));
            }
        }
    });
}

#[test]
fn a_panic_of_a_helper_is_raised_in_the_caller() {
    watched(|| {
        for _ in 0..200 {
            let helped = AtomicBool::new(false);
            let caller = thread::current().id();
            let result = caught(|| {
                crew::run(2, 2, &|_| {
                    if thread::current().id() == caller {
                        wait_for(|| helped.load(Ordering::Relaxed));
                    } else {
                        helped.store(true, Ordering::Relaxed);
                        fail(7);
                    }
                });
            });
            assert_eq!(result.unwrap_err().downcast_ref(), Some(&7_usize));
        }
    });
}

#[test]
fn callers_at_once_nest_and_panic() {
    watched(|| {
        let alone = storms(1);
        assert!(alone.contains(&0) && alone.iter().any(|&sum| sum > 50));
        at_once(THREADS.len(), |caller| (0..5).for_each(|_| assert_eq!(alone, storms(THREADS[caller]))));
    });
}

#[test]
fn more_callers_than_slots() {
    watched(|| {
        at_once(100, |_| {
            for _ in 0..20 {
                let runs = Numbers::new(10);
                crew::run(4, 10, &|task| {
                    runs.add(task, task);
                    thread::yield_now();
                });
                assert_eq!(runs.all().into_iter().sum::<usize>(), 45);
            }
        });
    });
}

/// A loop of as many tasks as threads, each of which waits for all others to have begun.
fn meet(threads: usize) {
    let begun = AtomicUsize::new(0);
    crew::run(threads, threads, &|_| {
        begun.fetch_add(1, Ordering::Relaxed);
        wait_for(|| begun.load(Ordering::Relaxed) == threads);
    });
}

#[test]
fn more_than_64_threads_share_a_loop() {
    watched(|| (0..20).for_each(|_| meet(100)));
}

#[test]
fn loops_after_a_rest_are_helped_again() {
    watched(|| {
        for rest in [0, 1, 20, 100] {
            thread::sleep(Duration::from_millis(rest));
            meet(2);
            meet(3);
        }
    });
}

#[test]
fn pools_of_rayon_say_how_many_threads_share_a_loop() {
    watched(|| {
        for threads in THREADS {
            pool(threads).install(|| {
                assert_eq!(count(), threads);
                // Not only in the caller, which is of the pool.
                for_each(100, &|_| assert_eq!(count(), threads));
                assert_eq!(count(), threads);
            });
        }
    });
}

#[test]
fn rayon_can_be_used_between_loops() {
    watched(|| {
        for threads in THREADS {
            pool(threads).install(|| {
                for _ in 0..20 {
                    let sum = AtomicUsize::new(0);
                    let add = |task| {
                        sum.fetch_add(task, Ordering::Relaxed);
                    };
                    for_each(10, &add);
                    (0..100).into_par_iter().for_each(add);
                    rayon::join(|| for_each(10, &add), || for_each(10, &add));
                    rayon::broadcast(|_| for_each(10, &add));
                    assert_eq!(sum.into_inner(), 45 + 4950 + 2 * 45 + threads * 45);
                }
            });
        }
    });
}

#[test]
fn threads_of_rayon_are_callers_at_once() {
    watched(|| {
        let alone = storms(1);
        for threads in THREADS {
            let pool = pool(threads);
            for _ in 0..3 {
                let storms: Vec<usize> =
                    pool.install(|| (0..60).into_par_iter().map(|seed| storm(count(), 2, seed)).collect());
                assert_eq!(storms, alone);
            }
        }
    });
}
