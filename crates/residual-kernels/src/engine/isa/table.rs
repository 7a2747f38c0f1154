//! The macro that instantiates every kernel for one instruction set and each element.

/// Defines the statics `F32` and `F64`, [`Isa`](super::Isa)s of one instruction set: the type
/// that implements [`Simd`](super::simd::Simd), named like its
/// [`Instructions`](super::Instructions), the attribute that lets the compiler
/// use the instructions, and for each family of kernels its registers of output channels and its
/// sizes: tiles of one row, tiles of two rows, outer products. The kernels of lanes have sizes of
/// tiles, of outer products for several taps, and for one.
macro_rules! kernels_for {
    (
        $(#[$doc:meta])*
        $simd:ident, [$attribute:meta],
        wide: $wide:literal, [$($wide1:literal)*], [$($wide2:literal)*], [$($wide_outer:literal)*],
        narrow: $narrow:literal, [$($narrow1:literal)*], [$($narrow2:literal)*], [$($narrow_outer:literal)*],
        lanes: [$($lane_tile:literal)*], [$($lane_outer_taps:literal)*], [$($lane_outer:literal)*]
    ) => {
        /// The kernels of `f32`.
        pub(super) static F32: $crate::engine::isa::Isa<f32> = isa::<$simd<f32>>();
        /// The kernels of `f64`.
        pub(super) static F64: $crate::engine::isa::Isa<f64> = isa::<$simd<f64>>();

        $(#[$doc])*
        const fn isa<S: Simd>() -> $crate::engine::isa::Isa<S::Element> {
            use $crate::engine::isa::{
                Family, Instructions, Isa, LaneFamily, Transforms, lanes, largest, outer, panel, tile,
                scheme::{F2, F4, Scheme}, winograd,
            };

            // SAFETY of every block below: the kernels' contract, passed on to the caller, who
            // also sees to it that the processor has the instruction set.
            #[$attribute]
            unsafe fn tile<S: Simd, const R: usize, const Q: usize, const V: usize>(
                tile: &tile::Tile<S::Element>,
            ) {
                unsafe { tile::tile::<S, R, Q, V>(tile) }
            }
            #[$attribute]
            unsafe fn outer<S: Simd, const Q: usize, const V: usize>(outer: &outer::Outer<S::Element>) {
                unsafe { outer::outer::<S, Q, V>(outer) }
            }
            #[$attribute]
            unsafe fn lane_tile<S: Simd, const Q: usize>(tile: &lanes::LaneTile<S::Element>) {
                unsafe { lanes::tile::<S, Q>(tile) }
            }
            #[$attribute]
            unsafe fn lane_outer<S: Simd, const N: usize, const W: usize>(
                outer: &lanes::LaneOuter<S::Element>,
            ) {
                unsafe { lanes::outer::<S, N, W>(outer) }
            }
            #[$attribute]
            unsafe fn copy<S: Simd>(copy: &panel::Copy<S::Element>) {
                unsafe { panel::copy::<S>(copy) }
            }
            #[$attribute]
            unsafe fn largest<S: Simd>(window: &largest::Largest<S::Element>) {
                unsafe { largest::largest::<S>(window) }
            }
            #[$attribute]
            unsafe fn gather<S: Simd>(gather: &panel::Gather<S::Element>) {
                unsafe { panel::gather::<S>(gather) }
            }
            #[$attribute]
            unsafe fn scatter<S: Simd>(scatter: &panel::Scatter<S::Element>) {
                unsafe { panel::scatter::<S>(scatter) }
            }
            #[$attribute]
            unsafe fn input<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
                spread: &winograd::Spread<S::Element>,
            ) {
                unsafe { winograd::input::<S, W, M, N>(spread) }
            }
            #[$attribute]
            unsafe fn gradient<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
                spread: &winograd::Spread<S::Element>,
            ) {
                unsafe { winograd::gradient::<S, W, M, N>(spread) }
            }
            #[$attribute]
            unsafe fn output<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
                emit: &winograd::Emit<S::Element>,
            ) {
                unsafe { winograd::output::<S, W, M, N>(emit) }
            }
            #[$attribute]
            unsafe fn filter<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
                filters: &winograd::Filters<S::Element>,
            ) {
                unsafe { winograd::filter::<S, W, M, N>(filters) }
            }
            #[$attribute]
            unsafe fn filter_gradient<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>(
                gradients: &winograd::FilterGradients<S::Element>,
            ) {
                unsafe { winograd::filter_gradient::<S, W, M, N>(gradients) }
            }
            const fn transforms<S: Simd, W: Scheme<M, N>, const M: usize, const N: usize>()
            -> Transforms<S::Element> {
                Transforms {
                    input: input::<S, W, M, N>,
                    gradient: gradient::<S, W, M, N>,
                    output: output::<S, W, M, N>,
                    filter: filter::<S, W, M, N>,
                    filter_gradient: filter_gradient::<S, W, M, N>,
                }
            }

            Isa {
                instructions: Instructions::$simd,
                lanes: S::LANES,
                wide: Family {
                    vectors: $wide,
                    one_row: const { &[$(tile::<S, 1, $wide1, $wide> as _),*] },
                    two_rows: const { &[$(tile::<S, 2, $wide2, $wide> as _),*] },
                    outer: const { &[$(outer::<S, $wide_outer, $wide> as _),*] },
                },
                narrow: Family {
                    vectors: $narrow,
                    one_row: const { &[$(tile::<S, 1, $narrow1, $narrow> as _),*] },
                    two_rows: const { &[$(tile::<S, 2, $narrow2, $narrow> as _),*] },
                    outer: const { &[$(outer::<S, $narrow_outer, $narrow> as _),*] },
                },
                of_lanes: LaneFamily {
                    tile: const { &[$(lane_tile::<S, $lane_tile> as _),*] },
                    outer_taps: const { &[$(lane_outer::<S, $lane_outer_taps, { lanes::TAPS }> as _),*] },
                    outer: const { &[$(lane_outer::<S, $lane_outer, 1> as _),*] },
                },
                copy: copy::<S>,
                largest: largest::<S>,
                gather: gather::<S>,
                scatter: scatter::<S>,
                winograd2: transforms::<S, F2, 2, 4>(),
                winograd4: transforms::<S, F4, 4, 6>(),
            }
        }
    };
}

pub(super) use kernels_for;
