//! Batch normalization (Ioffe & Szegedy 2015).

use residual_autograd::{Result, Role, RunningStatistics, State, Var};
use residual_kernels::{BatchStatistics, KernelError};
use residual_tensor::{Float, Shape, Tensor};
use serde::{Deserialize, Serialize};

use crate::{GraphBuilder, Mode, Module, NodeId, Op, Trace, Visitor};

/// What a [`BatchNorm2d`] is made from; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchNormConfig {
    /// Channels of the input.
    pub channels: usize,
    /// Added to the variance, so that a constant channel divides by something.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f64,
    /// First value of γ: 1, or 0 for the last normalization of a residual block that is to
    /// start as the identity.
    pub gamma: f64,
}

impl BatchNormConfig {
    /// The defaults for this many channels.
    pub fn new(channels: usize) -> Self {
        Self { channels, eps: 1e-5, momentum: 0.1, gamma: 1.0 }
    }

    /// Sets the first value of γ.
    pub fn gamma(self, gamma: f64) -> Self {
        Self { gamma, ..self }
    }
}

/// Normalises each channel of `[n, c, h, w]` over the batch and all positions, then scales by γ
/// and shifts by β.
#[derive(Debug, Clone)]
pub struct BatchNorm2d<T: Float> {
    /// γ, `[c]`.
    pub weight: State<T>,
    /// β, `[c]`.
    pub bias: State<T>,
    /// Mean and unbiased variance, as an average over the batches seen.
    pub running: RunningStatistics<T>,
    /// How many batches that were.
    pub num_batches_tracked: State<T>,
    eps: f64,
}

impl<T: Float> BatchNorm2d<T> {
    /// γ as configured, β = 0, running mean 0 and variance 1.
    ///
    /// # Errors
    /// If there cannot be tensors so large.
    pub fn new(config: &BatchNormConfig) -> Result<Self> {
        let channel = |value: f64| Tensor::try_full([config.channels], T::of(value));
        Ok(Self {
            weight: State::parameter(channel(config.gamma)?),
            bias: State::parameter(channel(0.0)?),
            running: RunningStatistics {
                mean: State::new(Role::Buffer, channel(0.0)?),
                variance: State::new(Role::Buffer, channel(1.0)?),
                momentum: config.momentum,
            },
            num_batches_tracked: State::new(Role::Counter, Tensor::scalar(T::zero())),
            eps: config.eps,
        })
    }

    /// What is added to the variance.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Whether it runs together with its neighbours.
    pub(crate) fn is_fused(&self, x: &Var<T>, mode: Mode) -> bool {
        mode == Mode::Train && self.weight.is_trained() && !x.tape().is_observed()
    }

    /// In training: normalization of `x`, whose statistics may be known, with what follows.
    pub(crate) fn forward_fused(
        &self,
        x: &Var<T>,
        statistics: Option<BatchStatistics>,
        addend: Option<&Var<T>>,
        relu: bool,
    ) -> Result<Var<T>> {
        let [gamma, beta] = [&self.weight, &self.bias].map(|state| x.tape().state(state));
        let running = self.following(x);
        let y = x.batch_norm_fused(statistics, [&gamma, &beta], running, self.eps, addend, relu)?;
        self.count_batch(x);
        Ok(y)
    }

    /// The running statistics, unless they have followed this batch already.
    fn following(&self, x: &Var<T>) -> Option<&RunningStatistics<T>> {
        (!x.tape().is_replay()).then_some(&self.running)
    }

    fn count_batch(&self, x: &Var<T>) {
        if !x.tape().is_replay() {
            self.num_batches_tracked.update(|count| count.as_mut_slice()[0] += T::one());
        }
    }
}

impl<T: Float> Module<T> for BatchNorm2d<T> {
    /// # Shapes
    /// `[n, c, h, w]`, unchanged.
    fn forward(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        let (gamma, beta) = (x.tape().state(&self.weight), x.tape().state(&self.bias));
        match mode {
            Mode::Train if self.weight.is_trained() => {
                let y = x.batch_norm(&gamma, &beta, self.following(x), self.eps)?;
                self.count_batch(x);
                Ok(y)
            }
            // Frozen, it is a constant: the statistics, too, are those that it was trained with.
            _ => x.batch_norm_eval(&gamma, &beta, &self.running, self.eps),
        }
    }

    fn propagate(&self, input: &Shape, trace: &mut Trace) -> Result<Shape> {
        let [_, c, _, _] = input.dims("batch_norm")?;
        let channels = self.weight.shape();
        if c != channels[0] {
            let (x, weight) = (("x", input), ("weight", &channels));
            return Err(KernelError::mismatch(
                "batch_norm",
                x,
                weight,
                "axis 1 of x must be as long as weight",
            ))?;
        }
        Ok(trace.layer("batch_norm", "", [input, input], 2 * c, 0))
    }

    fn describe(&self, graph: &mut GraphBuilder<T>, x: NodeId) -> NodeId {
        let op = Op::BatchNorm2d {
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            running_mean: self.running.mean.clone(),
            running_var: self.running.variance.clone(),
            eps: self.eps,
        };
        graph.push("", op, &[x])
    }

    fn visit(&self, visitor: &mut Visitor<'_, T>) {
        visitor.state("weight", &self.weight);
        visitor.state("bias", &self.bias);
        visitor.state("running_mean", &self.running.mean);
        visitor.state("running_var", &self.running.variance);
        visitor.state("num_batches_tracked", &self.num_batches_tracked);
    }
}
