//! What threads share memory with: the standard library's types. `tests/models.rs` of this crate has those of
//! `loom` in the place of this file.

pub(super) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
};

/// Whether threads look for a moment at what they wait for before they sleep.
pub(super) const WAITS_AWAKE: bool = true;

/// On cache lines of its own: two, which processors fetch together.
#[repr(align(128))]
pub(super) struct Line<T>(pub(super) T);
