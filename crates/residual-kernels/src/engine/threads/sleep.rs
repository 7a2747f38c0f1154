//! Waiting: awake for a moment, since most waits are short, and then asleep.

use std::{
    sync::PoisonError,
    thread,
    time::{Duration, Instant},
};

use super::sync::{AtomicBool, Condvar, Mutex, Ordering, WAITS_AWAKE, fence};

/// Looks at what it waits for before a thread first offers its processor to others: some dozens of
/// microseconds, more than lie between most loops of a network. With a tenth of that, a training
/// step on a machine that is busy otherwise took 1.14 times as long (the median of ten turns).
const LOOKS: usize = 2_000;

/// How long a thread waits awake in all. To put it to sleep and to wake it takes a tenth of this; the
/// longest gaps between the loops of a training step are shorter.
const AWAKE: Duration = Duration::from_micros(200);

/// A place where threads wait for a condition that others bring about.
pub(super) struct Sleep {
    /// Whether a thread may be asleep here.
    asleep: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Sleep {
    pub(super) fn new() -> Self {
        Self { asleep: AtomicBool::new(false), lock: Mutex::new(()), bell: Condvar::new() }
    }

    /// Returns when `done`, which others have made true before they call [`Self::wake`].
    pub(super) fn wait(&self, done: impl Fn() -> bool) {
        if !(WAITS_AWAKE && awake(&done)) {
            self.sleep(done);
        }
    }

    /// Sleeps until `done`.
    pub(super) fn sleep(&self, done: impl Fn() -> bool) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.asleep.store(true, Ordering::Relaxed);
            // Of the two fences, here and in `wake`, one is first. If it is this one, then `wake` finds
            // somebody asleep; if it is the other, then `done` finds what was done before it.
            fence(Ordering::SeqCst);
            if done() {
                return;
            }
            guard = self.bell.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes whoever sleeps here, to look again. Costs a fence if nobody does.
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            // Those who find that they woke for nothing say again that they sleep.
            self.asleep.store(false, Ordering::Relaxed);
            self.bell.notify_all();
        }
    }
}

/// Looks for a while whether it is `done`.
fn awake(done: &impl Fn() -> bool) -> bool {
    for _ in 0..LOOKS {
        if done() {
            return true;
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    while start.elapsed() < AWAKE {
        if done() {
            return true;
        }
        // Another thread may need this processor to bring it about.
        thread::yield_now();
    }
    false
}
