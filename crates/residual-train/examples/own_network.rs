//! A network of one's own, written against `residual-nn`, learns from arrays of `ndarray`: which way
//! a stripe in a noisy picture of two channels leans.
//!
//! `cargo run --release --example own_network -p residual-train`

use ndarray::Array4;
use residual_data::Arrays;
use residual_nn::{
    BatchNorm2d, BatchNormConfig, Builder, Child, Conv2d, Conv2dConfig, Conv2dGeometry, GlobalAvgPool,
    Linear, Module, Node,
};
use residual_tensor::Generator;
use residual_train::{CrossEntropy, EpochRecord, FitConfig, Observer, Result, Span, Trainable, Trainer};

const CLASSES: [&str; 4] = ["level", "rising", "upright", "falling"];
const SIDE: usize = 16;

/// Two convolutions with a shortcut around the second, and a classifier.
struct Stripes {
    conv1: Child<Conv2d<f32>>,
    bn1: Child<BatchNorm2d<f32>>,
    conv2: Child<Conv2d<f32>>,
    bn2: Child<BatchNorm2d<f32>>,
    fc: Child<Linear<f32>>,
}

impl Stripes {
    fn new(generator: &mut Generator) -> residual_nn::Result<Self> {
        let window = Conv2dGeometry::new(3, 3).padding(1);
        let normalized = |width| BatchNorm2d::new(&BatchNormConfig::new(width));
        Ok(Self {
            conv1: Child::new("conv1", Conv2d::new(&Conv2dConfig::new(2, 16, window), generator)?),
            bn1: Child::new("bn1", normalized(16)?),
            conv2: Child::new("conv2", Conv2d::new(&Conv2dConfig::new(16, 16, window), generator)?),
            bn2: Child::new("bn2", normalized(16)?),
            fc: Child::new("fc", Linear::new(16, CLASSES.len(), generator)?),
        })
    }
}

impl Module<f32> for Stripes {
    fn build(&self, b: &Builder<f32>, x: Node) -> Node {
        let x = b.relu(b.call(&self.bn1, b.call(&self.conv1, x)));
        let y = b.call(&self.bn2, b.call(&self.conv2, x));
        let y = b.relu(b.add(y, x));
        b.call(&self.fc, b.apply(GlobalAvgPool::default(), &[y]))
    }
}

impl Trainable<f32> for Stripes {
    fn module(&self) -> &dyn Module<f32> {
        self
    }
}

/// Prints a line per epoch.
struct Lines;

impl Observer for Lines {
    fn epoch(&mut self, record: &EpochRecord, _is_best: bool) {
        let EpochRecord { epoch, train_loss, val_accuracy, .. } = record;
        println!("epoch {epoch:2}: loss {train_loss:.3}, {:5.1} % right", 100.0 * val_accuracy);
    }
}

/// Pictures `[n, 2, side, side]`: a stripe in one channel, noise in both.
fn draw(count: usize, generator: &mut Generator) -> (Array4<f32>, Vec<usize>) {
    let mut pictures = Array4::zeros((count, 2, SIDE, SIDE));
    let labels: Vec<usize> = (0..count).map(|n| n % CLASSES.len()).collect();
    for ((n, channel, row, column), value) in pictures.indexed_iter_mut() {
        let (x, y) = (column as f32 - 8.0, row as f32 - 8.0);
        let distance = match labels[n] {
            0 => y,
            1 => (x + y) / 2f32.sqrt(),
            2 => x,
            _ => (x - y) / 2f32.sqrt(),
        };
        let stripe = if channel == n % 2 && distance.abs() < 2.0 { 1.0 } else { 0.0 };
        *value = stripe + generator.normal() as f32;
    }
    (pictures, labels)
}

fn samples(name: &str, count: usize, generator: &mut Generator) -> Result<Arrays<usize>> {
    let (pictures, labels) = draw(count, generator);
    Ok(Arrays::new(name, pictures, labels)?)
}

fn main() -> Result<()> {
    let mut generator = Generator::new(0);
    let train = samples("stripes to learn from", 2000, &mut generator)?;
    let val = samples("other stripes", 400, &mut generator)?;
    let net = Stripes::new(&mut generator)?;

    let config = FitConfig { length: Span::Epochs(8.0), batch: 50, ..FitConfig::default() };
    let mut trainer = Trainer::of(net, train, val, CrossEntropy::default(), config)?;
    trainer.fit(None, &mut Lines, &false.into())?;

    let best = trainer.checkpoint().training.best().expect("eight epochs");
    println!("best: {:.1} % of {:?}", 100.0 * best.val_accuracy, CLASSES);
    Ok(())
}
