//! Keeps the arenas usable in the child of a fork.
//!
//! A child has the memory of its parent, but only the thread that forked. A lock that another
//! thread held at that moment would stay taken for ever, so all of them are taken by the forking
//! thread before, and given up after, on both sides.

use std::{
    cell::RefCell,
    sync::{
        MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{Arena, HOMES, idle};

thread_local! {
    static TAKEN: RefCell<Vec<MutexGuard<'static, Arena>>> = const { RefCell::new(Vec::new()) };
}

// SAFETY: the section holds functions of this type, which run once, when the program or library is loaded.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = register;

/// Has the system do so from now on. When the program is loaded, because a fork that has begun pays no heed to
/// what is registered later, by the first thread that allocates.
extern "C" fn register() {
    // SAFETY: the functions may run in any thread at any time that is not within a lock's scope; no fork
    // happens in one. Should there be no memory to register them, the child of a fork is merely unsafe to
    // allocate in.
    unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after_in_child)) };
}

/// How many forks lie between this process and the one that the program was started in.
pub(super) static FORKS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn before() {
    TAKEN.with_borrow_mut(|taken| taken.extend(HOMES.iter().map(|home| home.arena())));
}

extern "C" fn after() {
    TAKEN.with_borrow_mut(Vec::clear);
}

extern "C" fn after_in_child() {
    after();
    idle::is_gone();
    FORKS.fetch_add(1, Relaxed);
}
