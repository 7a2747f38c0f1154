//! A module: a layer, a block or a network, written once, as one function against a [`Builder`].

use std::{borrow::Cow, ops::Deref};

use residual_autograd::{Result, Role, State, Var};
use residual_tensor::{Float, Shape};
use serde::{Deserialize, Serialize};

use crate::{Builder, Graph, Node, Trace};

/// Training or evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Batch normalization uses the batch's statistics and updates the running ones; where it is
    /// [frozen](State::set_frozen), it does as in [`Eval`](Self::Eval). Stochastic depth drops samples.
    Train,
    /// Batch normalization uses the running statistics, and stochastic depth does nothing.
    Eval,
}

/// A layer, block or network.
///
/// [`build`](Self::build) says what it does; everything else is read from the [`Graph`] that this makes.
pub trait Module<T: Float>: Send + Sync {
    /// What the module does to `x`.
    fn build(&self, b: &Builder<T>, x: Node) -> Node;

    /// What it is called in a summary: `residual block`. Nothing for what is not listed there.
    fn kind(&self) -> &'static str {
        ""
    }

    /// The operations that the module consists of. A network keeps its graph; others build it when asked.
    fn graph(&self) -> Graph<T> {
        Graph::of(self)
    }

    /// Runs the module.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the layer that refused it.
    fn forward(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        self.graph().forward(x, mode)
    }

    /// The shapes that an input of this shape leads to, worked out without running, and what each layer
    /// costs.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the layer that would refuse it.
    fn trace(&self, input: &Shape) -> Result<Trace> {
        self.graph().trace(input)
    }

    /// Every state with its path, in the order of PyTorch's `state_dict`.
    fn states(&self) -> Vec<(String, State<T>)> {
        self.graph().states()
    }

    /// Every parameter, frozen or not, with its path.
    fn parameters(&self) -> Vec<(String, State<T>)> {
        self.states().into_iter().filter(|(_, state)| state.role() == Role::Parameter).collect()
    }

    /// The number of elements of all parameters, frozen ones included.
    fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, state)| state.shape().elements()).sum()
    }
}

impl<T: Float, M: Module<T> + ?Sized> Module<T> for Box<M> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        (**self).build(b, x)
    }

    fn kind(&self) -> &'static str {
        (**self).kind()
    }

    fn graph(&self) -> Graph<T> {
        (**self).graph()
    }
}

/// A module inside of another, with the name that it has there: `conv1`. Paths of states are made of these.
#[derive(Debug, Clone)]
pub struct Child<M> {
    name: Cow<'static, str>,
    module: M,
}

impl<M> Child<M> {
    /// Gives a module its name.
    pub fn new(name: impl Into<Cow<'static, str>>, module: M) -> Self {
        Self { name: name.into(), module }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<M> Deref for Child<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.module
    }
}

/// Modules one after the other.
#[derive(Debug, Clone)]
pub struct Sequential<M> {
    children: Vec<Child<M>>,
    recomputed: bool,
}

impl<M> Sequential<M> {
    /// Modules by the names that they have.
    pub fn named(children: Vec<Child<M>>) -> Self {
        Self { children, recomputed: false }
    }

    /// Modules by the names `0`, `1`, …
    pub fn numbered(modules: impl IntoIterator<Item = M>) -> Self {
        let child = |(number, module): (usize, M)| Child::new(number.to_string(), module);
        Self::named(modules.into_iter().enumerate().map(child).collect())
    }

    /// [`numbered`](Self::numbered) blocks, each of which is
    /// [recomputed](Builder::call_recomputed) where memory is short.
    pub fn blocks(modules: impl IntoIterator<Item = M>) -> Self {
        Self { recomputed: true, ..Self::numbered(modules) }
    }
}

impl<T: Float, M: Module<T>> Module<T> for Sequential<M> {
    fn build(&self, b: &Builder<T>, x: Node) -> Node {
        self.children
            .iter()
            .fold(x, |x, child| if self.recomputed { b.call_recomputed(child, x) } else { b.call(child, x) })
    }
}
