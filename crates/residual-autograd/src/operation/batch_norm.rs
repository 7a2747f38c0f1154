//! Batch normalization (Ioffe & Szegedy 2015), with batch statistics and with running ones.

use std::rc::Rc;

use residual_kernels::{
    BatchStatistics, batch_norm,
    fused::{self, Followed, Fused},
};
use residual_tensor::{Float, Tensor};

use super::BuiltIn;
use crate::{Draw, Result, Sample, State, Var};

/// The running statistics of a batch normalization, and how they follow the batches.
#[derive(Debug, Clone)]
pub struct RunningStatistics<T: Float> {
    /// Running mean, `[c]`.
    pub mean: State<T>,
    /// Running (unbiased) variance, `[c]`.
    pub variance: State<T>,
    /// Weight of the newest batch, 0.1 by default in PyTorch's convention.
    pub momentum: f64,
}

impl<T: Float> RunningStatistics<T> {
    fn follow(&self, statistics: &BatchStatistics) -> Result<()> {
        self.mean.update(|mean| {
            self.variance
                .update(|variance| Ok(batch_norm::update_running(mean, variance, statistics, self.momentum)?))
        })
    }
}

pub(crate) struct BatchNormTrain<T: Float> {
    input: Tensor<T>,
    gamma: Tensor<T>,
    statistics: BatchStatistics,
    eps: f64,
}

pub(crate) struct BatchNormFused<T: Float>(Rc<Fused<T>>);

pub(crate) struct BatchNormEval<T: Float> {
    input: Tensor<T>,
    gamma: Tensor<T>,
    mean: Tensor<T>,
    variance: Tensor<T>,
    eps: f64,
}

impl<T: Float> Var<T> {
    /// `γ·(x − mean)/√(variance + eps) + β` for each channel of `[n, c, h, w]`, with the mean and
    /// biased variance of this batch. Moves `running` towards them if given.
    ///
    /// # Errors
    /// If `gamma` or `beta` is not `[c]`, or a channel has a single value.
    pub fn batch_norm(
        &self,
        gamma: &Self,
        beta: &Self,
        running: Option<&RunningStatistics<T>>,
        eps: f64,
    ) -> Result<Self> {
        let (output, statistics) = batch_norm::forward_train(self.value(), gamma.value(), beta.value(), eps)?;
        let (input, gammas) = (self.value().clone(), gamma.value().clone());
        let operation = BatchNormTrain { input, gamma: gammas, statistics: statistics.clone(), eps };
        let y = self.record_own(operation, &[self, gamma, beta], output)?;
        running.map_or(Ok(()), |running| running.follow(&statistics))?;
        Ok(y)
    }

    /// [`batch_norm`](Self::batch_norm), plus `addend` if there is one, followed by a ReLU if `relu`
    /// is set, in one pass over memory. `given` are the statistics of this value, if
    /// [`conv2d_with_statistics`](Self::conv2d_with_statistics) has taken them.
    ///
    /// The result is that of the operations one by one, which move and keep more memory.
    ///
    /// # Errors
    /// If the shapes do not fit, or a channel has a single value.
    pub fn batch_norm_fused(
        &self,
        given: Option<BatchStatistics>,
        [gamma, beta]: [&Self; 2],
        running: Option<&RunningStatistics<T>>,
        eps: f64,
        addend: Option<&Self>,
        relu: bool,
    ) -> Result<Self> {
        let [x, gammas, betas] = [self, gamma, beta].map(|var| var.value().clone());
        let (output, statistics) = match addend {
            None => (None, fused::batch_norm::statistics_for(&x, given, &gammas, &betas)?),
            Some(addend) => {
                let addend = Some(addend.value());
                let (y, statistics) =
                    fused::batch_norm::forward(&x, given, &gammas, &betas, eps, addend, relu)?;
                (Some(y), statistics)
            }
        };
        let followed = Followed::new(relu, output.as_ref());
        let fused = Rc::new(Fused { x, gamma: gammas, beta: betas, statistics, eps, followed });
        let inputs: Vec<&Self> = [self, gamma, beta].into_iter().chain(addend).collect();
        let operation = BatchNormFused(fused.clone());
        let y = match output {
            Some(output) => self.record_own(operation, &inputs, output),
            None => self.record_deferred(operation, &inputs, fused.clone()),
        }?;
        running.map_or(Ok(()), |running| running.follow(&fused.statistics))?;
        Ok(y)
    }

