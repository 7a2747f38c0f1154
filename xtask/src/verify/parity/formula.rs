//! The formula that weights and inputs follow, so that fixtures need not contain them; it is
//! described in `fixtures/README.md`.

use residual_nn::Module;
use residual_tensor::{Float, IntoShape, Tensor};

/// `count` numbers in [0, 1), of 24 random bits each.
pub(super) fn uniform(key: &str, count: usize) -> Vec<f64> {
    let hash = key
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let number = |i: u64| {
        let mut z = hash.wrapping_add(i).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count as u64).map(number).collect()
}

/// A tensor of `low + range · uniform(key)`.
pub(super) fn filled<T: Float>(key: &str, shape: impl IntoShape, low: f64, range: f64) -> Tensor<T> {
    let shape = shape.into_shape().expect("the shape of a fixture");
    let mut numbers = uniform(key, shape.elements()).into_iter();
    Tensor::from_fn(shape, || T::of(low + range * numbers.next().expect("as many numbers as elements")))
}

/// A tensor of numbers in [−1, 1).
pub(in crate::verify) fn signed<T: Float>(key: &str, shape: impl IntoShape) -> Tensor<T> {
    filled(key, shape, -1.0, 2.0)
}

/// Gives every state of a network the value that follows from its key.
pub(super) fn fill<T: Float>(net: &dyn Module<T>) -> residual_nn::Result<()> {
    for (key, state) in net.states() {
        let shape = state.shape();
        let leaf = key.rsplit('.').next().unwrap_or_default();
        let value = match (leaf, shape.rank()) {
            ("num_batches_tracked", _) => Tensor::zeros(shape),
            ("running_mean" | "bias", _) => filled(&key, shape, -0.1, 0.2),
            ("running_var", _) => filled(&key, shape, 0.75, 0.5),
            ("weight" | "gamma", 1) => filled(&key, shape, 0.2, 0.3),
            _ => {
                let fan_in = shape[1..].iter().product::<usize>();
                let bound = (6.0 / fan_in as f64).sqrt();
                filled(&key, shape, -bound, 2.0 * bound)
            }
        };
        state.set(&value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_generate_py() {
        // python3 -c 'from generate import *; print(uniform("input", 3).tolist())'
        assert_eq!(uniform("input", 3), [0.09781831502914429, 0.14747858047485352, 0.5740844011306763]);
    }
}
