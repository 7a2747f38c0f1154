//! Which operations run together: one pass over the graph, which training, compiled networks and the ONNX
//! writer share.
//!
//! Memory traffic costs about as much as arithmetic. A convolution in training takes the statistics of its
//! result as it goes, and normalization, addition and ReLU share a pass; in a compiled network the
//! normalization is part of the weights, and addition and ReLU are done before a result leaves its register.
//! An operation is taken up by the one before it only if nothing else reads what stands between them.

use residual_tensor::Float;

use crate::{
    Node, Pattern,
    graph::{Applied, Scope},
};

/// Operations that are computed together: a first one, then what it takes up, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The first operation, whose inputs the group reads.
    pub head: Node,
    /// A normalization of the head's result.
    pub norm: Option<Node>,
    /// An addition.
    pub add: Option<Addition>,
    /// A ReLU.
    pub relu: Option<Node>,
}

/// An addition to what a group has computed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    /// The operation.
    pub node: Node,
    /// What is added.
    pub addend: Node,
}

impl Group {
    fn alone(head: Node) -> Self {
        Self { head, norm: None, add: None, relu: None }
    }

    /// The last operation: whose result is the group's.
    pub fn result(&self) -> Node {
        self.relu.or(self.add.map(|add| add.node)).or(self.norm).unwrap_or(self.head)
    }

    /// All operations, in order.
    pub fn members(&self) -> impl Iterator<Item = Node> {
        [Some(self.head), self.norm, self.add.map(|add| add.node), self.relu].into_iter().flatten()
    }
}

/// The groups of a graph, each behind those that it reads from, and each inside of one recomputed scope or of
/// none.
pub(crate) fn groups<T: Float>(nodes: &[Applied<T>], scopes: &[Scope], uses: &[usize]) -> Vec<Group> {
    let mut pass = Pass::new(nodes, scopes, uses);
    (1..nodes.len()).for_each(|index| pass.visit(Node(index)));
    // A group stands where its last operation stood: behind whatever it adds.
    let mut groups = pass.groups;
    groups.sort_by_key(Group::result);
    groups
}

struct Pass<'a, T: Float> {
    nodes: &'a [Applied<T>],
    groups: Vec<Group>,
    /// For each node the group whose result is its own.
    of_node: Vec<Option<usize>>,
    /// How many operations read each node's result; the end of the graph counts as one.
    uses: &'a [usize],
    /// For each node the recomputed module that it is in: a group is in one, or in none.
    recomputed_in: Vec<Option<usize>>,
}

impl<'a, T: Float> Pass<'a, T> {
    fn new(nodes: &'a [Applied<T>], scopes: &[Scope], uses: &'a [usize]) -> Self {
        let mut recomputed_in = vec![None; nodes.len()];
        for (index, scope) in scopes.iter().enumerate().filter(|(_, scope)| scope.recomputed) {
            recomputed_in[scope.nodes.clone()].fill(Some(index));
        }
        Self { nodes, groups: Vec::new(), of_node: vec![None; nodes.len()], uses, recomputed_in }
    }

    fn pattern(&self, node: Node) -> Pattern<'a, T> {
        self.nodes[node.0].operation.as_ref().map_or(Pattern::Other, |operation| operation.pattern())
    }

    /// Has an operation taken up by a group, or begins a group with it.
    fn visit(&mut self, node: Node) {
        let inputs = &self.nodes[node.0].inputs;
        let taken = match self.pattern(node) {
            Pattern::BatchNorm2d(_) => self.normalize(node, inputs[0]),
            // The branch adds the shortcut rather than the other way round.
            Pattern::Add => self.add(node, inputs[0], inputs[1]) || self.add(node, inputs[1], inputs[0]),
            Pattern::Relu => self.relu(node, inputs[0]),
            Pattern::Conv2d(_) | Pattern::Linear(_) | Pattern::Other => false,
        };
        if !taken {
            self.of_node[node.0] = Some(self.groups.len());
            self.groups.push(Group::alone(node));
        }
    }

    /// The group that computes `x`, which nothing but `node` reads.
    fn before(&self, node: Node, x: Node) -> Option<usize> {
        let together = self.recomputed_in[node.0] == self.recomputed_in[x.0];
        self.of_node[x.0].filter(|_| together && self.uses[x.0] == 1)
    }

    fn normalize(&mut self, node: Node, x: Node) -> bool {
        let Some(index) = self.before(node, x) else { return false };
        let group = self.groups[index];
        let suits = matches!(self.pattern(group.head), Pattern::Conv2d(_)) && group.result() == group.head;
        suits && self.put(index, node, Group { norm: Some(node), ..group })
    }

    fn add(&mut self, node: Node, x: Node, addend: Node) -> bool {
        let Some(index) = self.before(node, x) else { return false };
        let group = self.groups[index];
        let suits = matches!(self.pattern(group.head), Pattern::Conv2d(_) | Pattern::Linear(_))
            && group.add.is_none()
            && group.relu.is_none()
            && addend != x;
        suits && self.put(index, node, Group { add: Some(Addition { node, addend }), ..group })
    }

    fn relu(&mut self, node: Node, x: Node) -> bool {
        let Some(index) = self.before(node, x) else { return false };
        let group = self.groups[index];
        let suits =
            !matches!(self.pattern(group.head), Pattern::Other | Pattern::Relu) && group.relu.is_none();
        suits && self.put(index, node, Group { relu: Some(node), ..group })
    }

    fn put(&mut self, index: usize, node: Node, group: Group) -> bool {
        self.groups[index] = group;
        self.of_node[node.0] = Some(index);
        true
    }
}
