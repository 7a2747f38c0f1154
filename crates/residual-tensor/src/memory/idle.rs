//! Gives memory back that nothing has used for a while.
//!
//! A thread looks at all arenas once per period. It starts when much has been freed, and ends when
//! little is left to give back, so that a program at rest has no such thread.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

use super::HOMES;

/// The period that holds unless [set](set_idle_period) otherwise. Longer than a training step
/// should take, as what the step frees is wanted again in the next one.
pub const IDLE_PERIOD: Duration = Duration::from_secs(10);

/// Less than this is not worth a thread.
const WORTHWHILE: usize = 8 << 20;

/// In milliseconds; 0 for never.
static PERIOD: AtomicU64 = AtomicU64::new(IDLE_PERIOD.as_millis() as u64);
static IS_RUNNING: AtomicBool = AtomicBool::new(false);

/// Sets after how long memory that is not used goes back to the system: between one and two
/// periods later. `None` keeps it until [`trim`](super::trim) is called. Takes effect when the
/// running period ends.
pub fn set_idle_period(period: Option<Duration>) {
    let milliseconds = |period: Duration| u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1);
    PERIOD.store(period.map_or(0, milliseconds), SeqCst);
}

/// To be called when `bytes` have been freed in an arena since they were last looked for.
pub(super) fn freed(bytes: usize) {
    if bytes >= WORTHWHILE && !IS_RUNNING.load(SeqCst) && PERIOD.load(SeqCst) > 0 {
        start();
    }
}

#[cold]
fn start() {
    if IS_RUNNING.swap(true, SeqCst) {
        return;
    }
    let thread = thread::Builder::new().name("residual-memory".to_owned());
    if thread.spawn(run).is_err() {
        // Without a thread memory is kept; the next time that much is freed may be luckier.
        IS_RUNNING.store(false, SeqCst);
    }
}

fn run() {
    loop {
        let period = PERIOD.load(SeqCst);
        if period == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(period));
        // Memory may be kept from now on.
        if PERIOD.load(SeqCst) == 0 || HOMES.iter().map(|home| home.arena().age()).sum::<usize>() < WORTHWHILE
        {
            break;
        }
    }
    IS_RUNNING.store(false, SeqCst);
    // What was freed between the last look and the line above has found a running thread.
    freed(HOMES.iter().map(|home| home.arena().freed()).max().unwrap_or(0));
}

/// In the child of a fork, which does not have the thread.
#[cfg(target_os = "linux")]
pub(super) fn is_gone() {
    IS_RUNNING.store(false, SeqCst);
}
