//! What depth costs: parameters, multiply-adds of a picture and memory of a training step for the
//! networks of He et al. 2015, table 6, and for the same depth of bottlenecks. Nothing is computed.
//!
//! `cargo run -p residual-zoo --example depth`

use residual_tensor::Generator;
use residual_zoo::{NetworkConfig, Summary, ZooError};

fn main() -> Result<(), ZooError> {
    println!("{:>24}  {:>12}  {:>14}  {:>16}", "network", "parameters", "multiply-adds", "kept of a picture");
    for name in [
        "cifar_resnet20",
        "cifar_resnet32",
        "cifar_resnet44",
        "cifar_resnet56",
        "cifar_resnet110",
        "cifar_preresnet164",
    ] {
        let net = NetworkConfig::named(name)?.build::<f32>(&mut Generator::new(0))?;
        let summary = Summary::of(&net, [1, 3, 32, 32])?;
        println!(
            "{name:>24}  {:>12}  {:>14}  {:>12} KiB",
            summary.parameters,
            summary.multiply_adds,
            summary.activation_bytes / 1024
        );
    }
    Ok(())
}
