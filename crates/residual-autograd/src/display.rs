//! The tape as text and as a drawing.

use std::fmt::{self, Write as _};

use residual_tensor::Float;

use crate::{Tape, tape::Node};

/// One line per node: number, operation, scope, shape, and the numbers of its inputs.
impl<T: Float> fmt::Display for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, node) in self.0.borrow().nodes.iter().enumerate() {
            let inputs = node.inputs.iter().map(|input| format!("%{input}")).collect::<Vec<_>>().join(", ");
            let shape = node.shape.to_string();
            let call = format!("{}({inputs})", node.name);
            writeln!(f, "%{number:<4} {call:<32} {shape:<20} {}", node.path)?;
        }
        Ok(())
    }
}

impl<T: Float> fmt::Debug for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: Float> Tape<T> {
    /// The tape as a graph in the DOT language; `dot -Tsvg` draws it. States are boxes,
    /// operations ellipses, arrows carry shapes.
    pub fn to_dot(&self) -> String {
        let tape = self.0.borrow();
        let mut dot = String::from("digraph tape {\n  rankdir=TB;\n  node [fontname=\"sans-serif\"];\n");
        for (number, node) in tape.nodes.iter().enumerate() {
            let form = if node.inputs.is_empty() { "box" } else { "ellipse" };
            let colour = if node.needs_gradient { "black" } else { "grey" };
            let label = label(node);
            let _ = writeln!(dot, "  n{number} [shape={form}, color={colour}, label=\"{label}\"];");
            for &input in &node.inputs {
                let _ = writeln!(dot, "  n{input} -> n{number} [label=\"{}\"];", tape.nodes[input].shape);
            }
        }
        dot.push_str("}\n");
        dot
    }
}

fn label<T: Float>(node: &Node<T>) -> String {
    match node.path.as_str() {
        "" => node.name.to_owned(),
        path => format!("{}\\n{path}", node.name),
    }
}
