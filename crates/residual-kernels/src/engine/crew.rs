//! Threads that stand ready while many short parallel loops run one after the other.
//!
//! To hand half of a loop to a sleeping thread takes rayon some microseconds, and a layer of a
//! network on one picture may last fifty. Within [`together`] the other threads of rayon's pool wait
//! awake instead, and a loop is handed out in less than a microsecond. No loop waits for a thread
//! that is busy elsewhere: whoever is there takes the next task.

use std::{
    cell::{Cell, UnsafeCell},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Threads of a crew at most.
const MOST: usize = 64;
/// Looks at what it waits for, before a thread lets others have the processor.
const LOOKS: usize = 2_000;

thread_local! {
    /// The crew that this thread leads, unless it is in the middle of a task.
    static LED: Cell<*const Crew> = const { Cell::new(std::ptr::null()) };
}

/// Runs `work` with the other threads of the pool at its side: parallel loops of this crate that
/// `work` starts cost next to nothing to begin and end. Other users of the pool have to wait.
pub fn together<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if LED.get().is_null() {
        return rayon::join(|| lead(work), || ()).0;
    }
    work()
}

fn lead<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let members = rayon::current_num_threads().min(MOST);
    if members == 1 {
        return work();
    }
    let crew = Crew::new(members);
    let leader = rayon::current_thread_index().unwrap_or(0);
    rayon::scope(|scope| {
        // Every thread gets an invitation of its own, which nobody can steal: a leader that waits for
        // rayon in the middle of its work must not come to help itself.
        scope.spawn_broadcast(|_, thread| match thread.index() {
            index if index == leader => {}
            // The leader is member 0.
            index => crew.help(if index < leader { index + 1 } else { index }),
        });
        // However the work ends, nobody is to wait for more.
        let _end = OnDrop(|| {
            LED.set(std::ptr::null());
            crew.over.store(true, Ordering::Release);
        });
        LED.set(&crew);
        work()
    })
}

/// A loop body, for as long as the loop lasts.
type Body = *const (dyn Fn(usize) + Sync);

struct Crew {
    members: usize,
    /// Odd while there is a loop to help with; one more at each beginning and end.
    epoch: AtomicUsize,
    /// How many threads look at the loop.
    active: AtomicUsize,
    /// Whether there will be no more loops.
    over: AtomicBool,
    job: UnsafeCell<Option<(Body, usize)>>,
    /// For each member the next task of its share.
    next: [Line; MOST],
}

/// A number on cache lines of its own.
#[repr(align(128))]
struct Line(AtomicUsize);

// SAFETY: `job` is written by the leader alone, while `epoch` is even and `active` was seen to be
// zero since; others read it only when they have raised `active` and then seen `epoch` odd. What it
// points to may be called from any thread.
unsafe impl Sync for Crew {}

impl Crew {
    fn new(members: usize) -> Self {
        Self {
            members,
            epoch: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            job: UnsafeCell::new(None),
            next: [const { Line(AtomicUsize::new(0)) }; MOST],
        }
    }

