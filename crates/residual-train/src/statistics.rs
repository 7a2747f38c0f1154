//! The statistics of normalizations, measured again on many pictures with the weights that a run ends with:
//! those that it collected on the way belong to weights that have changed since.

use residual_autograd::Tape;
use residual_nn::{BatchNorm2d, Mode, Module, Pattern};
use residual_tensor::{Float, Generator, Tensor};

use crate::Result;

/// Sums over batches, for each channel of a normalization.
struct Sums {
    mean: Vec<f64>,
    mean_square: Vec<f64>,
    variance: Vec<f64>,
}

/// Puts the mean and the variance over all of these batches, of equal size, into the running statistics of every
/// normalization that is trained: the variance is the mean of the batches' variances plus the variance of their
/// means.
///
/// # Errors
/// If a batch cannot be made or does not fit the network.
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
    let zeros = |norm: &&BatchNorm2d<T>| vec![0.0; norm.weight.shape().elements()];
    let mut sums: Vec<Sums> = norms
        .iter()
        .map(|norm| Sums { mean: zeros(norm), mean_square: zeros(norm), variance: zeros(norm) })
        .collect();
    let mut count = 0;
    for (number, batch) in batches.into_iter().enumerate() {
        let batch = batch?;
        // From zero, the statistics follow the batch by a part that is known: what they come to is its own.
        for norm in &norms {
            let clear = |values: &mut Tensor<T>| values.as_mut_slice().fill(T::zero());
            norm.running.mean.update(clear);
            norm.running.variance.update(clear);
        }
        let tape = Tape::without_recording().with_generator(Generator::new(0).split(number));
        net.forward(&tape.input(batch), Mode::Train)?;
        for (norm, sums) in norms.iter().zip(&mut sums) {
            let part = norm.running.momentum;
            let own = |values: Tensor<T>| values.to_vec().into_iter().map(move |value| value.to_f64() / part);
            let means = own(norm.running.mean.value());
            for ((mean, sum), square) in means.zip(&mut sums.mean).zip(&mut sums.mean_square) {
                *sum += mean;
                *square += mean * mean;
            }
            let variances = own(norm.running.variance.value());
            variances.zip(&mut sums.variance).for_each(|(variance, sum)| *sum += variance);
        }
        count += 1;
    }
    let count = f64::from(count.max(1));
    for (norm, sums) in norms.iter().zip(sums) {
        let set = |state: &residual_nn::State<T>, of: &dyn Fn(usize) -> f64| {
            state.update(|values| {
                values.as_mut_slice().iter_mut().enumerate().for_each(|(c, value)| *value = T::of(of(c)));
            });
        };
        set(&norm.running.mean, &|c| sums.mean[c] / count);
        set(&norm.running.variance, &|c| {
            let mean = sums.mean[c] / count;
            sums.variance[c] / count + (sums.mean_square[c] / count - mean * mean).max(0.0)
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use residual_nn::{BatchNormConfig, Builder, Child, Node};
    use residual_tensor::Generator;

    use super::*;

    struct Norm(Child<BatchNorm2d<f64>>);

    impl Module<f64> for Norm {
        fn build(&self, b: &Builder<f64>, x: Node) -> Node {
            b.call(&self.0, x)
        }
    }

    #[test]
    fn the_statistics_are_those_of_all_batches_together() {
        let net = Norm(Child::new("norm", BatchNorm2d::new(&BatchNormConfig::new(2)).unwrap()));
        let mut generator = Generator::new(3);
        let batches: Vec<Tensor<f64>> = (0..5)
            .map(|n| {
                let shift = f64::from(n);
                generator.normal_tensor::<f64>([8, 2, 6, 6], 1.5).map(|x| x + shift)
            })
            .collect();
        measure(&net, batches.iter().cloned().map(Ok)).unwrap();
        let of = |channel: usize| {
            let values: Vec<f64> = batches
                .iter()
                .flat_map(|batch| {
                    batch.view().index_axis(ndarray::Axis(1), channel).iter().copied().collect::<Vec<_>>()
                })
                .collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
            (mean, square)
        };
        for channel in 0..2 {
            let (mean, variance) = of(channel);
            let found = [&net.0.running.mean, &net.0.running.variance].map(|s| s.value().to_vec()[channel]);
            assert!((found[0] - mean).abs() < 1e-9, "{found:?} {mean}");
            // The batches' variances are unbiased: 288/287 of those about their means.
            assert!((found[1] / variance - 1.0).abs() < 4e-3, "{found:?} {variance}");
        }
    }
}
