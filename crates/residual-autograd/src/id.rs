//! Numbers that tell tapes and states apart, for as long as the program runs. An address would not
//! do: it is given to something else as soon as its owner is gone.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that no other tape or state has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(u64);

impl Id {
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
