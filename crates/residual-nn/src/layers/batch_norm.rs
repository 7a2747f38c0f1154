//! Batch normalization (Ioffe & Szegedy 2015).

use residual_autograd::{Result, Role, RunningStatistics, State, Var};
use residual_kernels::BatchStatistics;
use residual_tensor::{Float, Generator, Shape, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    Mode, Operation, Pattern,
    onnx::{Operand, Operator},
    operation::{check_channels, only},
    registry::{Sample, draw},
};

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

    /// In evaluation, the scale and the shift that it comes to in each channel: `γ/√(var + eps)` and
    /// `β − γ/√(var + eps) · mean`.
    pub fn scales_and_shifts(&self) -> Vec<(f64, f64)> {
        let states = [&self.weight, &self.bias, &self.running.mean, &self.running.variance];
        let [gamma, beta, mean, variance] = states.map(State::value);
        let line = |channel: usize| {
            let at = |tensor: &Tensor<T>| tensor.as_slice()[channel].to_f64();
            let scale = at(&gamma) / (at(&variance) + self.eps).sqrt();
            (scale, at(&beta) - at(&mean) * scale)
        };
        (0..gamma.len()).map(line).collect()
    }

    /// In training: normalization of `x`, whose statistics may be known, with what follows.
    pub(crate) fn record_fused(
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

impl<T: Float> Operation<T> for BatchNorm2d<T> {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn states(&self) -> Vec<(&'static str, &State<T>)> {
        vec![
            ("weight", &self.weight),
            ("bias", &self.bias),
            ("running_mean", &self.running.mean),
            ("running_var", &self.running.variance),
            ("num_batches_tracked", &self.num_batches_tracked),
        ]
    }

    /// # Shapes
    /// `[n, c, h, w]`, unchanged.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape> {
        check_channels("batch_norm", only(inputs), &self.weight.shape())?;
        Ok(only(inputs).clone())
    }

    fn record(&self, inputs: &[&Var<T>], mode: Mode) -> Result<Var<T>> {
        let x = only(inputs);
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

    fn pattern(&self) -> Pattern<'_, T> {
        Pattern::BatchNorm2d(self)
    }

    fn onnx(&self) -> Vec<Operator> {
        let states = ["weight", "bias", "running_mean", "running_var"].map(Operand::State);
        let inputs: Vec<Operand> = std::iter::once(Operand::Input(0)).chain(states).collect();
        vec![Operator::new("BatchNormalization", inputs).with("epsilon", self.eps)]
    }
}

impl<T: Float> Sample for BatchNorm2d<T> {
    fn sample(g: &mut Generator) -> Result<(Self, Shape)> {
        let shape = draw::shape(g, 2)?; // a channel needs two values
        Ok((Self::new(&BatchNormConfig::new(shape[1]))?, shape))
    }
}
