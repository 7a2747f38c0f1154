//! What is measured: a network with a batch of random pictures, and one step of it.

use clap::ValueEnum;
use residual_data::{Batch, ImageShape};
use residual_infer::Session;
use residual_nn::{Mode, Module, Tape};
use residual_tensor::{Generator, Layout, Tensor};
use residual_train::{Profile, Sgd, SgdRule};
use residual_zoo::{Network, NetworkConfig, Summary};
use serde::Serialize;

use crate::error::Result;

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Task {
    /// A run of the compiled network.
    Infer,
    /// Forward, cross-entropy, backward, and a step of SGD with momentum and weight decay.
    Train,
}

/// The paper's, section 3.4. The values do not change what a step costs; that they are not 0 does.
const RULE: SgdRule = SgdRule { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4, nesterov: false };

/// A network and its input.
pub(super) struct Workload {
    task: Task,
    net: Network<f32>,
    /// Of the network, where it is asked for answers.
    session: Option<Session>,
    sgd: Sgd<f32>,
    images: Tensor<f32>,
    labels: Vec<usize>,
    multiply_adds: u64,
}

impl Workload {
    /// A network with a batch of random pictures, of the size that it is made for if there is no
    /// other.
    pub(super) fn new(
        task: Task,
        mut config: NetworkConfig,
        batch: usize,
        input: Option<ImageShape>,
    ) -> Result<Self> {
        let [height, width] = config.native_size();
        let native = ImageShape::new(config.input_channels, height, width);
        let ImageShape { channels, height, width } = input.unwrap_or(native);
        config.input_channels = channels;
        let mut generator = Generator::new(0);
        let net = config.build::<f32>(&mut generator)?;
        let shape = [batch, channels, height, width];
        let multiply_adds = Summary::of(&net, shape)?.multiply_adds;
        let images = Tensor::try_from_fn(shape, || generator.normal() as f32);
        let images = images.map_err(residual_nn::Error::from)?.to_layout(Layout::ChannelsLast);
        let labels = (0..batch).map(|image| image % config.classes).collect();
        let session = (task == Task::Infer).then(|| Session::new(&net, shape)).transpose()?;
        Ok(Self { task, net, session, sgd: Sgd::new(RULE), images, labels, multiply_adds })
    }

    pub(super) fn task(&self) -> Task {
        self.task
    }

    pub(super) fn name(&self) -> &str {
        &self.net.config().name
    }

    pub(super) fn batch(&self) -> usize {
        self.labels.len()
    }

    /// The shape of a picture.
    pub(super) fn input(&self) -> ImageShape {
        let shape = self.images.shape();
        ImageShape::new(shape[1], shape[2], shape[3])
    }

    /// Operations of a step by the network's definition. Backward does twice what forward does:
    /// a gradient with respect to the input, and one with respect to the weights.
    pub(super) fn operations(&self) -> f64 {
        let factor = match self.task {
            Task::Infer => 2,
            Task::Train => 6,
        };
        (factor * self.multiply_adds) as f64
    }

    /// From now on trains on these pictures.
    pub(super) fn show(&mut self, batch: Batch) {
        self.images = batch.inputs;
        self.labels = batch.targets;
    }

    /// Takes training steps apart.
    pub(super) fn profile(&self, steps: usize) -> Result<Profile> {
        Ok(Profile::of_training(&self.net, &self.images, &self.labels, steps)?)
    }

    /// Makes a step.
    pub(super) fn step(&mut self) -> Result<()> {
        match &mut self.session {
            Some(session) => session.run(&self.images).map(drop).map_err(Into::into),
            None => self.train(),
        }
    }

    fn train(&mut self) -> Result<()> {
        let gradients = {
            let tape = Tape::new().with_generator(Generator::new(0));
            let logits = self.net.forward(&tape.input(self.images.clone()), Mode::Train)?;
            logits.cross_entropy(&self.labels, 0.0)?.backward()?
        }; // The tape is gone: parameters change in place.
        Ok(self.sgd.step(&self.net, &gradients)?)
    }
}

/// Sorts at least one number and gives the one in the middle.
pub(super) fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len();
    (numbers[(n - 1) / 2] + numbers[n / 2]) / 2.0
}
