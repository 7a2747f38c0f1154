//! The exponential, the hyperbolic tangent and the normal distribution of one number, in plain arithmetic, so
//! that loops over them are vectorized; the standard library's are calls, number by number.
//!
//! In `f32` they are polynomials: the first two within 2 units in the last place (Cephes' `expf` and `tanhf`,
//! by Moshier, 1989). In `f64`, in which gradients are checked, they are the standard library's and `libm`'s.

use std::any::TypeId;

use residual_tensor::Float;

/// `eˣ`
#[inline(always)]
pub(crate) fn exp<T: Float>(x: T) -> T {
    in_f32(x, exp_f32).unwrap_or_else(|| x.exp())
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<T: Float>(x: T) -> T {
    in_f32(x, tanh_f32).unwrap_or_else(|| x.tanh())
}

/// `1 / (1 + e⁻ˣ)`
#[inline(always)]
pub(crate) fn sigmoid<T: Float>(x: T) -> T {
    T::one() / (T::one() + exp(-x))
}

/// The probability that a normal number is below `x`: `Φ(x) = ½ erfc(−x / √2)`.
#[inline(always)]
pub(crate) fn normal_below<T: Float>(x: T) -> T {
    in_f32(x, normal_below_f32)
        .unwrap_or_else(|| T::of(0.5 * libm::erfc(-x.to_f64() * std::f64::consts::FRAC_1_SQRT_2)))
}

/// The density of the normal distribution, `exp(−x² / 2) / √(2π)`.
#[inline(always)]
pub(crate) fn normal_density<T: Float>(x: T) -> T {
    /// `1 / √(2π)`
    const AT_ZERO: f64 = 0.398_942_280_401_432_7;
    exp(T::of(-0.5) * x * x) * T::of(AT_ZERO)
}

/// `f(x)` if this is `f32`, which the compiler decides; the way through `f64` costs nothing then.
#[inline(always)]
fn in_f32<T: Float>(x: T, f: impl Fn(f32) -> f32) -> Option<T> {
    (TypeId::of::<T>() == TypeId::of::<f32>()).then(|| T::of(f64::from(f(x.to_f64() as f32))))
}

#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    /// A number to which an integer is added exactly, in its last bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which the first has few bits, so that its multiples are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Beyond these the result is infinite, or 0. NaN fails both comparisons and stays NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -105.0 { -105.0 } else { x };
    // eˣ = 2ᵏ · eʳ with |r| ≤ ½ ln 2
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let k = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let turns = shifted - ROUND;
    let r = (x - turns * LN_2[0]) - turns * LN_2[1];
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * r + coefficient;
    }
    let y = p * (r * r) + r + 1.0;
    // In two steps: 2ᵏ itself may be too large or too small for a number where the result is not.
    let half = k >> 1;
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    y * power(half) * power(k.wrapping_sub(half))
}

#[inline(always)]
fn tanh_f32(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let mut p = -5.704_988_7e-3;
    for coefficient in [2.063_909e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_8] {
        p = p * square + coefficient;
    }
    let near_zero = p * square * x + x;
    let far = 1.0 - 2.0 / (exp_f32(2.0 * size) + 1.0);
    (if size < 0.625 { near_zero } else { far }).copysign(x)
}

/// `erfc(u) = t · exp(−u² + P(t))` for `t = 1 / (1 + u/2)` and positive `u`; the logarithm of the rest changes so
/// little that a polynomial of degree 9 has it within 6·10⁻⁸ (fitted at Chebyshev's nodes for `u` up to 10.5).
#[inline(always)]
fn normal_below_f32(x: f32) -> f32 {
    let t = 1.0 / (1.0 + (0.5 * std::f32::consts::FRAC_1_SQRT_2) * x.abs());
    let mut p = 0.148_791_15;
    for coefficient in [
        -0.701_847_26,
        1.206_169_5,
        -0.761_984_2,
        -0.025_994_685,
        -0.027_512_09,
        0.044_362_344,
        0.384_606_36,
        0.998_868_4,
        -1.265_459_5,
    ] {
        p = p * t + coefficient;
    }
    let tail = 0.5 * t * exp_f32(p - 0.5 * x * x);
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error of `f` in units in the last place of the exact result.
    fn worst(f: fn(f32) -> f32, exact: fn(f64) -> f64, range: [f32; 2]) -> f64 {
        let steps = 2_000_000;
        let step = (range[1] - range[0]) / steps as f32;
        let error = |i: i32| {
            let x = range[0] + i as f32 * step;
            let (got, exact) = (f64::from(f(x)), exact(f64::from(x)));
            let rounded = (exact as f32).abs();
            let unit = f64::from(rounded.next_up()) - f64::from(rounded);
            (got - exact).abs() / unit
        };
        (0..=steps).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn both_are_within_two_units_in_the_last_place() {
        for range in [[-103.0, -87.0], [-87.0, 88.7], [-1e-3, 1e-3]] {
            let error = worst(exp_f32, f64::exp, range);
            assert!(error <= 2.0, "exp in {range:?}: {error}");
        }
        for range in [[-10.0, 10.0], [-1.0, 1.0], [-1e-3, 1e-3]] {
            let error = worst(tanh_f32, f64::tanh, range);
            assert!(error <= 2.0, "tanh in {range:?}: {error}");
        }
    }

    #[test]
    fn the_normal_distribution_is_that_of_libm() {
        for i in -14_000..14_000 {
            let x = i as f32 * 1e-3;
            let (got, exact) = (f64::from(normal_below(x)), normal_below(f64::from(x)));
            // Far out, the exponent is rounded, too.
            let allowed = 5e-7 * exact * (1.0 + f64::from(x * x) / 8.0);
            assert!((got - exact).abs() <= allowed + 1e-40, "{x}: {got}, expected {exact}");
        }
        assert_eq!([-40.0, f32::NEG_INFINITY, f32::INFINITY].map(normal_below), [0.0, 0.0, 1.0]);
        assert!(normal_below(f32::NAN).is_nan());
        assert!((normal_density(1.0f64) - (-0.5f64).exp() / std::f64::consts::TAU.sqrt()).abs() < 1e-16);
    }

    #[test]
    fn the_ends_are_those_of_the_standard_library() {
        let ends = [0.0, -0.0, 88.72, 88.73, 89.5, 1e30, f32::INFINITY, f32::MIN_POSITIVE, 1e-45];
        for x in ends.into_iter().flat_map(|x| [x, -x]) {
            for (name, got, expected) in [("exp", exp_f32(x), x.exp()), ("tanh", tanh_f32(x), x.tanh())] {
                let close = (got - expected).abs() <= 4.0 * f32::EPSILON * expected.abs();
                let same = got == expected && got.is_sign_negative() == expected.is_sign_negative();
                assert!(close || same, "{name} {x}: {got}, expected {expected}");
            }
        }
        assert!(exp_f32(f32::NAN).is_nan() && tanh_f32(f32::NAN).is_nan());
        assert_eq!([exp_f32(-110.0), exp_f32(f32::NEG_INFINITY)], [0.0; 2]);
    }
}
