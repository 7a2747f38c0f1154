//! One contract for every kernel of every table that this processor can run: the result is that
//! of plain loops in double precision, and nothing beside it is written.

use residual_tensor::Generator;

use super::*;

/// Numbers that are no multiples of each other.
fn numbers<T: Float>(count: usize, generator: &mut Generator) -> Vec<T> {
    (0..count).map(|_| T::of(generator.between(-1.0, 1.0))).collect()
}

/// Asserts that both are equal up to what `terms` roundings may do.
fn assert_close<T: Float>(got: &[T], want: &[f64], terms: usize, what: &str) {
    assert_eq!(got.len(), want.len());
    for (at, (&got, &want)) in got.iter().zip(want).enumerate() {
        let bound = T::epsilon().to_f64() * (terms as f64 + 4.0) * want.abs().max(1.0);
        assert!((got.to_f64() - want).abs() <= bound, "{what}: {got} instead of {want} at {at}");
    }
}

fn families<T: Float>(isa: &Isa<T>) -> Vec<(&Family<T>, usize, usize, TileKernel<T>)> {
    let mut kernels = Vec::new();
    for family in [&isa.wide, &isa.narrow] {
        kernels.extend(family.one_row.iter().enumerate().map(|(i, &kernel)| (family, 1, i + 1, kernel)));
        kernels.extend(family.two_rows.iter().enumerate().map(|(i, &kernel)| (family, 2, i + 1, kernel)));
    }
    kernels
}

#[test]
fn tiles_sum_segments_and_finish() {
    check_tiles::<f32>();
    check_tiles::<f64>();
}

fn check_tiles<T: Float>() {
    let mut generator = Generator::new(1);
    for isa in available::<T>() {
        for (family, rows, pixels, kernel) in families(isa) {
            let block = family.vectors * isa.lanes;
            for (case, columns) in [(0, block), (1, block - 1), (2, 1), (3, block / 2 + 1)] {
                let segments = [Segment { offset: 3, length: 5 }, Segment { offset: 11, length: 4 }];
                let (a_pixel, a_row) = (6, 100);
                let (out_pixel, out_row) = (block + 3, (block + 3) * (pixels + 1));
                let a = numbers::<T>((rows - 1) * a_row + (pixels - 1) * a_pixel + 15, &mut generator);
                let weights = numbers::<T>(9 * block, &mut generator);
                let bias = numbers::<T>(columns, &mut generator);
                let size = (rows - 1) * out_row + (pixels - 1) * out_pixel + columns;
                let addend = numbers::<T>(size, &mut generator);
                let mut out = vec![T::max_value(); size];
                let mut want = vec![T::max_value().to_f64(); size];
                let mut moments = vec![T::of(0.5); 3 * block];
                let (with_bias, with_addend, relu) = (case != 0, case % 2 == 1, case >= 2);
                let first = case == 1;
                let shifts = moments.clone();
                let mut wanted_moments = vec![0.5; 3 * block];
                for channel in 0..columns {
                    let mut values = Vec::new();
                    for pixel in 0..rows * pixels {
                        let (row, column) = (pixel / pixels, pixel % pixels);
                        let mut sum = 0.0_f64;
                        let mut k = 0;
                        for segment in &segments {
                            for i in 0..segment.length {
                                let at = row * a_row + column * a_pixel + segment.offset + i;
                                sum += a[at].to_f64() * weights[k * block + channel].to_f64();
                                k += 1;
                            }
                        }
                        let at = row * out_row + column * out_pixel + channel;
                        sum += if with_bias { bias[channel].to_f64() } else { 0.0 };
                        sum += if with_addend { addend[at].to_f64() } else { 0.0 };
                        want[at] = if relu { sum.max(0.0) } else { sum };
                        values.push(want[at]);
                    }
                    let [shift, sum, squares] = [0, 1, 2].map(|run| run * block + channel);
                    let moments = &mut wanted_moments;
                    if first {
                        (moments[shift], moments[sum], moments[squares]) =
                            (origin(&values[..pixels]), 0.0, 0.0);
                    }
                    for value in values {
                        let difference = value - moments[shift];
                        moments[sum] += difference;
                        moments[squares] += difference * difference;
                    }
                }
                let finish = Finish {
                    bias: if with_bias { bias.as_ptr() } else { std::ptr::null() },
                    addend: if with_addend { addend.as_ptr() } else { std::ptr::null() },
                    relu,
                    moments: moments.as_mut_ptr(),
                    moments_stride: block,
                    first,
                };
                let tile = Tile {
                    a: a.as_ptr(),
                    a_pixel,
                    a_row,
                    segments: segments.as_ptr(),
                    segment_count: segments.len(),
                    weights: weights.as_ptr(),
                    ahead: weights.as_ptr(),
                    out: out.as_mut_ptr(),
                    out_pixel,
                    out_row,
                    out_is_far: case == 3,
                    columns,
                    finish,
                };
                // SAFETY: the operands were made for this tile.
                unsafe { kernel(&tile) };
                let what = format!("{isa:?} {rows}×{pixels}×{block}, {columns} columns");
                assert_close(&out, &want, 9, &what);
                for run in 0..3 {
                    let (at, wanted) = (run * block, run * block..run * block + columns);
                    assert_close(&moments[at..at + columns], &wanted_moments[wanted], 60, &what);
                }
                assert!(first || moments[..columns] == shifts[..columns]);
            }
        }
    }
}

