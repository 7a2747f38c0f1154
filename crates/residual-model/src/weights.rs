//! Weights from a file into a network.

use std::collections::HashMap;

use residual_nn::{Module, Role, State};
use residual_tensor::Float;
use residual_weights::{Entry, Mismatch, Weights};

/// What the names of tensors begin with that train a network: they stand beside its weights in the checkpoints of
/// a training, and are no part of the model.
pub const OPTIMIZER: &str = "optimizer.";
/// The part of a checkpoint's metadata that says how far the training is.
pub const TRAINING: &str = "training";

/// Takes what is there for the training alone out of the content of a checkpoint: the tensors of the optimizer, by
/// their names without [`OPTIMIZER`], and what stands under [`TRAINING`].
pub fn take_training(weights: &mut Weights) -> (Weights, Option<String>) {
    let names: Vec<String> =
        weights.names().filter(|name| name.starts_with(OPTIMIZER)).map(str::to_owned).collect();
    let taken = |name: &String| Some((name[OPTIMIZER.len()..].to_owned(), weights.remove(name)?));
    (names.iter().filter_map(taken).collect(), weights.metadata.remove(TRAINING))
}

/// The states of a network as the tensors of a file: counters as 64-bit integers, as PyTorch has them.
pub fn weights_of<T: Float>(net: &dyn Module<T>) -> Weights {
    let states = net.states().into_iter().map(|(path, state)| {
        let value = state.value();
        let entry = match state.role() {
            Role::Counter => value.map(|count| count.to_f64() as i64).into(),
            Role::Parameter | Role::Buffer => Entry::from_float(&value),
        };
        (path, entry)
    });
    states.collect()
}

/// Puts weights into a network: all of them or, if they do not fit, none. Each is let go of as soon
/// as it is in its place, so that the two together take up little more than one.
///
/// # Errors
/// What is missing, unexpected and of another shape, all at once.
pub fn load_weights<T: Float>(net: &dyn Module<T>, weights: Weights) -> Result<(), Mismatch> {
    let states = net.states();
    weights.check(states.iter().map(|(path, state)| (path, state.shape())))?;
    fill(states, weights);
    Ok(())
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
