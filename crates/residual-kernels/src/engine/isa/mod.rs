//! Instruction sets: the innermost loops, compiled once for each and for each element, behind
//! tables.
//!
//! **Decision.** A kernel is written once, generic over `simd::Simd`, which is a register of
//! `f32` or of `f64`; a row of numbers in `avx512.rs`, `avx2.rs` or `portable.rs` says which tile
//! sizes exist there. `Isa` is the resulting table of function pointers for one
//! [`InstructionSet`] and one element, and everything above works with whatever table it is given.
//! The instruction set of this process is chosen once: the best that the processor has, or the
//! one that the environment variable `RESIDUAL_ISA` names (`avx512`, `avx2`, `portable`). A name
//! that is unknown, or of an instruction set that the processor does not have, is an
//! [error](crate::KernelError::Environment).
//!
//! **Rejected.** Assembly: the compiler does as well once it is kept from hoisting addresses
//! (`Simd::opaque`). A call per vector operation through `dyn`: nothing would inline.
//!
//! **Not here.** Which kernel to call when; that is the business of `conv2d`.

mod ahead;
mod finish;
mod lanes;
mod largest;
mod normalize;
mod outer;
mod panel;
mod portable;
mod scheme;
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

use residual_tensor::{Float, PerFloat};

pub(crate) use ahead::{Ahead, fetch_to_write};
pub(crate) use finish::Finish;
pub(crate) use lanes::{LaneOuter, LaneOuterKernel, LaneTile, LaneTileKernel, Pick, TAPS};
pub(crate) use largest::Largest;
pub(crate) use normalize::Normalize;
pub(crate) use outer::{Outer, OuterKernel};
pub(crate) use panel::{Copy, Gather, Scatter, Sums};
pub(crate) use tile::{Segment, Tile, TileKernel};
pub(crate) use vectorized::{Loop, vectorized};
pub(crate) use winograd::{Emit, FilterGradients, Filters, Spread};

use crate::{Result, engine::environment};

/// An instruction set that kernels are compiled for and that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstructionSet(Instructions);

environment::named! {
    /// The instructions of an [`InstructionSet`], the best first.
    pub(crate) enum Instructions {
        /// AVX-512 (its foundation, F): 32 registers of 64 bytes.
        Avx512 = "avx512",
        /// AVX2 with FMA: 16 registers of 32 bytes.
        Avx2 = "avx2",
        /// What every processor of the target has.
        Portable = "portable",
    }
}

impl InstructionSet {
    /// What `RESIDUAL_ISA` calls each that there are kernels for, the best first.
    pub const NAMES: [&'static str; Instructions::ALL.len()] = Instructions::NAMES;

    /// Those that there are, the best first.
    pub fn available() -> Vec<Self> {
        Instructions::ALL.into_iter().filter(|instructions| instructions.are_available()).map(Self).collect()
    }

    /// The one that this process computes with.
    ///
    /// # Errors
    /// If `RESIDUAL_ISA` does not name one that this processor has.
    pub fn active() -> Result<Self> {
        static ACTIVE: OnceLock<Result<InstructionSet>> = OnceLock::new();
        let choose = || {
            let available = Self::available();
            Ok(environment::choice("RESIDUAL_ISA", &available, Self::name)?.unwrap_or(available[0]))
        };
        ACTIVE.get_or_init(choose).clone()
    }

    /// What `RESIDUAL_ISA` calls it.
    pub const fn name(self) -> &'static str {
        self.0.name()
    }

    pub(crate) const fn instructions(self) -> Instructions {
        self.0
    }
}

impl Instructions {
    fn are_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }
}

