//! The machine beneath the operations: registers and instruction sets, threads, scratch memory.
//! No operation is here.

mod crew;
pub(crate) mod environment;
pub mod isa;
pub mod machine;
pub(crate) mod parallel;

pub use crew::together;