    /// Hands a loop out, and takes part.
    fn run(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes; the pointer is not used after this function, which
        // waits for everyone who looks at it.
        let body: Body = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Body>(body) };
        for member in 0..self.members {
            self.next[member].0.store(self.share(count, member), Ordering::Relaxed);
        }
        // SAFETY: nobody reads it now, as `Sync` above has it.
        unsafe { *self.job.get() = Some((body, count)) };
        let open = self.epoch.load(Ordering::Relaxed) + 1;
        self.epoch.store(open, Ordering::SeqCst);
        // Also if a task panics, the loop ends before its body goes.
        let _end = OnDrop(|| {
            self.epoch.store(open + 1, Ordering::SeqCst);
            wait(|| self.active.load(Ordering::SeqCst) == 0);
        });
        self.work(0, count, body);
    }

    /// Where a member's share of the tasks begins.
    fn share(&self, count: usize, member: usize) -> usize {
        count * member / self.members
    }

    /// Takes tasks: of one's own share first, then of the others'.
    fn work(&self, member: usize, count: usize, body: Body) {
        for owner in (member..self.members).chain(0..member) {
            let end = self.share(count, owner + 1);
            loop {
                let task = self.next[owner].0.fetch_add(1, Ordering::Relaxed);
                if task >= end {
                    break;
                }
                // SAFETY: the leader keeps the body until everyone is done.
                unsafe { (*body)(task) };
            }
        }
    }

    /// Helps as `member` until there will be no more loops.
    fn help(&self, member: usize) {
        if member >= self.members {
            return;
        }
        let mut seen = 0;
        loop {
            let mut epoch = seen;
            wait(|| {
                epoch = self.epoch.load(Ordering::SeqCst);
                epoch != seen || self.over.load(Ordering::Acquire)
            });
            if epoch == seen {
                return;
            }
            seen = epoch;
            if epoch % 2 == 0 {
                continue;
            }
            self.active.fetch_add(1, Ordering::SeqCst);
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                if self.epoch.load(Ordering::SeqCst) == epoch {
                    // SAFETY: the loop is open, and cannot end before `active` sinks again.
                    let job = unsafe { *self.job.get() };
                    if let Some((body, count)) = job {
                        self.work(member, count, body);
                    }
                }
            }));
            self.active.fetch_sub(1, Ordering::SeqCst);
            if let Err(panic) = panicked {
                resume_unwind(panic);
            }
        }
    }
}

/// Calls `run` for each task below `count` with the crew that this thread leads, if it does.
pub(crate) fn for_each_task(count: usize, run: &(impl Fn(usize) + Sync)) -> bool {
    let crew = LED.get();
    if crew.is_null() {
        return false;
    }
    if count < 2 {
        (0..count).for_each(run);
        return true;
    }
    // Tasks that start loops of their own are not to disturb this one.
    LED.set(std::ptr::null());
    let _back = OnDrop(|| LED.set(crew));
    // SAFETY: the crew lives in `lead`, which takes the pointer away before it ends.
    unsafe { (*crew).run(count, run) };
    true
}

/// Looks until `done`.
fn wait(mut done: impl FnMut() -> bool) {
    let mut looks = 0;
    while !done() {
        looks += 1;
        if looks < LOOKS { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

/// Does something at the end of a scope, also if that ends by a panic.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;
    use crate::engine::parallel;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn every_task_runs_once_in_every_loop() {
        for threads in [1, 2, 3, 5] {
            pool(threads).install(|| {
                together(|| {
                    for count in (0..200).chain([1000]) {
                        let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                        parallel::for_each_task(count, |task| {
                            // A loop within a loop is nobody else's business.
                            parallel::for_each_task(2, |_| {
                                runs[task].fetch_add(1, Ordering::Relaxed);
                            });
                        });
                        assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 2), "{count}");
                    }
                });
            });
        }
    }

    #[test]
    fn rayon_can_be_used_in_the_middle() {
        for threads in [2, 3, 4] {
            pool(threads).install(|| {
                for _ in 0..200 {
                    let sum = together(|| {
                        let sum = AtomicUsize::new(0);
                        let add = |task| {
                            sum.fetch_add(task, Ordering::Relaxed);
                        };
                        parallel::for_each_task(10, add);
                        (0..100).into_par_iter().for_each(add);
                        parallel::for_each_task(10, add);
                        sum.into_inner()
                    });
                    assert_eq!(sum, 45 + 4950 + 45);
                }
            });
        }
    }

    #[test]
    fn crews_of_several_threads_do_not_meet() {
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    together(|| {
                        for _ in 0..100 {
                            parallel::for_each_task(10, |task| {
                                total.fetch_add(task, Ordering::Relaxed);
                            });
                        }
                    });
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 100 * 45);
    }

    #[test]
    fn a_panic_ends_the_work_and_not_the_pool() {
        let pool = pool(2);
        for guilty in [0, 9] {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| together(|| parallel::for_each_task(10, |task| assert_ne!(task, guilty))));
            }));
            assert!(result.is_err());
            let sum = AtomicUsize::new(0);
            pool.install(|| {
                together(|| {
                    parallel::for_each_task(4, |task| {
                        sum.fetch_add(task, Ordering::Relaxed);
                    });
                });
            });
            assert_eq!(sum.into_inner(), 6);
        }
    }
}
