//! Winograd's convolution: 3×3 at stride 1 with 2.25 or 4 times fewer multiplications.
//!
//! The transforms of single tiles, and what they are, stand in `isa::winograd`. Here tiles are
//! put together into matrix products, one for each of the N² points:
//!
//! ```text
//! forward, data    M[ξ] [tiles, outputs] = V[ξ] [tiles, inputs] · U[ξ] [inputs, outputs]
//! weights         dU[ξ] [inputs, outputs] = V[ξ]ᵀ [inputs, tiles] · Z[ξ] [tiles, outputs]
//! ```
//! The three stages (transform, multiply, transform back) are done for a chunk of tiles at a
//! time, small enough that V and M stay in the second cache; done for all tiles at once they are
//! bound by memory. Of channels in groups, a block of groups is transformed at a time, and each group
//! multiplied by itself.

mod backward_weights;
mod forward;
mod tiling;

pub(super) use {
    backward_weights::WinogradGradient,
    forward::Winograd,
    tiling::{TileSize, suits},
};
