//! The average of several files with the same tensors, such as the last checkpoints of a run or networks
//! that were fine-tuned from the same weights (Wortsman et al. 2022, "Model soups").
//!
//! `cargo run -p residual-weights --example average -- average.safetensors a.pth b.safetensors c.pth`

use std::{env, error::Error};

use residual_tensor::Tensor;
use residual_weights::{Entry, Weights, load, save};

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = env::args().skip(1).collect();
    let [output, first, others @ ..] = paths.as_slice() else {
        return Err("give the file to write, and the files to average".into());
    };
    let others = others.iter().map(load).collect::<Result<Vec<Weights>, _>>()?;
    let mut average = Weights::new();
    for (name, entry) in load(first)?.iter() {
        // Counts, such as those of the batches that a normalization has seen, have no average.
        if !matches!(entry, Entry::F32(_) | Entry::F64(_)) {
            average.insert(name, entry.clone());
            continue;
        }
        let mut mean: Tensor<f64> = entry.to_float();
        for file in &others {
            let other = file.get(name).filter(|other| other.shape() == entry.shape());
            let other: Tensor<f64> = other.ok_or(format!("{name} differs between the files"))?.to_float();
            mean.as_mut_slice().iter_mut().zip(other.as_slice()).for_each(|(sum, &x)| *sum += x);
        }
        let count = (1 + others.len()) as f64;
        mean.as_mut_slice().iter_mut().for_each(|sum| *sum /= count);
        average.insert(name, Entry::F64(mean).to_float::<f32>());
    }
    save(output, &average)?;
    println!("{output}: {} tensors, averaged over {} files", average.len(), 1 + others.len());
    Ok(())
}