    /// [`batch_norm`](Self::batch_norm) with the running statistics in place of the batch's, which are constants then.
    ///
    /// # Errors
    /// If `gamma`, `beta` or a statistic is not `[c]`.
    pub fn batch_norm_eval(
        &self,
        gamma: &Self,
        beta: &Self,
        running: &RunningStatistics<T>,
        eps: f64,
    ) -> Result<Self> {
        let (mean, variance) = (running.mean.value(), running.variance.value());
        let output =
            batch_norm::forward_eval(self.value(), gamma.value(), beta.value(), &mean, &variance, eps)?;
        let (input, gammas) = (self.value().clone(), gamma.value().clone());
        let operation = BatchNormEval { input, gamma: gammas, mean, variance, eps };
        self.record_own(operation, &[self, gamma, beta], output)
    }
}

impl<T: Float> BuiltIn<T> for BatchNormTrain<T> {
    const NAME: &'static str = "batch_norm";

    /// The batch's mean and variance depend on every input: with x̂ the normalised input,
    /// `dx = γ/σ · (dy − mean(dy) − x̂ · mean(dy·x̂))`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let Self { input, gamma, statistics, eps } = *self;
        let (dx, dgamma, dbeta) = batch_norm::backward_train(&input, upstream, &gamma, &statistics, eps)?;
        Ok(vec![Some(dx), Some(dgamma), Some(dbeta)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let mut shape = draw.shape4();
        shape[0] += 1; // a channel needs two values
        let inputs = vec![draw.normal(shape), draw.normal([shape[1]]), draw.normal([shape[1]])];
        Sample::new("", inputs, |x| x[0].batch_norm(&x[1], &x[2], None, 1e-5))
    }
}

impl<T: Float> BuiltIn<T> for BatchNormFused<T> {
    const NAME: &'static str = "batch_norm_fused";

    /// Through the ReLU to the addend, and on through the normalization.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let gradients = self.0.backward(upstream)?;
        let mut all = vec![Some(gradients.x), Some(gradients.gamma), Some(gradients.beta)];
        all.extend(gradients.addend.map(Some));
        Ok(all)
    }

    fn sample(draw: &mut Draw) -> Sample {
        let mut shape = draw.shape4();
        shape[0] += 1;
        let [add, relu] = [draw.within(0..=1) == 1, draw.within(0..=1) == 1];
        let mut inputs = vec![draw.normal(shape), draw.normal([shape[1]]), draw.normal([shape[1]])];
        if add {
            inputs.push(draw.normal(shape));
        }
        let case = format!("{shape:?}, addend {add}, relu {relu}");
        Sample::new(case, inputs, move |x| {
            x[0].batch_norm_fused(None, [&x[1], &x[2]], None, 1e-5, x.get(3), relu)
        })
    }
}

impl<T: Float> BuiltIn<T> for BatchNormEval<T> {
    const NAME: &'static str = "batch_norm_eval";

    /// The statistics are constants: `dx = γ/σ · dy`.
    fn backward(self: Box<Self>, upstream: Tensor<T>, _wanted: &[bool]) -> Result<Vec<Option<Tensor<T>>>> {
        let Self { input, gamma, mean, variance, eps } = *self;
        let (dx, dgamma, dbeta) =
            batch_norm::backward_eval(&input, &upstream, &gamma, &mean, &variance, eps)?;
        Ok(vec![Some(dx), Some(dgamma), Some(dbeta)])
    }

    fn sample(draw: &mut Draw) -> Sample {
        let shape = draw.shape4();
        let c = shape[1];
        let running = RunningStatistics {
            mean: State::parameter(draw.normal([c])),
            variance: State::parameter(draw.normal([c]).map(|x| x * x + 0.5)),
            momentum: 0.1,
        };
        let inputs = vec![draw.normal(shape), draw.normal([c]), draw.normal([c])];
        Sample::new("", inputs, move |x| x[0].batch_norm_eval(&x[1], &x[2], &running, 1e-5))
    }
}
