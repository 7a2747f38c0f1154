//! What the trainer has to know of a network beyond what it computes.

use residual_model::{Model, weights_of};
use residual_nn::Module;
use residual_tensor::Float;
use residual_weights::Weights;
use residual_zoo::Network;

use crate::{Result, TrainError};

/// A network that can be trained. For one of one's own, its module is all that has to be said:
///
/// ```
/// use residual_nn::{Builder, Child, GlobalAvgPool, Linear, Module, Node};
/// use residual_train::Trainable;
///
/// struct Averages {
///     fc: Child<Linear<f32>>,
/// }
///
/// impl Module<f32> for Averages {
///     fn build(&self, b: &Builder<f32>, x: Node) -> Node {
///         b.call(&self.fc, b.apply(GlobalAvgPool::default(), &[x]))
///     }
/// }
///
/// impl Trainable<f32> for Averages {
///     fn module(&self) -> &dyn Module<f32> {
///         self
///     }
/// }
/// ```
pub trait Trainable<T: Float>: Send + Sync {
    /// What it computes: the outputs that an [`Objective`](crate::Objective) judges.
    fn module(&self) -> &dyn Module<T>;

    /// What it is called.
    fn name(&self) -> &str {
        "network"
    }

    /// The names of its classes, if it has classes, and they have names.
    fn classes(&self) -> &[String] {
        &[]
    }

    /// The path of the layer that sees the input first.
    fn stem(&self) -> &str {
        "conv1"
    }

    /// The path of the layer that gives the outputs: what fine-tuning replaces.
    fn head(&self) -> &str {
        "fc"
    }

    /// The content of its file, to which a checkpoint adds how it is trained.
    fn to_weights(&self) -> Weights {
        weights_of(self.module())
    }

    /// Trains only this part of the network and those after it. Parts are named as the first words of
    /// the paths, in the order of the states. What comes before stays as it is, with the running
    /// statistics of its normalizations.
    ///
    /// # Errors
    /// If there is no such part; the message names those that exist.
    fn freeze_until(&self, part: &str) -> Result<()> {
        let states = self.module().states();
        let part_of = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
        if !states.iter().any(|(path, _)| part_of(path) == part) {
            let mut known: Vec<String> = states.iter().map(|(path, _)| part_of(path)).collect();
            known.dedup();
            return Err(TrainError::Part { part: part.to_owned(), known: known.join(", ") });
        }
        let mut before = true;
        for (path, state) in states {
            before &= part_of(&path) != part;
            state.set_frozen(before);
        }
        Ok(())
    }
}

impl<T: Float> Trainable<T> for Network<T> {
    fn module(&self) -> &dyn Module<T> {
        self
    }

    fn name(&self) -> &str {
        &self.config().name
    }

    fn stem(&self) -> &str {
        self.config().first_convolution()
    }

    fn head(&self) -> &str {
        self.config().classifier()
    }

    fn freeze_until(&self, part: &str) -> Result<()> {
        Ok(Network::freeze_until(self, part)?)
    }
}

impl<T: Float> Trainable<T> for Model<T> {
    fn module(&self) -> &dyn Module<T> {
        &self.net
    }

    fn name(&self) -> &str {
        Trainable::name(&self.net)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn stem(&self) -> &str {
        self.net.stem()
    }

    fn head(&self) -> &str {
        self.net.head()
    }

    fn to_weights(&self) -> Weights {
        Model::to_weights(self)
    }

    fn freeze_until(&self, part: &str) -> Result<()> {
        Trainable::freeze_until(&self.net, part)
    }
}
