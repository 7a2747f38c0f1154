//! Winograd's transforms in one dimension: the small matrices of [`winograd`](super::winograd), as
//! sums of registers.
//!
//! F(4, 3) needs six points. 0, ±1, ±2, ∞ is the usual choice; 0, ±¾, ±3/2, ∞ has an error a
//! third of that, close to direct convolution.

use super::simd::Simd;

/// The one-dimensional transforms of F(M, 3), on registers of channels.
///
/// # Safety
/// The contract of [`Simd`].
pub(super) trait Scheme<const M: usize, const N: usize> {
    /// Bᵀ d
    unsafe fn input<S: Simd>(d: [S::Vector; N]) -> [S::Vector; N];
    /// Aᵀ m
    unsafe fn output<S: Simd>(m: [S::Vector; N]) -> [S::Vector; M];
    /// G g
    unsafe fn filter<S: Simd>(g: [S::Vector; 3]) -> [S::Vector; N];
    /// A y, the transpose of [`output`](Self::output)
    unsafe fn gradient<S: Simd>(y: [S::Vector; M]) -> [S::Vector; N];
    /// Gᵀ u, the transpose of [`filter`](Self::filter)
    unsafe fn filter_gradient<S: Simd>(u: [S::Vector; N]) -> [S::Vector; 3];
}

/// F(2, 3) at 0, 1, −1, ∞.
pub(super) struct F2;

// SAFETY of every block below: the contract of `Simd`, passed on to the caller.
impl Scheme<2, 4> for F2 {
    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; 4]) -> [S::Vector; 4] {
        unsafe { [S::sub(d[0], d[2]), S::add(d[1], d[2]), S::sub(d[2], d[1]), S::sub(d[3], d[1])] }
    }
    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; 4]) -> [S::Vector; 2] {
        unsafe { [S::add(m[0], S::add(m[1], m[2])), S::add(S::sub(m[1], m[2]), m[3])] }
    }
    #[inline(always)]
    unsafe fn filter<S: Simd>(g: [S::Vector; 3]) -> [S::Vector; 4] {
        unsafe {
            let half = S::constant(0.5);
            let (even, odd) = (S::mul(half, S::add(g[0], g[2])), S::mul(half, g[1]));
            [g[0], S::add(even, odd), S::sub(even, odd), g[2]]
        }
    }
    #[inline(always)]
    unsafe fn gradient<S: Simd>(y: [S::Vector; 2]) -> [S::Vector; 4] {
        unsafe { [y[0], S::add(y[0], y[1]), S::sub(y[0], y[1]), y[1]] }
    }
    #[inline(always)]
    unsafe fn filter_gradient<S: Simd>(u: [S::Vector; 4]) -> [S::Vector; 3] {
        unsafe {
            let half = S::constant(0.5);
            let (sum, difference) = (S::mul(half, S::add(u[1], u[2])), S::mul(half, S::sub(u[1], u[2])));
            [S::add(u[0], sum), difference, S::add(sum, u[3])]
        }
    }
}

/// F(4, 3) at 0, ±P, ±Q, ∞.
pub(super) struct F4;

const P: f64 = 0.75;
const Q: f64 = 1.5;
const P2: f64 = P * P;
const Q2: f64 = Q * Q;
/// What Lagrange's interpolation divides by at 0, ±P and ±Q.
const AT_0: f64 = 1.0 / (P2 * Q2);
const AT_P: f64 = 1.0 / (2.0 * P2 * (P2 - Q2));
const AT_Q: f64 = 1.0 / (2.0 * Q2 * (Q2 - P2));

impl Scheme<4, 6> for F4 {
    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; 6]) -> [S::Vector; 6] {
        unsafe {
            let (p2, q2) = (S::constant(P2), S::constant(Q2));
            let (product, sum) = (S::constant(P2 * Q2), S::constant(P2 + Q2));
            let even_p = S::fnma(q2, d[2], d[4]);
            let odd_p = S::mul(S::constant(P), S::fnma(q2, d[1], d[3]));
            let even_q = S::fnma(p2, d[2], d[4]);
            let odd_q = S::mul(S::constant(Q), S::fnma(p2, d[1], d[3]));
            [
                S::fma(product, d[0], S::fnma(sum, d[2], d[4])),
                S::add(even_p, odd_p),
                S::sub(even_p, odd_p),
                S::add(even_q, odd_q),
                S::sub(even_q, odd_q),
                S::fma(product, d[1], S::fnma(sum, d[3], d[5])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; 6]) -> [S::Vector; 4] {
        unsafe {
            let (even_p, odd_p) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even_q, odd_q) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            [
                S::add(m[0], S::add(even_p, even_q)),
                S::fma(S::constant(P), odd_p, S::mul(S::constant(Q), odd_q)),
                S::fma(S::constant(P2), even_p, S::mul(S::constant(Q2), even_q)),
                S::fma(S::constant(P2 * P), odd_p, S::fma(S::constant(Q2 * Q), odd_q, m[5])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn filter<S: Simd>(g: [S::Vector; 3]) -> [S::Vector; 6] {
        unsafe {
            let even_p = S::fma(S::constant(P2 * AT_P), g[2], S::mul(S::constant(AT_P), g[0]));
            let odd_p = S::mul(S::constant(P * AT_P), g[1]);
            let even_q = S::fma(S::constant(Q2 * AT_Q), g[2], S::mul(S::constant(AT_Q), g[0]));
            let odd_q = S::mul(S::constant(Q * AT_Q), g[1]);
            [
                S::mul(S::constant(AT_0), g[0]),
                S::add(even_p, odd_p),
                S::sub(even_p, odd_p),
                S::add(even_q, odd_q),
                S::sub(even_q, odd_q),
                g[2],
            ]
        }
    }
    #[inline(always)]
    unsafe fn gradient<S: Simd>(y: [S::Vector; 4]) -> [S::Vector; 6] {
        unsafe {
            let even_p = S::fma(S::constant(P2), y[2], y[0]);
            let odd_p = S::fma(S::constant(P2 * P), y[3], S::mul(S::constant(P), y[1]));
            let even_q = S::fma(S::constant(Q2), y[2], y[0]);
            let odd_q = S::fma(S::constant(Q2 * Q), y[3], S::mul(S::constant(Q), y[1]));
            [
                y[0],
                S::add(even_p, odd_p),
                S::sub(even_p, odd_p),
                S::add(even_q, odd_q),
                S::sub(even_q, odd_q),
                y[3],
            ]
        }
    }
    #[inline(always)]
    unsafe fn filter_gradient<S: Simd>(u: [S::Vector; 6]) -> [S::Vector; 3] {
        unsafe {
            let (even_p, odd_p) = (S::add(u[1], u[2]), S::sub(u[1], u[2]));
            let (even_q, odd_q) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
            let first = S::fma(S::constant(AT_P), even_p, S::mul(S::constant(AT_Q), even_q));
            let last = S::fma(S::constant(P2 * AT_P), even_p, S::mul(S::constant(Q2 * AT_Q), even_q));
            [
                S::fma(S::constant(AT_0), u[0], first),
                S::fma(S::constant(P * AT_P), odd_p, S::mul(S::constant(Q * AT_Q), odd_q)),
                S::add(last, u[5]),
            ]
        }
    }
}
