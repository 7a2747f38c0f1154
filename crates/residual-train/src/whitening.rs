//! Filters that whiten pictures: the first convolution of a network with such a stem is not trained, but
//! computed from the pictures (Page 2019, "How to train your ResNet"; Jordan 2024, section 3.2).

use residual_model::Model;
use residual_nn::Module;
use residual_tensor::{Float, Tensor};

use crate::Result;

/// What is added to each eigenvalue, so that directions in which pictures hardly vary do not become noise.
const EPSILON: f64 = 5e-4;

/// Sets the filters of the first convolution to the eigenvectors of the covariance (about zero) of patches of
/// standardised pictures `[n, c, h, w]`, over the root of their eigenvalues; then the same with the other sign.
///
/// # Errors
/// If a batch cannot be made.
pub(crate) fn whiten<T: Float>(
    model: &Model<T>,
    batches: impl Iterator<Item = Result<Tensor<f32>>>,
) -> Result<()> {
    let path = format!("{}.weight", model.net.config().first_convolution());
    let Some((_, weight)) = model.net.states().into_iter().find(|(name, _)| *name == path) else {
        return Ok(());
    };
    let shape = weight.shape();
    let [filters, channels, height, width] = [shape[0], shape[1], shape[2], shape[3]];
    let size = channels * height * width;
    let mut covariance = vec![0.0; size * size];
    let mut patches = 0u64;
    for batch in batches {
        patches += add_patches(&batch?, [channels, height, width], &mut covariance);
    }
    covariance.iter_mut().for_each(|value| *value /= patches.max(1) as f64);
    let (values, vectors) = eigen(covariance, size);
    let of = |filter: usize| {
        let (vector, sign) = (filter % size, if filter < size { 1.0 } else { -1.0 });
        let scale = sign / (values[vector].max(0.0) + EPSILON).sqrt();
        let vectors = &vectors;
        (0..size).map(move |place| T::of(scale * vectors[place * size + vector]))
    };
    let weights = (0..filters).flat_map(of).collect();
    weight.set(&Tensor::from_vec(shape, weights).map_err(residual_nn::Error::from)?)?;
    Ok(())
}

/// Adds the products of all values of each patch with each other; returns the number of patches.
fn add_patches(pictures: &Tensor<f32>, patch: [usize; 3], sums: &mut [f64]) -> u64 {
    let [channels, height, width] = patch;
    let view = pictures.view();
    let [n, _, rows, columns] = [0, 1, 2, 3].map(|axis| pictures.shape()[axis]);
    let size = channels * height * width;
    let mut values = vec![0.0; size];
    let mut count = 0;
    for n in 0..n {
        // Sums of a picture in single precision: a thousand products at most.
        let mut of_picture = vec![0.0f32; size * size];
        for (top, left) in (0..rows + 1 - height).flat_map(|y| (0..columns + 1 - width).map(move |x| (y, x)))
        {
            for (place, value) in values.iter_mut().enumerate() {
                let (c, y, x) = (place / (height * width), place / width % height, place % width);
                *value = view[[n, c, top + y, left + x]];
            }
            for (row, &a) in of_picture.chunks_exact_mut(size).zip(&values) {
                row.iter_mut().zip(&values).for_each(|(sum, &b)| *sum += a * b);
            }
            count += 1;
        }
        sums.iter_mut().zip(of_picture).for_each(|(sum, of_picture)| *sum += f64::from(of_picture));
    }
    count
}

