//! Where the time of a training step goes, operation by operation. How it is drawn is
//! `residual-report`'s business.

use std::{cell::RefCell, collections::BTreeMap, mem, rc::Rc, time::Instant};

use residual_autograd::{Pass, Tape, Timing};
use residual_nn::{Mode, Module, Role, State};
use residual_tensor::{Generator, Tensor};
use residual_zoo::Network;
use serde::Serialize;

use crate::{Result, Sgd, SgdRule};

/// What a share of the step is spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Computing outputs.
    Forward,
    /// Computing gradients. For a convolution: with respect to its input.
    Backward,
    /// Computing a convolution's gradient with respect to its weights.
    BackwardWeights,
    /// Moving the parameters.
    Update,
    /// What is between the operations: the tape, memory that is freed.
    Rest,
}

impl Work {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::BackwardWeights => "backward, weights",
            Self::Update => "update",
            Self::Rest => "rest",
        }
    }
}

/// All operations of a kind, in a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The operation, and the kernel's size and stride of a convolution: `conv2d 3×3 /2`.
    pub operation: String,
    /// Which part of its work.
    pub work: Work,
    /// How often in a step.
    pub calls: usize,
    /// In a step, all calls together.
    pub milliseconds: f64,
    /// Multiply-adds by definition, all calls together; 0 for what is not made of them.
    pub multiply_adds: u64,
}

impl Part {
    /// 10⁹ operations per second, a multiply-add counting as two; nothing for what is not made of
    /// multiply-adds, or took no time that could be measured.
    pub fn gflops(&self) -> Option<f64> {
        let is_known = self.multiply_adds > 0 && self.milliseconds > 0.0;
        is_known.then(|| 2.0 * self.multiply_adds as f64 / self.milliseconds / 1e6)
    }
}

/// A training step, taken apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// The network's name.
    pub model: String,
    /// Pictures in the step.
    pub batch: usize,
    /// The median of the steps.
    pub milliseconds: f64,
    /// What it consists of, the longest first. Together they are as long as the step.
    pub parts: Vec<Part>,
}

type Key = (String, Work);

/// Milliseconds, calls and multiply-adds of each kind, in one step.
type Times = BTreeMap<Key, (f64, usize, u64)>;

impl Profile {
    /// Makes `steps` training steps that count, and as many others.
    ///
    /// An operation's backward computes all its gradients at once. What those of the weights cost
    /// is therefore a difference: in every other step the convolutions are frozen, and theirs are
    /// not computed.
    ///
    /// ```
    /// use residual_tensor::Generator;
    /// use residual_train::Profile;
    /// use residual_zoo::NetworkConfig;
    ///
    /// let mut generator = Generator::new(0);
    /// let net = NetworkConfig::named("cifar_resnet8")?.build::<f32>(&mut generator)?;
    /// let images = generator.normal_tensor([4, 3, 8, 8], 1.0);
    /// let profile = Profile::of_training(&net, &images, &[0, 1, 2, 3], 3)?;
    /// let sum: f64 = profile.parts.iter().map(|part| part.milliseconds).sum();
    /// assert!((sum - profile.milliseconds).abs() < 1e-6 * sum);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the network refuses the images.
    pub fn of_training(
        net: &Network<f32>,
        images: &Tensor<f32>,
        labels: &[usize],
        steps: usize,
    ) -> Result<Self> {
        let rule = SgdRule { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4, nesterov: false };
        let mut sgd = Sgd::new(rule);
        let is_kernel = |state: &State<f32>| state.role() == Role::Parameter && state.shape().rank() == 4;
        let kernels: Vec<State<f32>> =
            net.states().into_iter().map(|(_, state)| state).filter(is_kernel).collect();
        let trained: Vec<bool> = kernels.iter().map(State::is_trained).collect();
        let (mut whole, mut frozen) = (Vec::new(), Vec::new());
        // The first of each kind is there to start threads and to make buffers.
        for _ in 0..=steps.max(1) {
            whole.push(step(net, images, labels, &mut sgd)?);
            kernels.iter().for_each(|kernel| kernel.set_frozen(true));
            let other = step(net, images, labels, &mut sgd);
            kernels.iter().zip(&trained).for_each(|(kernel, &trained)| kernel.set_frozen(!trained));
            frozen.push(other?);
        }
        let (whole, frozen) = (&whole[1..], &frozen[1..]);
        let milliseconds = median(whole.iter().map(|(step, _)| *step).collect());
        Ok(Self {
            model: net.config().name.clone(),
            batch: labels.len(),
            milliseconds,
            parts: parts(milliseconds, whole, frozen),
        })
    }
}

/// A training step: its milliseconds, and those of its operations.
fn step(
    net: &Network<f32>,
    images: &Tensor<f32>,
    labels: &[usize],
    sgd: &mut Sgd<f32>,
) -> Result<(f64, Times)> {
    let times = Rc::new(RefCell::new(Times::new()));
    let told = times.clone();
    let started = Instant::now();
    let gradients = {
        let tape = Tape::new().with_generator(Generator::new(0));
        tape.time(move |timing| add(&mut told.borrow_mut(), &timing));
        net.forward(&tape.input(images.clone()), Mode::Train)?.cross_entropy(labels, 0.0)?.backward()?
    };
    let update = Instant::now();
    sgd.step(net, &gradients)?;
    let (whole, update) = (milliseconds(started), milliseconds(update));
    let mut times = mem::take(&mut *times.borrow_mut());
    times.insert(("sgd".to_owned(), Work::Update), (update, 1, 0));
    Ok((whole, times))
}

