//! A graph run on a tape: in training groups run fused; in evaluation, and where the tape is observed,
//! operation by operation. The results agree.

use std::ops::Range;

use residual_autograd::{Result, State, Tape, Var};
use residual_tensor::Float;

use crate::{BatchNorm2d, Conv2d, Graph, Mode, Node, Pattern, fusion::Group, graph::Scope};

impl<T: Float> Graph<T> {
    /// Runs the network on the tape of its input.
    ///
    /// # Errors
    /// If the input does not fit, with the path of the operation that refused it.
    pub fn forward(&self, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        let mut run = Run::new(self, x.tape(), mode);
        run.values[0] = Some(x.clone());
        run.groups(0..self.groups_in_training().len())?;
        Ok(run.take(self.output()))
    }

    /// The normalization of a group whose operations run fused in training: behind a convolution without bias,
    /// or before a ReLU.
    pub fn normalization(&self, group: &Group) -> Option<Node> {
        match self.pattern(group.head) {
            Pattern::Conv2d(convolution) if convolution.bias.is_none() => group.norm,
            Pattern::BatchNorm2d(_) if group.relu.is_some() => Some(group.head),
            _ => None,
        }
    }

    /// The module at a scope alone, applied to `x`.
    fn forward_scope(&self, scope: &Scope, x: &Var<T>, mode: Mode) -> Result<Var<T>> {
        let mut run = Run::new(self, x.tape(), mode);
        run.values[scope.input.index()] = Some(x.clone());
        let inside = |node: Node| scope.nodes.contains(&node.index());
        let first =
            self.groups_in_training().partition_point(|group| group.result().index() < scope.nodes.start);
        let length =
            self.groups_in_training()[first..].iter().take_while(|group| inside(group.result())).count();
        run.groups(first..first + length)?;
        Ok(run.take(scope.output))
    }

    /// The parameters of a scope.
    fn parameters_of(&self, scope: &Scope) -> Vec<State<T>> {
        let nodes = &self.nodes()[scope.nodes.clone()];
        let states = nodes.iter().flat_map(|node| node.operation.iter().flat_map(|op| op.states()));
        states.map(|(_, state)| state.clone()).filter(|state| state.is_trained()).collect()
    }
}

/// The layers of a group that runs fused.
struct Fused<'a, T: Float> {
    convolution: Option<&'a Conv2d<T>>,
    /// The normalization's node.
    norm: Node,
    layer: &'a BatchNorm2d<T>,
}

/// A run that is under way.
struct Run<'a, T: Float> {
    graph: &'a Graph<T>,
    tape: &'a Tape<T>,
    mode: Mode,
    /// Each node's result, until nothing needs it any more.
    values: Vec<Option<Var<T>>>,
    /// How many operations are still to read each.
    uses: Vec<usize>,
}

impl<'a, T: Float> Run<'a, T> {
    fn new(graph: &'a Graph<T>, tape: &'a Tape<T>, mode: Mode) -> Self {
        let values = vec![None; graph.nodes().len()];
        Self { graph, tape, mode, values, uses: graph.uses().to_vec() }
    }

    /// A value that something reads for the last time, or once more.
    fn read(&mut self, node: Node) -> Var<T> {
        let index = node.index();
        self.uses[index] -= 1;
        let value =
            if self.uses[index] == 0 { self.values[index].take() } else { self.values[index].clone() };
        value.expect("a node stands behind its inputs")
    }

    /// The result.
    fn take(&mut self, node: Node) -> Var<T> {
        self.values[node.index()].take().expect("the last operation has run")
    }