/// The kernels of one instruction set for numbers of type `T`.
///
/// Every function pointer is unsafe to call: see the documentation of its argument. That the
/// processor has the instruction set is the one thing that callers need not see to, since a
/// table is only handed out by [`active`] and [`available`].
pub(crate) struct Isa<T: Float> {
    pub(crate) instructions: Instructions,
    /// Numbers in a register.
    pub(crate) lanes: usize,
    /// For most channel counts.
    pub(crate) wide: Family<T>,
    /// For a block of few channels.
    pub(crate) narrow: Family<T>,
    /// For groups of few channels.
    pub(crate) of_lanes: LaneFamily<T>,
    pub(crate) copy: unsafe fn(&Copy<T>),
    pub(crate) largest: unsafe fn(&Largest<T>),
    pub(crate) gather: unsafe fn(&Gather<T>),
    pub(crate) scatter: unsafe fn(&Scatter<T>),
    /// F(2×2, 3×3)
    pub(crate) winograd2: Transforms<T>,
    /// F(4×4, 3×3)
    pub(crate) winograd4: Transforms<T>,
}

/// Kernels for blocks of as many output channels.
pub(crate) struct Family<T: Float> {
    /// Registers of output channels.
    pub(crate) vectors: usize,
    /// Kernels of [`tile`] for one row of 1, 2, … pixels.
    pub(crate) one_row: &'static [TileKernel<T>],
    /// Kernels of [`tile`] for two rows of 1, 2, … pixels each.
    pub(crate) two_rows: &'static [TileKernel<T>],
    /// Kernels of [`outer`] for 1, 2, … input channels.
    pub(crate) outer: &'static [OuterKernel<T>],
}

/// Kernels of [`lanes`].
pub(crate) struct LaneFamily<T: Float> {
    /// For 1, 2, … pixels.
    pub(crate) tile: &'static [LaneTileKernel<T>],
    /// For 1, 2, … picks for [`TAPS`] taps each.
    pub(crate) outer_taps: &'static [LaneOuterKernel<T>],
    /// For 1, 2, … picks for one tap each.
    pub(crate) outer: &'static [LaneOuterKernel<T>],
}

/// The transforms of one Winograd scheme; see [`winograd`].
pub(crate) struct Transforms<T: Float> {
    pub(crate) input: unsafe fn(&Spread<T>),
    pub(crate) gradient: unsafe fn(&Spread<T>),
    pub(crate) output: unsafe fn(&Emit<T>),
    pub(crate) filter: unsafe fn(&Filters<T>),
    pub(crate) filter_gradient: unsafe fn(&FilterGradients<T>),
}

impl<T: Float> Isa<T> {
    /// The set that these are the kernels of. Tables are found by way of a set that the processor has.
    pub(crate) fn set(&self) -> InstructionSet {
        InstructionSet(self.instructions)
    }

    /// How many numbers so many bytes hold.
    pub(crate) fn numbers_in(&self, bytes: usize) -> usize {
        bytes / size_of::<T>()
    }
}

impl<T: Float> std::fmt::Debug for Isa<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.instructions.name(), T::NAME)
    }
}

/// The tables that this processor can run, best first.
#[cfg(test)]
pub(crate) fn available<T: Float>() -> Vec<&'static Isa<T>> {
    InstructionSet::available().into_iter().map(|set| T::pick(Tables(set))).collect()
}

/// The table of this process.
///
/// # Errors
/// As [`InstructionSet::active`].
pub(crate) fn active<T: Float>() -> Result<&'static Isa<T>> {
    Ok(T::pick(Tables(InstructionSet::active()?)))
}

/// The tables of an instruction set.
struct Tables(InstructionSet);

impl PerFloat for Tables {
    type For<T: Float> = &'static Isa<T>;

    fn f32(self) -> &'static Isa<f32> {
        match self.0.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => &avx512::F32,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => &avx2::F32,
            #[cfg(not(target_arch = "x86_64"))]
            Instructions::Avx512 | Instructions::Avx2 => &portable::F32,
            Instructions::Portable => &portable::F32,
        }
    }

    fn f64(self) -> &'static Isa<f64> {
        match self.0.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => &avx512::F64,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => &avx2::F64,
            #[cfg(not(target_arch = "x86_64"))]
            Instructions::Avx512 | Instructions::Avx2 => &portable::F64,
            Instructions::Portable => &portable::F64,
        }
    }
}

#[cfg(test)]
mod tests;