fn milliseconds(since: Instant) -> f64 {
    1e3 * since.elapsed().as_secs_f64()
}

fn add(times: &mut Times, timing: &Timing) {
    let weight = timing.inputs.get(1).filter(|weight| weight.rank() == 4 && timing.inputs[0].rank() == 4);
    // The second input of an addition has rank 4, too, but the shape of the first.
    let weight = weight.filter(|weight| **weight != timing.inputs[0]);
    let (operation, multiply_adds) = match weight {
        Some(weight) => {
            let (input, output) = (&timing.inputs[0], &timing.output);
            let stride = (input[2] as f64 / output[2] as f64).round();
            let stride = if stride > 1.0 { format!(" /{stride}") } else { String::new() };
            let per_output = (weight.elements() / weight[0]) as u64;
            let size = format!("{} {}×{}{stride}", timing.name, weight[2], weight[3]);
            (size, output.elements() as u64 * per_output)
        }
        None => (timing.name.to_owned(), 0),
    };
    let work = match timing.pass {
        Pass::Forward => Work::Forward,
        Pass::Backward => Work::Backward,
    };
    let (sum, calls, all) = times.entry((operation, work)).or_default();
    *sum += 1e3 * timing.duration.as_secs_f64();
    *calls += 1;
    *all += multiply_adds;
}

/// Medians over the steps, with the gradients of weights told apart, and the rest of the step.
fn parts(step: f64, whole: &[(f64, Times)], frozen: &[(f64, Times)]) -> Vec<Part> {
    let of = |steps: &[(f64, Times)], key: &Key| {
        median(steps.iter().map(|(_, times)| times.get(key).map_or(0.0, |(sum, ..)| *sum)).collect())
    };
    let mut parts = Vec::new();
    for (key, &(_, calls, multiply_adds)) in &whole[0].1 {
        let (operation, work) = key.clone();
        let all = of(whole, key);
        let part = Part { operation, work, calls, milliseconds: all, multiply_adds };
        if work != Work::Backward || multiply_adds == 0 {
            parts.push(part);
            continue;
        }
        // A convolution that sees the images has no gradient of its input to compute.
        let &(_, calls, multiply_adds) = frozen[0].1.get(key).unwrap_or(&(0.0, 0, 0));
        let input = of(frozen, key).min(all);
        let weights = Part { work: Work::BackwardWeights, milliseconds: all - input, ..part.clone() };
        parts.extend([Part { milliseconds: input, calls, multiply_adds, ..part }, weights]);
    }
    let told: f64 = parts.iter().map(|part| part.milliseconds).sum();
    let (operation, work) = ("between operations".to_owned(), Work::Rest);
    parts.push(Part { operation, work, calls: 1, milliseconds: step - told, multiply_adds: 0 });
    parts.retain(|part| part.calls > 0);
    parts.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
    parts
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len();
    (numbers[(n - 1) / 2] + numbers[n / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use residual_tensor::Generator;
    use residual_zoo::{NetworkConfig, Summary};

    use super::*;

    #[test]
    fn the_parts_are_the_network() {
        let mut generator = Generator::new(0);
        let net = NetworkConfig::named("resnet18").unwrap().classes(5).build::<f32>(&mut generator).unwrap();
        let images = generator.normal_tensor([2, 3, 33, 33], 1.0);
        let profile = Profile::of_training(&net, &images, &[1, 4], 1).unwrap();
        let part = |operation: &str, work: Work| {
            let mut parts = profile.parts.iter();
            parts.find(|part| (part.operation.as_str(), part.work) == (operation, work))
        };
        // He et al. 2015, table 1: the stem; 16 of 3×3, three of them with stride 2, and option B's 1×1.
        let count = |operation: &str| part(operation, Work::Forward).unwrap().calls;
        let counts = ["conv2d 7×7 /2", "conv2d 3×3", "conv2d 3×3 /2", "conv2d 1×1 /2"].map(count);
        assert_eq!(counts, [1, 13, 3, 3]);
        assert!(part("conv2d 7×7 /2", Work::Backward).is_none(), "nobody wants the images' gradient");
        assert!(
            part("conv2d 7×7 /2", Work::BackwardWeights).is_some() && part("sgd", Work::Update).is_some()
        );

        let forward = profile.parts.iter().filter(|part| part.work == Work::Forward);
        let sum: u64 = forward.map(|part| part.multiply_adds).sum();
        let linear = 2 * 512 * 5;
        assert_eq!(sum + linear, Summary::of(&net, [2, 3, 33, 33]).unwrap().multiply_adds);
        assert!(net.parameters().iter().all(|(_, state)| state.is_trained()), "thawed again");
    }
}
