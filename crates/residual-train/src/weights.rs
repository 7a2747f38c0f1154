//! Weights without a checkpoint around them: those that somebody else trained. What files they come
//! from is `residual-weights`' business.

use std::path::Path;

use residual_nn::Module;
use residual_tensor::{Float, Generator};
use residual_weights::{Mismatch, Rename, Weights};
use residual_zoo::ResNet;

use crate::{ModelSpec, Result, TrainError, checkpoint::take_velocity};

/// Reads a network's weights from a file of any format and gives them torchvision's names: by the
/// rules or, without rules, as well-known repositories need it. Of a checkpoint, the optimizer's
/// tensors are left out.
///
/// # Errors
/// [`TrainError::Weights`] if the file cannot be read, [`TrainError::Rename`] if a rule does not fit
/// it; both with the path.
pub fn open_weights(path: impl AsRef<Path>, rules: &[Rename]) -> Result<Weights> {
    let path = path.as_ref();
    let mut weights = residual_weights::load(path)?;
    take_velocity(&mut weights);
    if rules.is_empty() {
        weights.rename_known();
    }
    weights.rename(rules).map_err(|source| TrainError::Rename { path: path.into(), source })?;
    Ok(weights)
}

/// A network with weights, which say how many classes and input channels it has.
///
/// # Errors
/// [`TrainError::Zoo`] if there is no such network, [`TrainError::Mismatch`] with the path that the
/// weights were read from if they are not its own.
pub fn network_of<T: Float>(
    model: &ModelSpec,
    weights: &Weights,
    path: impl AsRef<Path>,
) -> Result<ResNet<T>> {
    let mut config = model.config()?;
    let length = |name: &str, axis: usize| weights.get(name)?.shape().get(axis).copied();
    config.classes = length("fc.weight", 0).unwrap_or(config.classes);
    config.input_channels = length("conv1.weight", 1).unwrap_or(config.input_channels);
    let net = config.build(&mut Generator::new(0))?;
    let mismatch = |source| TrainError::Mismatch { path: path.as_ref().into(), source };
    load_weights(&net, weights).map_err(mismatch)?;
    Ok(net)
}

/// Puts weights into a network: all of them or, if they do not fit, none.
///
/// # Errors
/// What is missing, unexpected and of another shape, all at once.
pub fn load_weights<T: Float>(net: &dyn Module<T>, weights: &Weights) -> std::result::Result<(), Mismatch> {
    let states = net.states();
    weights.check(states.iter().map(|(path, state)| (path, state.shape())))?;
    for (path, state) in &states {
        if let Some(entry) = weights.get(path) {
            state.set(&entry.to_float()).expect("shapes that have been checked");
        }
    }
    Ok(())
}
