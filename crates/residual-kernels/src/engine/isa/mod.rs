//! Instruction sets: the innermost loops, compiled once for each, behind one table.
//!
//! **Decision.** A kernel is written once, generic over `simd::Simd`; a row of numbers in
//! `avx512.rs`, `avx2.rs` or `portable.rs` says which tile sizes exist there. [`Isa`] is the
//! resulting table of function pointers, and everything above works with whatever table it is
//! given. The table for this process is chosen once: the best that the processor has, or the one
//! that the environment variable `RESIDUAL_ISA` names (`avx512`, `avx2`, `scalar`). A name that is
//! unknown, or that the processor does not have, is ignored: [`available`] tells what there is.
//!
//! **Rejected.** Assembly: the compiler does as well once it is kept from hoisting addresses
//! (`Simd::opaque`). A call per vector operation through `dyn`: nothing would inline.
//!
//! **Not here.** Which kernel to call when; that is the business of `conv2d`.

mod ahead;
mod finish;
mod largest;
mod normalize;
mod outer;
mod panel;
mod portable;
mod simd;
mod table;
mod tile;
mod vectorized;
mod winograd;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub(crate) use ahead::{Ahead, fetch_to_write};
pub(crate) use finish::Finish;
pub(crate) use largest::Largest;
pub(crate) use normalize::Normalize;
pub(crate) use outer::{Outer, OuterKernel};
pub(crate) use panel::{Copy, Gather, Scatter};
pub(crate) use tile::{Segment, Tile, TileKernel};
pub(crate) use vectorized::{Loop, vectorized};
pub(crate) use winograd::{Emit, FilterGradients, Filters, Spread};

/// The kernels of one instruction set.
///
/// Every function pointer is unsafe to call: see the documentation of its argument. That the
/// processor has the instruction set is the one thing that callers need not see to, since a
/// table is only handed out by [`active`] and [`available`].
pub struct Isa {
    /// What `RESIDUAL_ISA` calls it.
    pub name: &'static str,
    /// Numbers in a register.
    pub(crate) lanes: usize,
    /// For most channel counts.
    pub(crate) wide: Family,
    /// For a block of few channels.
    pub(crate) narrow: Family,
    pub(crate) copy: unsafe fn(&Copy),
    pub(crate) largest: unsafe fn(&Largest),
    pub(crate) gather: unsafe fn(&Gather),
    pub(crate) scatter: unsafe fn(&Scatter),
    /// F(2×2, 3×3)
    pub(crate) winograd2: Transforms,
    /// F(4×4, 3×3)
    pub(crate) winograd4: Transforms,
}

/// Kernels for blocks of as many output channels.
pub(crate) struct Family {
    /// Registers of output channels.
    pub(crate) vectors: usize,
    /// Kernels of [`tile`] for one row of 1, 2, … pixels.
    pub(crate) one_row: &'static [TileKernel],
    /// Kernels of [`tile`] for two rows of 1, 2, … pixels each.
    pub(crate) two_rows: &'static [TileKernel],
    /// Kernels of [`outer`] for 1, 2, … input channels.
    pub(crate) outer: &'static [OuterKernel],
}

/// The transforms of one Winograd scheme; see [`winograd`].
pub(crate) struct Transforms {
    pub(crate) input: unsafe fn(&Spread),
    pub(crate) gradient: unsafe fn(&Spread),
    pub(crate) output: unsafe fn(&Emit),
    pub(crate) filter: unsafe fn(&Filters),
    pub(crate) filter_gradient: unsafe fn(&FilterGradients),
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The tables that this processor can run, best first.
pub fn available() -> Vec<&'static Isa> {
    let mut tables = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            tables.push(&avx512::AVX512);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            tables.push(&avx2::AVX2);
        }
    }
    tables.push(&portable::PORTABLE);
    tables
}

/// The table of this process.
pub fn active() -> &'static Isa {
    static ACTIVE: OnceLock<&'static Isa> = OnceLock::new();
    ACTIVE.get_or_init(|| {
        let tables = available();
        let wanted = std::env::var("RESIDUAL_ISA").unwrap_or_default();
        tables.iter().copied().find(|isa| isa.name == wanted).unwrap_or(tables[0])
    })
}

#[cfg(test)]
mod tests;
