//! A network with a plan for each shape of input that it meets.

use residual_nn::{Graph, Module, Result};
use residual_tensor::{IntoShape, Tensor};

use crate::Plan;

/// How many plans are kept: one for whole batches, one for what is left at the end. Each has the
/// weights packed for itself.
const KEPT: usize = 2;

/// A trained network that answers inputs of any shape, each with the [`Plan`] for it.
///
/// It shares the network's states until it meets a shape, and then keeps copies: do not train a
/// network while a model of it is in use.
#[derive(Debug)]
pub struct Model {
    graph: Graph<f32>,
    /// The one used last comes first.
    plans: Vec<Plan>,
}

impl Model {
    /// A network without a plan yet.
    pub fn new<M: Module<f32> + ?Sized>(network: &M) -> Self {
        Self { graph: network.graph(), plans: Vec::new() }
    }

    /// The plan for inputs of a shape, made now if it is not among those of late.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the layer that would refuse it.
    pub fn plan(&mut self, input: impl IntoShape) -> Result<&mut Plan> {
        let input = input.into_shape()?;
        let plan = match self.plans.iter().position(|plan| *plan.input() == input) {
            Some(index) => self.plans.remove(index),
            None => Plan::of_graph(&self.graph, input)?,
        };
        self.plans.truncate(KEPT - 1);
        self.plans.insert(0, plan);
        Ok(&mut self.plans[0])
    }

    /// The network's answer.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn run(&mut self, images: &Tensor<f32>) -> Result<Tensor<f32>> {
        self.plan(images.shape())?.run(images)
    }
}
