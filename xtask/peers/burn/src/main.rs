//! burn with its CPU backend `flex` as a peer: training steps of the paper's CIFAR networks, made
//! when `cargo xtask bench` asks for them.
//!
//!     peer-burn DEPTH BATCH
//!
//! Threads: the environment variable `RAYON_NUM_THREADS`.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

#[path = "../../turns.rs"]
mod turns;

use std::{env, error::Error};

use burn::{
    module::Module,
    nn::{
        BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        loss::CrossEntropyLossConfig,
    },
    optim::{GradientsParams, SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig},
    tensor::{Device, Distribution, Int, Tensor, activation::relu, s},
};

/// Two 3×3 convolutions around a shortcut without parameters (option A of the paper).
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    stride: usize,
}

/// He et al. 2015, section 4.2: a stem and three stages of `(depth - 2) / 6` blocks.
#[derive(Module, Debug)]
struct CifarResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    blocks: Vec<Block>,
    fc: Linear,
}

fn conv3x3(from: usize, to: usize, stride: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([from, to], [3, 3])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false)
        .init(device)
}

impl Block {
    fn new(from: usize, to: usize, stride: usize, device: &Device) -> Self {
        Self {
            conv1: conv3x3(from, to, stride, device),
            bn1: BatchNormConfig::new(to).init(device),
            conv2: conv3x3(to, to, 1, device),
            bn2: BatchNormConfig::new(to).init(device),
            stride,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let y = self.bn2.forward(self.conv2.forward(y));
        let shortcut = if self.stride == 1 {
            x
        } else {
            let x = x.slice(s![.., .., ..;2, ..;2]);
            let zeros = x.zeros_like();
            Tensor::cat(vec![x, zeros], 1)
        };
        relu(y + shortcut)
    }
}

impl CifarResNet {
    fn new(depth: usize, device: &Device) -> Self {
        let mut blocks = Vec::new();
        let mut channels = 16;
        for (stage, width) in [16, 32, 64].into_iter().enumerate() {
            for block in 0..(depth - 2) / 6 {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                blocks.push(Block::new(channels, width, stride, device));
                channels = width;
            }
        }
        Self {
            conv1: conv3x3(3, 16, 1, device),
            bn1: BatchNormConfig::new(16).init(device),
            blocks,
            fc: LinearConfig::new(64, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let stem = relu(self.bn1.forward(self.conv1.forward(x)));
        let features = self.blocks.iter().fold(stem, |x, block| block.forward(x));
        let [n, channels, h, w] = features.dims();
        self.fc.forward(features.reshape([n, channels, h * w]).mean_dim(2).reshape([n, channels]))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = env::args().skip(1).map(|argument| argument.parse::<usize>());
    let mut number = || numbers.next().ok_or("write DEPTH BATCH")?.map_err(|_| "write DEPTH BATCH");
    let [depth, batch] = [number()?, number()?];
    let device = Device::flex().autodiff();
    let mut net = CifarResNet::new(depth, &device);
    let images = Tensor::<4>::random([batch, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
    let labels: Vec<i32> = (0..batch as i32).map(|image| image % 10).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
    let mut sgd = SgdConfig::new()
        .with_momentum(Some(momentum))
        .with_weight_decay(Some(WeightDecayConfig::new(1e-4)))
        .init();
    turns::serve("0.22.1", 2, || {
        let gradients = loss.forward(net.forward(images.clone()), labels.clone()).backward();
        let gradients = GradientsParams::from_grads(gradients, &net);
        net = sgd.step(0.1, net.clone(), gradients);
    })?;
    Ok(())
}
