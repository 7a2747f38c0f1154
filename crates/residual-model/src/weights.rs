//! Weights without a checkpoint around them: those that somebody else trained. What files they come
//! from is `residual-weights`' business.

use std::{collections::HashMap, path::Path};

use residual_nn::{Module, State};
use residual_tensor::Float;
use residual_weights::{Entry, Mismatch, Rename, Weights};
use residual_zoo::Network;

use crate::{ModelError, ModelSpec, Result, model::remove_optimizer};

/// Reads a network's weights from a file of any format and gives them torchvision's names: by the
/// rules or, without rules, as well-known repositories need it. Of a checkpoint, the optimizer's
/// tensors are left out.
///
/// # Errors
/// [`ModelError::Weights`] if the file cannot be read, [`ModelError::Rename`] if a rule does not fit
/// it; both with the path.
pub fn open_weights(path: impl AsRef<Path>, rules: &[Rename]) -> Result<Weights> {
    let path = path.as_ref();
    let mut weights = residual_weights::load(path)?;
    remove_optimizer(&mut weights);
    if rules.is_empty() {
        weights.rename_known();
    }
    weights.rename(rules).map_err(|source| ModelError::Rename { path: path.into(), source })?;
    Ok(weights)
}

/// A network with weights, which say how many classes and input channels it has.
///
/// # Errors
/// [`ModelError::Zoo`] if there is no such network, [`ModelError::Mismatch`] with the path that the
/// weights were read from if they are not its own.
pub fn network_of<T: Float>(
    model: &ModelSpec,
    weights: Weights,
    path: impl AsRef<Path>,
) -> Result<Network<T>> {
    let net = blank_network(model, &weights)?;
    load_weights(&net, weights).map_err(|source: Mismatch| ModelError::Mismatch {
        path: path.as_ref().into(),
        source: source.into(),
    })?;
    Ok(net)
}

/// Whether weights are those of a network.
///
/// # Errors
/// As [`network_of`].
pub fn check_weights(model: &ModelSpec, weights: &Weights, path: impl AsRef<Path>) -> Result<()> {
    let net = blank_network::<f32>(model, weights)?;
    check(&net.states(), weights).map_err(|source: Mismatch| ModelError::Mismatch {
        path: path.as_ref().into(),
        source: source.into(),
    })
}

/// The network with as many classes and input channels as the weights have.
fn blank_network<T: Float>(model: &ModelSpec, weights: &Weights) -> Result<Network<T>> {
    let mut config = model.config()?;
    let length =
        |layer: &str, axis: usize| weights.get(&format!("{layer}.weight"))?.shape().get(axis).copied();
    config.classes = length(config.classifier(), 0).unwrap_or(config.classes);
    config.input_channels = length(config.first_convolution(), 1).unwrap_or(config.input_channels);
    Ok(config.build_blank()?)
}

/// Puts weights into a network: all of them or, if they do not fit, none. Each is let go of as soon
/// as it is in its place, so that the two together take up little more than one.
///
/// # Errors
/// What is missing, unexpected and of another shape, all at once.
pub fn load_weights<T: Float>(net: &dyn Module<T>, weights: Weights) -> std::result::Result<(), Mismatch> {
    let states = net.states();
    check(&states, &weights)?;
    fill(states, weights);
    Ok(())
}

fn check<T: Float>(states: &[(String, State<T>)], weights: &Weights) -> std::result::Result<(), Mismatch> {
    weights.check(states.iter().map(|(path, state)| (path, state.shape())))
}

/// Gives each state the weights of its name, if they have its shape; counts them. Weights are
/// freed as they are used.
pub fn fill<T: Float>(states: Vec<(String, State<T>)>, weights: Weights) -> usize {
    let states: HashMap<_, _> = states.into_iter().collect();
    let own = |(name, entry): &(String, Entry)| {
        let state = states.get(name).filter(|state| *entry.shape() == state.shape());
        state.is_some_and(|state| state.set(&entry.to_float()).is_ok())
    };
    weights.into_iter().filter(own).count()
}
