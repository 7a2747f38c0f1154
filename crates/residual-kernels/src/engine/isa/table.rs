//! The macro that instantiates every kernel for one instruction set.

/// Defines a static [`Isa`](super::Isa): its name, the type that implements
/// [`Simd`](super::simd::Simd), the attribute that lets the compiler use the instructions, and for
/// each family of kernels its registers of output channels and its sizes: tiles of one row, tiles
/// of two rows, outer products.
macro_rules! kernels_for {
    (
        $(#[$doc:meta])*
        $table:ident, $name:literal, $simd:ty, [$attribute:meta],
        wide: $wide:literal, [$($wide1:literal)*], [$($wide2:literal)*], [$($wide_outer:literal)*],
        narrow: $narrow:literal, [$($narrow1:literal)*], [$($narrow2:literal)*], [$($narrow_outer:literal)*]
    ) => {
        $(#[$doc])*
        pub(super) static $table: $crate::engine::isa::Isa = {
            use $crate::engine::isa::{Family, Isa, largest, outer, panel, tile};

            // SAFETY of every block below: the kernels' contract, passed on to the caller, who
            // also sees to it that the processor has the instruction set.
            #[$attribute]
            unsafe fn tile<const R: usize, const Q: usize, const V: usize>(tile: &tile::Tile) {
                unsafe { tile::tile::<$simd, R, Q, V>(tile) }
            }
            #[$attribute]
            unsafe fn outer<const Q: usize, const V: usize>(outer: &outer::Outer) {
                unsafe { outer::outer::<$simd, Q, V>(outer) }
            }
            #[$attribute]
            unsafe fn copy(copy: &panel::Copy) {
                unsafe { panel::copy::<$simd>(copy) }
            }
            #[$attribute]
            unsafe fn largest(window: &largest::Largest) {
                unsafe { largest::largest::<$simd>(window) }
            }
            #[$attribute]
            unsafe fn gather(gather: &panel::Gather) {
                unsafe { panel::gather::<$simd>(gather) }
            }
            #[$attribute]
            unsafe fn scatter(scatter: &panel::Scatter) {
                unsafe { panel::scatter::<$simd>(scatter) }
            }
            $crate::engine::isa::table::transforms!(f2, F2, 2, 4, $simd, [$attribute]);
            $crate::engine::isa::table::transforms!(f4, F4, 4, 6, $simd, [$attribute]);

            Isa {
                name: $name,
                lanes: <$simd as $crate::engine::isa::simd::Simd>::LANES,
                wide: Family {
                    vectors: $wide,
                    one_row: &[$(tile::<1, $wide1, $wide>),*],
                    two_rows: &[$(tile::<2, $wide2, $wide>),*],
                    outer: &[$(outer::<$wide_outer, $wide>),*],
                },
                narrow: Family {
                    vectors: $narrow,
                    one_row: &[$(tile::<1, $narrow1, $narrow>),*],
                    two_rows: &[$(tile::<2, $narrow2, $narrow>),*],
                    outer: &[$(outer::<$narrow_outer, $narrow>),*],
                },
                copy,
                largest,
                gather,
                scatter,
                winograd2: f2::TRANSFORMS,
                winograd4: f4::TRANSFORMS,
            }
        };
    };
}

/// Defines a module with [`Transforms`](super::Transforms) of one Winograd scheme.
macro_rules! transforms {
    ($module:ident, $scheme:ident, $m:literal, $n:literal, $simd:ty, [$attribute:meta]) => {
        mod $module {
            use super::*;
            use $crate::engine::isa::{Transforms, winograd};

            // SAFETY of every block below: as for the kernels of the table.
            #[$attribute]
            unsafe fn input(spread: &winograd::Spread) {
                unsafe { winograd::input::<$simd, winograd::$scheme, $m, $n>(spread) }
            }
            #[$attribute]
            unsafe fn gradient(spread: &winograd::Spread) {
                unsafe { winograd::gradient::<$simd, winograd::$scheme, $m, $n>(spread) }
            }
            #[$attribute]
            unsafe fn output(emit: &winograd::Emit) {
                unsafe { winograd::output::<$simd, winograd::$scheme, $m, $n>(emit) }
            }
            #[$attribute]
            unsafe fn filter(filters: &winograd::Filters) {
                unsafe { winograd::filter::<$simd, winograd::$scheme, $m, $n>(filters) }
            }
            #[$attribute]
            unsafe fn filter_gradient(gradients: &winograd::FilterGradients) {
                unsafe { winograd::filter_gradient::<$simd, winograd::$scheme, $m, $n>(gradients) }
            }
            pub(super) const TRANSFORMS: Transforms =
                Transforms { input, gradient, output, filter, filter_gradient };
        }
    };
}

pub(super) use {kernels_for, transforms};