    fn groups(&mut self, range: Range<usize>) -> Result<()> {
        let graph = self.graph;
        let mut index = range.start;
        while index < range.end {
            let group = &graph.groups_in_training()[index];
            let again = if self.tape.is_checkpointing() { graph.recomputed(group.head) } else { None };
            match again {
                Some(scope) => {
                    self.recomputed(scope)?;
                    let inside = |group: &Group| scope.nodes.contains(&group.result().index());
                    index += graph.groups_in_training()[index..range.end]
                        .iter()
                        .take_while(|&group| inside(group))
                        .count();
                }
                None => {
                    self.group(group)?;
                    index += 1;
                }
            }
        }
        Ok(())
    }

    /// A scope of which only the input is kept.
    fn recomputed(&mut self, scope: &Scope) -> Result<()> {
        let x = self.values[scope.input.index()].clone().expect("a node stands behind its inputs");
        // What is inside reads the input as often as before.
        let inside = self.graph.nodes()[scope.nodes.clone()].iter();
        let reads = inside.flat_map(|node| &node.inputs).filter(|&&input| input == scope.input).count();
        for _ in 0..reads {
            self.read(scope.input);
        }
        let (graph, kept, mode) = (self.graph.clone(), scope.clone(), self.mode);
        let parameters = self.graph.parameters_of(scope);
        let y = self
            .tape
            .scope(&scope.path, || x.checkpoint(parameters, move |x| graph.forward_scope(&kept, x, mode)))?;
        self.values[scope.output.index()] = Some(y);
        Ok(())
    }

    fn group(&mut self, group: &Group) -> Result<()> {
        let Some(Fused { convolution, norm, layer }) = self.fused(group) else {
            return self.one_by_one(group);
        };
        let graph = self.graph;
        let mut y = self.read(graph.node(group.head).inputs[0]);
        let mut statistics = None;
        if let Some(convolution) = convolution {
            y = self.tape.scope(&graph.node(group.head).path, || {
                let (y, taken) = convolution.record_with_statistics(&y)?;
                statistics = Some(taken);
                Ok(y)
            })?;
        }
        let addend = group.add.map(|add| self.read(add.addend));
        let relu = group.relu.is_some();
        let path = &graph.node(norm).path;
        y = self.tape.scope(path, || layer.record_fused(&y, statistics, addend.as_ref(), relu))?;
        self.values[group.result().index()] = Some(y);
        Ok(())
    }

    /// The layers of a group that runs fused: in training, on a tape that nobody looks at, with statistics of
    /// the batch.
    fn fused(&self, group: &Group) -> Option<Fused<'a, T>> {
        if self.mode == Mode::Eval || self.tape.is_observed() {
            return None;
        }
        let norm = self.graph.normalization(group)?;
        let convolution = match self.graph.pattern(group.head) {
            Pattern::Conv2d(convolution) => Some(convolution),
            _ => None,
        };
        match self.graph.pattern(norm) {
            Pattern::BatchNorm2d(layer) if layer.weight.is_trained() => {
                Some(Fused { convolution, norm, layer })
            }
            _ => None,
        }
    }

    fn one_by_one(&mut self, group: &Group) -> Result<()> {
        for node in group.members() {
            let applied = self.graph.node(node);
            let inputs: Vec<Var<T>> = applied.inputs.iter().map(|&input| self.read(input)).collect();
            let inputs: Vec<&Var<T>> = inputs.iter().collect();
            let operation = self.graph.operation(node);
            let y = self.tape.scope(&applied.path, || operation.record(&inputs, self.mode))?;
            if self.tape.is_observed() {
                self.show_scopes(node, &y)?;
            }
            self.values[node.index()] = Some(y);
        }
        Ok(())
    }

    /// Shows an observer the modules that end with a node: `layer1.0` after its last ReLU.
    fn show_scopes(&self, node: Node, y: &Var<T>) -> Result<()> {
        let ending = |scope: &&Scope| scope.nodes.end == node.index() + 1 && scope.output == node;
        for scope in self.graph.scopes().iter().filter(ending).filter(|scope| !scope.path.is_empty()) {
            self.tape.scope(&scope.path, || Ok(y.clone()))?;
        }
        Ok(())
    }
}
