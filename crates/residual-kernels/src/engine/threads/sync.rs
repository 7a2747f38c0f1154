//! What threads share memory with: the standard library's types, or those of `loom` when it models
//! this module.

#[cfg(not(all(loom, test)))]
pub(super) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
};

#[cfg(all(loom, test))]
pub(super) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
};

/// On cache lines of its own: two, which processors fetch together.
#[repr(align(128))]
pub(super) struct Line<T>(pub(super) T);
