//! How far does a classifier get on the built-in faces that cannot see shapes? Softmax
//! regression on the pixels, for several strengths of weight decay. It has to stay below 60 %,
//! or the faces would not be worth a network.
//!
//! `cargo run --release -p residual-data --example linear_probe`

use residual_data::{
    Batch, Corrupt, DataSpec, Faces, Loader, LoaderConfig, Pictures, Preprocess, Result, Split, Standardise,
};

const EPOCHS: u64 = 60;
const RATE: f32 = 0.005;
const MOMENTUM: f32 = 0.9;
const PIXELS: usize = Faces::SHAPE.height * Faces::SHAPE.width;
const CLASSES: usize = 7;

/// A weight for each pixel and one for the bias, for each class.
type Weights = [Vec<f32>; CLASSES];

fn main() -> Result<()> {
    let spec = DataSpec::default();
    let train = spec.open(Split::Train, Corrupt::Refuse)?;
    let val = spec.open(Split::Val, Corrupt::Refuse)?;
    let preprocess = Preprocess::new(Faces::SHAPE).fit(&*train, Standardise::Channel, usize::MAX)?;
    println!("{} faces to learn from, {} to be judged by", train.len(), val.len());
    let train = Loader::new(Pictures::new(train, preprocess.clone())?, LoaderConfig::train(50, 0))?;
    let val = Loader::new(Pictures::new(val, preprocess)?, LoaderConfig::eval(100))?;

    println!("{:>12}  {:>8}  {:>8}", "weight decay", "learnt", "held out");
    for decay in [0.0, 0.01, 0.1, 0.3] {
        let weights = fit(&train, decay)?;
        let [learnt, held_out] = [accuracy(&weights, &train)?, accuracy(&weights, &val)?];
        println!("{decay:>12}  {:>6.1} %  {:>6.1} %", 100.0 * learnt, 100.0 * held_out);
    }
    Ok(())
}

/// Stochastic gradient descent with momentum and a rate that falls to zero.
fn fit(train: &Loader, decay: f32) -> Result<Weights> {
    let mut weights: Weights = std::array::from_fn(|_| vec![0.0; PIXELS + 1]);
    let mut velocity = weights.clone();
    for epoch in 0..EPOCHS {
        let rate = RATE * (1.0 - epoch as f32 / EPOCHS as f32);
        for batch in train.epoch(epoch)? {
            let gradient = gradient(&weights, &batch?);
            for class in 0..CLASSES {
                let step = velocity[class].iter_mut().zip(&mut weights[class]).zip(&gradient[class]);
                for ((v, w), g) in step {
                    *v = MOMENTUM * *v + g + decay * *w;
                    *w -= rate * *v;
                }
            }
        }
    }
    Ok(weights)
}

/// Of the mean cross-entropy.
fn gradient(weights: &Weights, batch: &Batch) -> Weights {
    let mut gradient: Weights = std::array::from_fn(|_| vec![0.0; PIXELS + 1]);
    let share = 1.0 / batch.targets.len() as f32;
    for (x, &label) in batch.inputs.as_slice().chunks_exact(PIXELS).zip(&batch.targets) {
        let scores = scores(weights, x);
        let largest = scores.iter().fold(f32::MIN, |a, &b| a.max(b));
        let exponentials = scores.map(|score| (score - largest).exp());
        let sum: f32 = exponentials.iter().sum();
        for class in 0..CLASSES {
            let target = if class == label { 1.0 } else { 0.0 };
            let error = share * (exponentials[class] / sum - target);
            gradient[class].iter_mut().zip(x).for_each(|(g, x)| *g += error * x);
            gradient[class][PIXELS] += error;
        }
    }
    gradient
}

fn scores(weights: &Weights, x: &[f32]) -> [f32; CLASSES] {
    std::array::from_fn(|class| {
        // Sixteen sums side by side, which the compiler turns into vector instructions.
        let mut sums = [0.0; 16];
        for (w, x) in weights[class].chunks_exact(16).zip(x.chunks_exact(16)) {
            (0..16).for_each(|lane| sums[lane] += w[lane] * x[lane]);
        }
        weights[class][PIXELS] + sums.iter().sum::<f32>()
    })
}

fn accuracy(weights: &Weights, loader: &Loader) -> Result<f64> {
    let (mut right, mut seen) = (0, 0);
    for batch in loader.epoch(0)? {
        let batch = batch?;
        for (x, &label) in batch.inputs.as_slice().chunks_exact(PIXELS).zip(&batch.targets) {
            let scores = scores(weights, x);
            right += usize::from((0..CLASSES).all(|class| class == label || scores[class] < scores[label]));
            seen += 1;
        }
    }
    Ok(f64::from(right as u32) / f64::from(seen))
}
