//! Which network weights belong to, by the names and shapes of the tensors alone.

use std::collections::BTreeMap;

use residual_nn::Module;
use residual_weights::Weights;
use residual_zoo::{NetworkConfig, names};

/// The network of the zoo that has exactly these tensors, with the classes and channels that they have.
///
/// Some networks differ in what no tensor shows. The first that is listed is taken, which is torchvision's:
/// the stride of a bottleneck in its 3×3 (version 1.5), nothing averaged before it, and shortcuts rather
/// than a plain twin.
pub(crate) fn recognize(weights: &Weights) -> Option<NetworkConfig> {
    let depths = depths(weights);
    if depths.is_empty() {
        return None;
    }
    let listed = names().into_iter().chain(of_families(weights, &depths)).collect::<Vec<_>>();
    let suffixed = ["", "_a", "_b", "_cifar"]
        .iter()
        .flat_map(|suffix| listed.iter().map(move |name| format!("{name}{suffix}")));
    let candidates = suffixed
        .filter_map(|name| NetworkConfig::named(&name).ok())
        .filter(|config| config.depths == depths)
        .map(|config| fitted(config, weights));
    let (residual, plain): (Vec<_>, Vec<_>) = candidates.partition(|config| config.residual);
    residual.into_iter().chain(plain).find(|config| is_of(config, weights))
}

/// A configuration with as many classes and input channels as the weights have.
pub(crate) fn fitted(mut config: NetworkConfig, weights: &Weights) -> NetworkConfig {
    let length =
        |layer: &str, axis: usize| weights.get(&format!("{layer}.weight"))?.shape().get(axis).copied();
    config.classes = length(config.classifier(), 0).unwrap_or(config.classes);
    config.input_channels = length(config.first_convolution(), 1).unwrap_or(config.input_channels);
    config
}

/// Whether the tensors are those of a network. Its memory is not written to.
fn is_of(config: &NetworkConfig, weights: &Weights) -> bool {
    let held: u128 = weights.iter().map(|(_, entry)| entry.shape().elements() as u128).sum();
    config.least_parameters() <= held
        && config.build_blank::<f32>().is_ok_and(|net| {
            weights.check(net.states().iter().map(|(path, state)| (path, state.shape()))).is_ok()
        })
}

/// How many blocks each stage has: `layer1.0`, `layer1.1`, …, or `stages.0.blocks.0`, ….
fn depths(weights: &Weights) -> Vec<usize> {
    let mut stages: BTreeMap<usize, usize> = BTreeMap::new();
    for name in weights.names() {
        let parts: Vec<&str> = name.split('.').collect();
        let (stage, block) = match parts[..] {
            ["stages", stage, "blocks", block, ..] => (stage, block),
            [stage, block, ..] => (stage.strip_prefix("layer").unwrap_or_default(), block),
            _ => continue,
        };
        if let (Ok(stage), Ok(block)) = (stage.parse(), block.parse::<usize>()) {
            let blocks = stages.entry(stage).or_default();
            *blocks = block.saturating_add(1).max(*blocks);
        }
    }
    stages.into_values().collect()
}

/// Names of the CIFAR networks that have any depth, with three stages of so many blocks.
fn of_families(weights: &Weights, depths: &[usize]) -> Vec<String> {
    let &[n, second, third] = depths else { return Vec::new() };
    if n != second || n != third || n > 1000 {
        return Vec::new();
    }
    let mut names: Vec<String> = ["cifar_resnet", "cifar_preresnet"]
        .iter()
        .flat_map(|family| [6 * n + 2, 9 * n + 2].map(|depth| format!("{family}{depth}")))
        .collect();
    let shape = |name: &str| weights.get(name).map(|entry| entry.shape().to_vec());
    if let Some([out_channels, ..]) = shape("layer1.0.conv1.weight").as_deref() {
        names.push(format!("cifar_wrn{}_{}", 6 * n + 4, out_channels / 16));
    }
    if let Some(&[out_channels, inputs, ..]) = shape("layer1.0.conv2.weight").as_deref()
        && inputs > 0
    {
        names.push(format!("cifar_resnext{}_{}x{inputs}d", 9 * n + 2, out_channels / inputs));
    }
    names
}
