//! The statistics of normalizations, measured again on many pictures with the weights that a run ends with:
//! those that it collected on the way belong to weights that have changed since.

use residual_autograd::Tape;
use residual_nn::{BatchNorm2d, Mode, Module, Pattern, State};
use residual_tensor::{Float, Generator, Tensor};

use crate::Result;

/// Sums over samples, for each channel of a normalization.
struct Sums {
    mean: Vec<f64>,
    mean_square: Vec<f64>,
    variance: Vec<f64>,
}

/// Puts the mean and the variance over all of these batches into the running statistics of every normalization that
/// is trained. The variance is the mean of the batches' variances plus the variance of their means; a batch counts
/// as its samples.
///
/// # Errors
/// If a batch cannot be made or does not fit the network; the statistics are as before then.
pub(crate) fn measure<T: Float>(
    net: &dyn Module<T>,
    batches: impl Iterator<Item = Result<Tensor<T>>>,
) -> Result<()> {
    let graph = net.graph();
    let norms: Vec<&BatchNorm2d<T>> = graph
        .iter()
        .filter_map(|node| match graph.pattern(node) {
            Pattern::BatchNorm2d(norm) if norm.weight.is_trained() => Some(norm),
            _ => None,
        })
        .collect();
    let running = || {
        norms.iter().flat_map(|norm| [&norm.running.mean, &norm.running.variance, &norm.num_batches_tracked])
    };
    let before: Vec<Tensor<T>> = running().map(State::value).collect();
    let measured = sums(net, &norms, batches);
    // Also the number of batches: what is only measured is not trained on.
    for (state, before) in running().zip(before) {
        state.update(|values| *values = before);
    }
    let (sums, samples) = measured?;
    let samples = samples.max(1) as f64;
    for (norm, sums) in norms.iter().zip(sums) {
        let set = |state: &State<T>, of: &dyn Fn(usize) -> f64| {
            state.update(|values| {
                values.as_mut_slice().iter_mut().enumerate().for_each(|(c, value)| *value = T::of(of(c)));
            });
        };
        set(&norm.running.mean, &|c| sums.mean[c] / samples);
        set(&norm.running.variance, &|c| {
            let mean = sums.mean[c] / samples;
            sums.variance[c] / samples + (sums.mean_square[c] / samples - mean * mean).max(0.0)
        });
    }
    Ok(())
}

/// The sums over all batches for each normalization, and the number of samples. The running statistics are lost.
fn sums<T: Float>(
    net: &dyn Module<T>,
    norms: &[&BatchNorm2d<T>],
    batches: impl Iterator<Item = Result<Tensor<T>>>,
) -> Result<(Vec<Sums>, usize)> {
    let zeros = |norm: &&BatchNorm2d<T>| vec![0.0; norm.weight.shape().elements()];
    let mut sums: Vec<Sums> = norms
        .iter()
        .map(|norm| Sums { mean: zeros(norm), mean_square: zeros(norm), variance: zeros(norm) })
        .collect();
    let mut samples = 0;
    for (number, batch) in batches.enumerate() {
        let batch = batch?;
        let in_batch = batch.shape()[0];
        // A step that starts from 0 leaves momentum × the batch's statistics.
        for norm in norms {
            let clear = |values: &mut Tensor<T>| values.as_mut_slice().fill(T::zero());
            norm.running.mean.update(clear);
            norm.running.variance.update(clear);
        }
        let tape = Tape::without_recording().with_generator(Generator::new(0).split(number));
        net.forward(&tape.input(batch), Mode::Train)?;
        for (norm, sums) in norms.iter().zip(&mut sums) {
            let of_batch = |state: &State<T>| -> Vec<f64> {
                let values = state.value().to_vec();
                values.into_iter().map(|value| value.to_f64() / norm.running.momentum).collect()
            };
            let (means, variances) = (of_batch(&norm.running.mean), of_batch(&norm.running.variance));
            for (c, (mean, variance)) in means.into_iter().zip(variances).enumerate() {
                sums.mean[c] += in_batch as f64 * mean;
                sums.mean_square[c] += in_batch as f64 * mean * mean;
                sums.variance[c] += in_batch as f64 * variance;
            }
        }
        samples += in_batch;
    }
    Ok((sums, samples))
}

#[cfg(test)]
mod tests {
    use residual_nn::{BatchNormConfig, Builder, Child, Node};

    use super::*;
    use crate::TrainError;

    struct Norm(Child<BatchNorm2d<f64>>);

    impl Module<f64> for Norm {
        fn build(&self, b: &Builder<f64>, x: Node) -> Node {
            b.call(&self.0, x)
        }
    }

    fn norm() -> Norm {
        Norm(Child::new("norm", BatchNorm2d::new(&BatchNormConfig::new(2)).unwrap()))
    }

    /// Mean and squared distances from it of a channel of these batches, and how many values that are.
    fn moments(batches: &[Tensor<f64>], channel: usize) -> (f64, f64, f64) {
        let of = |batch: &Tensor<f64>| -> Vec<f64> {
            batch.view().index_axis(ndarray::Axis(1), channel).iter().copied().collect()
        };
        let values: Vec<f64> = batches.iter().flat_map(of).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|x| (x - mean).powi(2)).sum(), count)
    }

    #[test]
    fn the_statistics_are_those_of_all_batches_together() {
        let net = norm();
        let mut generator = Generator::new(3);
        let batches: Vec<Tensor<f64>> = [8, 8, 3, 8, 1]
            .iter()
            .enumerate()
            .map(|(n, &samples)| {
                generator.normal_tensor::<f64>([samples, 2, 6, 6], 1.5).map(|x| x + n as f64)
            })
            .collect();
        measure(&net, batches.iter().cloned().map(Ok)).unwrap();
        for channel in 0..2 {
            let (mean, squares, count) = moments(&batches, channel);
            // Each batch's own variance is unbiased: of n values, n/(n − 1) times the one about their mean.
            let correction = batches.iter().map(|batch| {
                let (_, squares, count) = moments(std::slice::from_ref(batch), channel);
                squares / (count - 1.0)
            });
            let variance = (squares + correction.sum::<f64>()) / count;
            let found = [&net.0.running.mean, &net.0.running.variance].map(|s| s.value().to_vec()[channel]);
            assert!((found[0] - mean).abs() < 1e-12, "{found:?} {mean}");
            assert!((found[1] / variance - 1.0).abs() < 1e-12, "{found:?} {variance}");
        }
    }

    #[test]
    fn an_error_leaves_the_statistics_as_they_were() {
        let net = norm();
        let statistics = || [net.0.running.mean.value().to_vec(), net.0.running.variance.value().to_vec()];
        let before = statistics();
        let batch = Generator::new(3).normal_tensor::<f64>([8, 2, 6, 6], 1.5);
        let failed = TrainError::Span { text: "a picture that is gone".into() };
        assert!(measure(&net, [Ok(batch.clone()), Err(failed)].into_iter()).is_err());
        assert_eq!(statistics(), before);
        // What is only measured is not trained on.
        measure(&net, [Ok(batch)].into_iter()).unwrap();
        assert_ne!(statistics(), before);
        assert_eq!(net.0.num_batches_tracked.value().to_vec(), [0.0]);
    }
}