/// What sums go around if these are the first pixels: the mean of four, spread evenly.
pub(super) fn origin(pixels: &[f64]) -> f64 {
    (0..4).map(|number| pixels[number * pixels.len() / 4]).sum::<f64>() / 4.0
}

#[test]
fn outer_products_add_to_their_sums() {
    check_outer_products::<f32>();
    check_outer_products::<f64>();
}

fn check_outer_products<T: Float>() {
    let mut generator = Generator::new(2);
    for isa in available::<T>() {
        for family in [&isa.wide, &isa.narrow] {
            let block = family.vectors * isa.lanes;
            for ((inputs, &kernel), add) in
                (1..).zip(family.outer).flat_map(|kernel| [(kernel, true), (kernel, false)])
            {
                let (lines, pixels) = (3, 5);
                let (a_pixel, b_pixel, b_vector, b_line) = (inputs + 1, 2 * block, isa.lanes + 3, block * 12);
                let a_lines = [2, 9 * a_pixel, 3 * a_pixel + 1];
                let a = numbers::<T>(13 * a_pixel + inputs, &mut generator);
                let b = numbers::<T>((lines - 1) * b_line + pixels * b_pixel, &mut generator);
                let sums_row = block + 1;
                let mut sums = numbers::<T>((inputs - 1) * sums_row + block, &mut generator);
                let mut want: Vec<f64> = sums.iter().map(|&x| x.to_f64()).collect();
                for input in 0..inputs {
                    for output in 0..block {
                        if !add {
                            want[input * sums_row + output] = 0.0;
                        }
                        for (line, pixel) in (0..lines).flat_map(|line| (0..pixels).map(move |p| (line, p))) {
                            want[input * sums_row + output] += a[a_lines[line] + pixel * a_pixel + input]
                                .to_f64()
                                * b[line * b_line
                                    + pixel * b_pixel
                                    + output / isa.lanes * b_vector
                                    + output % isa.lanes]
                                    .to_f64();
                        }
                    }
                }
                let outer = Outer {
                    a: a.as_ptr(),
                    a_lines: a_lines.as_ptr(),
                    a_pixel,
                    b: b.as_ptr(),
                    b_pixel,
                    b_vector,
                    b_line,
                    ahead: b.as_ptr(),
                    lines,
                    pixels,
                    sums: sums.as_mut_ptr(),
                    sums_row,
                    add,
                };
                // SAFETY: the operands were made for this kernel.
                unsafe { kernel(&outer) };
                assert_close(&sums, &want, 15, &format!("{isa:?} {inputs}×{block}"));
            }
        }
    }
}

#[test]
fn panels_are_copied_gathered_and_scattered() {
    check_panels::<f32>();
    check_panels::<f64>();
}

