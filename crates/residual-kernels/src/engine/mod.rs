//! The machine beneath the operations: registers and instruction sets, threads, scratch memory.
//! No operation is here.

pub(crate) mod caches;
pub(crate) mod environment;
pub mod isa;
pub mod machine;
pub(crate) mod parallel;
pub(crate) mod shared;
pub(crate) mod threads;