/// Eigenvalues, the largest first, and eigenvectors, as columns, of a symmetric matrix: Jacobi's rotations. The
/// largest component of each vector is positive.
fn eigen(mut matrix: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>) {
    const SWEEPS: usize = 50;
    let mut vectors: Vec<f64> =
        (0..size * size).map(|place| f64::from(u8::from(place / size == place % size))).collect();
    for _ in 0..SWEEPS {
        let off: f64 =
            (0..size * size).filter(|at| at / size != at % size).map(|at| matrix[at].powi(2)).sum();
        let whole: f64 = matrix.iter().map(|value| value * value).sum();
        if off <= 1e-24 * whole {
            break;
        }
        for (p, q) in (0..size).flat_map(|p| (p + 1..size).map(move |q| (p, q))) {
            let between = matrix[p * size + q];
            if between == 0.0 {
                continue;
            }
            // The rotation that makes the entry between p and q zero (Golub & Van Loan, section 8.5.2).
            let tau = (matrix[q * size + q] - matrix[p * size + p]) / (2.0 * between);
            let tangent = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
            let cosine = (1.0 + tangent * tangent).sqrt().recip();
            let sine = tangent * cosine;
            let rotate = |values: &mut [f64], a: usize, b: usize| {
                let (x, y) = (values[a], values[b]);
                (values[a], values[b]) = (cosine * x - sine * y, sine * x + cosine * y);
            };
            for k in 0..size {
                rotate(&mut matrix, k * size + p, k * size + q);
            }
            for k in 0..size {
                rotate(&mut matrix, p * size + k, q * size + k);
            }
            for k in 0..size {
                rotate(&mut vectors, k * size + p, k * size + q);
            }
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| matrix[b * size + b].total_cmp(&matrix[a * size + a]));
    let column = |from: usize| (0..size).map(move |row| row * size + from);
    let sign = |from: usize| {
        let largest = column(from).max_by(|&a, &b| vectors[a].abs().total_cmp(&vectors[b].abs()));
        largest.map_or(1.0, |at| vectors[at].signum())
    };
    let signs: Vec<f64> = order.iter().map(|&from| sign(from)).collect();
    let sorted = (0..size * size).map(|at| signs[at % size] * vectors[at / size * size + order[at % size]]);
    (order.iter().map(|&from| matrix[from * size + from]).collect(), sorted.collect())
}

#[cfg(test)]
mod tests {
    use residual_data::{ImageShape, Preprocess};
    use residual_tensor::Generator;
    use residual_zoo::NetworkConfig;

    use super::*;

    #[test]
    fn eigenvectors_are_those_of_the_definition() {
        let mut generator = Generator::new(2);
        let factors: Vec<f64> = (0..36).map(|_| generator.normal()).collect();
        let at = |row: usize, column: usize| -> f64 {
            (0..6).map(|k| factors[row * 6 + k] * factors[column * 6 + k]).sum()
        };
        let matrix: Vec<f64> = (0..36).map(|place| at(place / 6, place % 6)).collect();
        let (values, vectors) = eigen(matrix.clone(), 6);
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
        for (number, value) in values.iter().enumerate() {
            for row in 0..6 {
                let product: f64 = (0..6).map(|k| matrix[row * 6 + k] * vectors[k * 6 + number]).sum();
                assert!((product - value * vectors[row * 6 + number]).abs() < 1e-9);
            }
            let length: f64 = (0..6).map(|k| vectors[k * 6 + number].powi(2)).sum();
            assert!((length - 1.0).abs() < 1e-12);
        }
    }

    /// Behind the filters, patches vary equally in all directions.
    #[test]
    fn what_the_filters_give_is_white() {
        let config = NetworkConfig::named("cifar_speed_resnet").unwrap();
        let net = config.build::<f32>(&mut Generator::new(1)).unwrap();
        let preprocess = Preprocess::new(ImageShape::new(3, 32, 32));
        let model = Model { net, classes: Vec::new(), preprocess };
        // Neighbours and channels that resemble each other.
        let noise = Generator::new(5).normal_tensor::<f32>([40, 3, 33, 33], 1.0);
        let smooth = |n: usize, c: usize, y: usize, x: usize| {
            let of = |c: usize| noise.view()[[n, c, y, x]] + noise.view()[[n, c, y + 1, x + 1]];
            of(c) + 0.5 * of(0)
        };
        let places = (0..40usize).flat_map(|n| (0..3 * 32 * 32).map(move |at| (n, at)));
        let values = places.map(|(n, at)| smooth(n, at / 1024, at / 32 % 32, at % 32)).collect();
        let pictures = Tensor::from_vec([40, 3, 32, 32], values).unwrap();
        whiten(&model, std::iter::once(Ok(pictures.clone()))).unwrap();
        let states = model.net.states();
        let weight = &states.iter().find(|(path, _)| path == "conv1.weight").unwrap().1;
        let geometry = residual_nn::Conv2dGeometry::new(2, 2);
        let whitened = residual_kernels::conv2d(&pictures, weight.value(), &geometry).unwrap();
        let count = 40.0 * 31.0 * 31.0;
        let view = whitened.view();
        for a in 0..12 {
            for b in a..24 {
                let product: f64 = (0..40)
                    .flat_map(|n| (0..31 * 31).map(move |at| (n, at / 31, at % 31)))
                    .map(|(n, y, x)| f64::from(view[[n, a, y, x]]) * f64::from(view[[n, b, y, x]]))
                    .sum();
                let expected = if a == b {
                    1.0
                } else if b == a + 12 {
                    -1.0
                } else {
                    0.0
                };
                assert!((product / count - expected).abs() < 2e-2, "{a} {b}: {}", product / count);
            }
        }
    }
}
