//! What modules are written against: it notes which operation is applied to which values.

use std::{cell::RefCell, collections::HashSet, sync::Arc};

use residual_tensor::Float;

use crate::{
    Add, Child, Gelu, Module, Mul, Operation, Relu, Sigmoid,
    graph::{Applied, Graph, Scope},
};

/// A value in a network that is being built: the input, or the result of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub(crate) usize);

impl Node {
    /// Its position among the nodes of the graph, of which the input is the first.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Collects operations while a module is [built](Module::build).
///
/// Nothing is computed and no shape is known: that is for those who read the [`Graph`].
#[derive(Debug)]
pub struct Builder<T: Float>(RefCell<Draft<T>>);

#[derive(Debug)]
struct Draft<T: Float> {
    nodes: Vec<Applied<T>>,
    scopes: Vec<Scope>,
    /// Where the module that is built now is in the network.
    path: String,
    /// The paths that are taken.
    paths: HashSet<String>,
}

impl<T: Float> Builder<T> {
    pub(crate) fn build<M: Module<T> + ?Sized>(module: &M) -> Graph<T> {
        let path = INPUT.to_owned();
        let draft = Draft {
            paths: HashSet::from([path.clone()]),
            nodes: vec![Applied { path, operation: None, is_layer: false, inputs: Vec::new() }],
            scopes: Vec::new(),
            path: String::new(),
        };
        let builder = Self(RefCell::new(draft));
        let output = builder.inside("", module.kind(), false, Node(0), |b| module.build(b, Node(0)));
        let Draft { nodes, scopes, .. } = builder.0.into_inner();
        Graph::new(nodes, scopes, output)
    }

    /// The child applied to `x`. Its operations and states are found under its name.
    pub fn call<M: Module<T>>(&self, child: &Child<M>, x: Node) -> Node {
        self.inside(child.name(), child.kind(), false, x, |b| child.build(b, x))
    }

    /// [`call`](Self::call), or `x` itself where there is no such child.
    pub fn call_if<M: Module<T>>(&self, child: &Option<Child<M>>, x: Node) -> Node {
        child.as_ref().map_or(x, |child| self.call(child, x))
    }

    /// [`call`](Self::call) of a block that a [checkpointing](residual_autograd::Tape::checkpointing) tape
    /// runs again in the backward pass instead of keeping what is inside (Chen et al. 2016).
    pub fn call_recomputed<M: Module<T>>(&self, child: &Child<M>, x: Node) -> Node {
        self.inside(child.name(), child.kind(), true, x, |b| child.build(b, x))
    }

    /// `max(x, 0)`
    pub fn relu(&self, x: Node) -> Node {
        self.apply(Relu, &[x])
    }

    /// `x · Φ(x)`, where Φ is the normal distribution.
    pub fn gelu(&self, x: Node) -> Node {
        self.apply(Gelu, &[x])
    }

    /// `1 / (1 + e⁻ˣ)`
    pub fn sigmoid(&self, x: Node) -> Node {
        self.apply(Sigmoid, &[x])
    }

    /// `a + b`, of the same shape.
    pub fn add(&self, a: Node, b: Node) -> Node {
        self.apply(Add, &[a, b])
    }

    /// `a · b`, where `b` has the shape of `a` or is of length 1 along some axes.
    pub fn mul(&self, a: Node, b: Node) -> Node {
        self.apply(Mul, &[a, b])
    }

    /// An operation that is part of the module that is built now; it is named after what it does: `relu`,
    /// the second one `relu_1`.
    pub fn apply(&self, operation: impl Operation<T> + 'static, inputs: &[Node]) -> Node {
        let mut draft = self.0.borrow_mut();
        let path = draft.free(operation.name());
        draft.push(Applied {
            path,
            operation: Some(Arc::new(operation)),
            is_layer: false,
            inputs: inputs.to_vec(),
        })
    }

    /// A module that is a single operation: its node has the module's own path.
    pub fn leaf(&self, operation: impl Operation<T> + 'static, x: Node) -> Node {
        let mut draft = self.0.borrow_mut();
        let name = if draft.path.is_empty() { operation.name() } else { "" };
        let path = draft.free(name);
        draft.push(Applied { path, operation: Some(Arc::new(operation)), is_layer: true, inputs: vec![x] })
    }

    fn inside(
        &self,
        name: &str,
        kind: &'static str,
        recomputed: bool,
        input: Node,
        build: impl FnOnce(&Self) -> Node,
    ) -> Node {
        let (outer, first) = {
            let mut draft = self.0.borrow_mut();
            let path = join(&draft.path, name);
            (std::mem::replace(&mut draft.path, path), draft.nodes.len())
        };
        let output = build(self);
        let mut draft = self.0.borrow_mut();
        let path = std::mem::replace(&mut draft.path, outer);
        let nodes = first..draft.nodes.len();
        draft.scopes.push(Scope { path, kind, nodes, input, output, recomputed });
        output
    }
}

impl<T: Float> Draft<T> {
    /// A path below the module that is built now, not taken yet.
    fn free(&self, name: &str) -> String {
        let path = join(&self.path, name);
        let numbered = (1..).map(|number| format!("{path}_{number}"));
        let mut candidates = std::iter::once(path.clone()).chain(numbered);
        candidates.find(|path| !self.paths.contains(path)).expect("there are as many numbers as needed")
    }

    fn push(&mut self, applied: Applied<T>) -> Node {
        self.paths.insert(applied.path.clone());
        self.nodes.push(applied);
        Node(self.nodes.len() - 1)
    }
}

/// The path of the first node.
const INPUT: &str = "input";

pub(crate) fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.to_owned(),
        (path, "") => path.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}
