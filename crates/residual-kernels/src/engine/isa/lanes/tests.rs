//! The contract of the kernels of lanes, on every table that this processor can run: the result is
//! that of plain loops in double precision, and nothing beside it is written.

use residual_tensor::{Float, Generator};

use super::*;
use crate::engine::isa::{Isa, available, tests::origin};

fn numbers<T: Float>(count: usize, generator: &mut Generator) -> Vec<T> {
    (0..count).map(|_| T::of(generator.between(-1.0, 1.0))).collect()
}

/// Picks that read all over the `inputs` numbers of a pixel.
fn picks<T: Float>(isa: &Isa<T>, count: usize) -> Vec<Pick> {
    let pick =
        |n| Pick { offset: 3 * n, lanes: std::array::from_fn(|lane| ((7 * lane + n) % isa.lanes) as u8) };
    (0..count).map(pick).collect()
}

#[track_caller]
fn assert_close<T: Float>(got: T, want: f64, what: &str) {
    let bound = T::epsilon().to_f64() * 64.0 * want.abs().max(1.0);
    assert!((got.to_f64() - want).abs() <= bound, "{what}: {got} instead of {want}");
}

#[test]
fn tiles_sum_over_picks_and_finish() {
    check_tiles::<f32>();
    check_tiles::<f64>();
}

fn check_tiles<T: Float>() {
    let mut generator = Generator::new(1);
    for isa in available::<T>() {
        let lanes = isa.lanes;
        for ((pixels, &kernel), columns) in (1..)
            .zip(isa.of_lanes.tile)
            .flat_map(|kernel| [lanes, lanes - 1, 1].map(|columns| (kernel, columns)))
        {
            let (shared, single) = (2, 3);
            let picks = picks(isa, shared + single);
            let (a_pixel, out_pixel) = (lanes + 1, lanes + 3);
            let a = numbers::<T>((pixels + TAPS - 2) * a_pixel + 3 * picks.len() + lanes, &mut generator);
            let weights = numbers::<T>((shared * TAPS + single) * lanes, &mut generator);
            let bias = numbers::<T>(columns, &mut generator);
            let mut out = vec![T::max_value(); pixels * out_pixel];
            let mut moments = vec![T::of(0.5); 3 * lanes];
            let finish = Finish {
                bias: bias.as_ptr(),
                relu: columns == 1,
                moments: moments.as_mut_ptr(),
                moments_stride: lanes,
                first: true,
                ..Finish::NONE
            };
            let tile = LaneTile {
                a: a.as_ptr(),
                a_pixel,
                picks: picks.as_ptr(),
                pick_counts: [shared, single],
                weights: weights.as_ptr(),
                ahead: a.as_ptr(),
                out: out.as_mut_ptr(),
                out_pixel,
                columns,
                finish,
            };
            // SAFETY: the operands were made for this tile.
            unsafe { kernel(&tile) };
            let what = format!("{isa:?}, {pixels} pixels, {columns} columns");
            for (at, &got) in out.iter().enumerate() {
                let (pixel, lane) = (at / out_pixel, at % out_pixel);
                if lane >= columns {
                    assert_eq!(got, T::max_value(), "{what}");
                    continue;
                }
                let mut want = bias[lane].to_f64();
                let mut weights = weights.chunks_exact(lanes);
                for (n, pick) in picks.iter().enumerate() {
                    for tap in 0..if n < shared { TAPS } else { 1 } {
                        let input = (pixel + tap) * a_pixel + pick.offset + usize::from(pick.lanes[lane]);
                        want += a[input].to_f64() * weights.next().unwrap()[lane].to_f64();
                    }
                }
                want = if columns == 1 { want.max(0.0) } else { want };
                assert_close(got, want, &what);
            }
            for lane in 0..columns {
                let values: Vec<f64> =
                    out[lane..].iter().step_by(out_pixel).map(|&y| Float::to_f64(y)).collect();
                let shift = moments[lane].to_f64();
                assert_close(moments[lane], origin(&values), &what);
                assert_close(moments[lanes + lane], values.iter().map(|value| value - shift).sum(), &what);
            }
        }
    }
}

#[test]
fn outer_products_add_to_their_sums() {
    check_outer_products::<f32>();
    check_outer_products::<f64>();
}

fn check_outer_products<T: Float>() {
    let mut generator = Generator::new(2);
    for isa in available::<T>() {
        let (lanes, family) = (isa.lanes, &isa.of_lanes);
        for (taps, kernels) in [(TAPS, family.outer_taps), (1, family.outer)] {
            for ((count, &kernel), pixels) in
                (1..).zip(kernels).flat_map(|kernel| [1, 2, 3, 8].map(|pixels| (kernel, pixels)))
            {
                let (picks, a_pixel) = (picks(isa, count), lanes + 1);
                let a_lines = [2, 14 * a_pixel, 3];
                let mut a = numbers::<T>((14 + pixels + taps) * a_pixel + 3 * count + lanes, &mut generator);
                let b = numbers::<T>(a_lines.len() * pixels * lanes, &mut generator);
                let mut sums = numbers::<T>(count * taps * lanes, &mut generator);
                let add = pixels % 2 == 0;
                let mut want: Vec<f64> =
                    sums.iter().map(|&sum| if add { Float::to_f64(sum) } else { 0.0 }).collect();
                // What the last tap of one pick sees beyond the line, other taps must not see.
                if taps > 1 {
                    let last = a_lines[1] + (pixels + taps - 2) * a_pixel;
                    a[last..last + lanes].fill(T::infinity());
                }
                for (at, want) in want.iter_mut().enumerate() {
                    let (n, tap, lane) = (at / (taps * lanes), at / lanes % taps, at % lanes);
                    for (line, pixel) in (0..3).flat_map(|line| (0..pixels).map(move |pixel| (line, pixel))) {
                        let at: usize = a_lines[line] + (pixel + tap) * a_pixel + picks[n].offset;
                        let input = a[at + usize::from(picks[n].lanes[lane])];
                        *want += input.to_f64() * b[(line * pixels + pixel) * lanes + lane].to_f64();
                    }
                }
                let outer = LaneOuter {
                    a: a.as_ptr(),
                    a_lines: a_lines.as_ptr(),
                    a_pixel,
                    picks: picks.as_ptr(),
                    b: b.as_ptr(),
                    lines: a_lines.len(),
                    pixels,
                    ahead: a.as_ptr(),
                    sums: sums.as_mut_ptr(),
                    add,
                };
                // SAFETY: the operands were made for this kernel.
                unsafe { kernel(&outer) };
                for (&got, &want) in sums.iter().zip(&want) {
                    let what = format!("{isa:?}, {count} picks for {taps} taps, {pixels} pixels");
                    if want.is_finite() {
                        assert_close(got, want, &what);
                    } else {
                        assert_eq!(got.to_f64(), want, "{what}");
                    }
                }
            }
        }
    }
}