fn check_panels<T: Float>() {
    let mut generator = Generator::new(3);
    for isa in available::<T>() {
        for channels in [1, 2, isa.lanes - 1, isa.lanes, 2 * isa.lanes + 1] {
            let (pixels, from_pixel, to_pixel) = (3, channels + 2, channels + 1);
            let from = numbers::<T>((pixels - 1) * from_pixel + channels, &mut generator);
            let mut to = vec![T::of(9.0); (pixels - 1) * to_pixel + channels];
            let mut want = to.clone();
            for (pixel, channel) in (0..pixels).flat_map(|p| (0..channels).map(move |c| (p, c))) {
                want[pixel * to_pixel + channel] = from[pixel * from_pixel + channel];
            }
            let (from, to_pointer) = (from.as_ptr(), to.as_mut_ptr());
            // SAFETY: both sides have the size that is copied.
            unsafe {
                (isa.copy)(&Copy {
                    from,
                    from_pixel,
                    to: to_pointer,
                    to_pixel,
                    pixels,
                    channels,
                    normalize: None,
                })
            };
            assert_eq!(to, want);
        }
        let block = isa.wide.vectors * isa.lanes;
        for (inputs, outputs) in [(3, block), (1, block - 1), (5, 1)] {
            for (input, output) in [(1, inputs), (outputs, 1)] {
                let weights = numbers::<T>(inputs * outputs, &mut generator);
                let mut to = vec![T::of(9.0); inputs * block];
                let gather = Gather {
                    weights: weights.as_ptr(),
                    input,
                    output,
                    inputs,
                    outputs,
                    to: to.as_mut_ptr(),
                    block,
                };
                // SAFETY: the weights and the panel have the size that is moved.
                unsafe { (isa.gather)(&gather) };
                for (i, o) in (0..inputs).flat_map(|i| (0..block).map(move |o| (i, o))) {
                    let want = if o < outputs { weights[i * input + o * output] } else { T::zero() };
                    assert_eq!(to[i * block + o], want);
                }
            }
            let (parts, part) = (3, inputs * block + 5);
            let sums = numbers::<T>(parts * part, &mut generator);
            let mut weights = vec![T::of(9.0); inputs * outputs];
            let scatter = Scatter {
                sums: Sums { first: sums.as_ptr(), part, parts, block, inputs, outputs },
                weights: weights.as_mut_ptr(),
                output: inputs,
            };
            // SAFETY: the parts and the weights have the size that is moved.
            unsafe { (isa.scatter)(&scatter) };
            for (i, o) in (0..inputs).flat_map(|i| (0..outputs).map(move |o| (i, o))) {
                let at = i * block + o;
                assert_eq!(weights[o * inputs + i], sums[at] + sums[part + at] + sums[2 * part + at]);
            }
        }
    }
}

/// The processor's best table comes first, and the portable one is always there.
#[test]
fn tables_are_ordered() {
    let sets = InstructionSet::available();
    assert_eq!(sets.last().unwrap().name(), "portable");
    assert!(sets.contains(&InstructionSet::active().unwrap()));
    let tables = available::<f32>();
    assert!(tables.windows(2).all(|pair| pair[0].lanes > pair[1].lanes));
    assert!(tables.iter().zip(available::<f64>()).all(|(single, double)| single.lanes == 2 * double.lanes));
    assert!(tables.iter().any(|isa| std::ptr::eq(*isa, active().unwrap())));
}

/// Neither a ReLU nor a maximum hides NaN.
#[test]
fn what_is_not_a_number_stays() {
    check_not_a_number::<f32>();
    check_not_a_number::<f64>();
}

fn check_not_a_number<T: Float>() {
    for isa in available::<T>() {
        for (family, rows, pixels, kernel) in families(isa) {
            let block = family.vectors * isa.lanes;
            let segment = Segment { offset: 0, length: 3 };
            for wrong in 0..rows * pixels {
                // Everything but one pixel's input is −1, which a ReLU makes 0.
                let mut a = vec![-T::one(); rows * pixels * 3];
                a[wrong * 3 + 1] = T::nan();
                let weights = vec![T::one(); 3 * block];
                let mut out = vec![T::one(); rows * pixels * block];
                let tile = Tile {
                    a: a.as_ptr(),
                    a_pixel: 3,
                    a_row: 3 * pixels,
                    segments: &segment,
                    segment_count: 1,
                    weights: weights.as_ptr(),
                    ahead: weights.as_ptr(),
                    out: out.as_mut_ptr(),
                    out_pixel: block,
                    out_row: block * pixels,
                    out_is_far: false,
                    columns: block,
                    finish: Finish { relu: true, ..Finish::NONE },
                };
                // SAFETY: the operands were made for this tile.
                unsafe { kernel(&tile) };
                for (at, &out) in out.iter().enumerate() {
                    let stays = if at / block == wrong { out.is_nan() } else { out == T::zero() };
                    assert!(stays, "{isa:?} {rows}×{pixels}×{block}: {out} at {at}, not a number: {wrong}");
                }
            }
        }
        for channels in [1, isa.lanes - 1, isa.lanes + 1] {
            for wrong in 0..6 * channels {
                let mut x: Vec<T> = (0..6 * channels).map(|at| T::of(at as f64)).collect();
                x[wrong] = T::nan();
                let mut y = vec![T::zero(); channels];
                let window = Largest {
                    x: x.as_ptr(),
                    row: 3 * channels,
                    rows: 2,
                    columns: 3,
                    channels,
                    y: y.as_mut_ptr(),
                };
                // SAFETY: two rows of three pixels, and a result of as many channels.
                unsafe { (isa.largest)(&window) };
                for (channel, &y) in y.iter().enumerate() {
                    let largest = T::of((5 * channels + channel) as f64);
                    let stays = if channel == wrong % channels { y.is_nan() } else { y == largest };
                    assert!(stays, "{isa:?} {channels}: {y} in channel {channel}, not a number: {wrong}");
                }
            }
        }
    }
}
