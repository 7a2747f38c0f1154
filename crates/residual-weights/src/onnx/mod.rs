//! ONNX files, written: a graph of operations with the tensors that they use. Which operations a
//! network is made of is its exporter's business; nothing here knows one from another. Of files
//! that others wrote, [`inspect`](crate::inspect()) says what is in them; networks are not read.
//!
//! The subset: operators with integer and floating-point attributes, one input and one output of
//! the graph, weights as raw little-endian bytes. Written in opset [`OPSET`] and format version
//! [`IR_VERSION`], which every runtime since 2022 reads.
//!
//! ```
//! use residual_tensor::Tensor;
//! use residual_weights::{Weights, onnx::{Axis, OnnxGraph, Node, Value}};
//!
//! let graph = OnnxGraph {
//!     name: "classifier".into(),
//!     input: Value::new("features", [Axis::Any("N".into()), Axis::Fixed(64)]),
//!     output: Value::new("logits", [Axis::Any("N".into()), Axis::Fixed(10)]),
//!     double: false,
//!     nodes: vec![Node::new("Gemm", "fc", ["features", "fc.weight"], "logits").with("transB", 1)],
//!     weights: Weights::from_iter([("fc.weight", Tensor::<f32>::zeros([10, 64]))]),
//! };
//! let bytes = residual_weights::onnx::to_bytes(&graph)?;
//! # assert!(bytes.len() > 10 * 64 * 4);
//! # Ok::<(), std::io::Error>(())
//! ```

mod protobuf;
mod read;
mod wire;

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use self::protobuf::{Message, tag, varint};
pub use self::read::{Network, ValueInfo};
pub(crate) use self::read::{inspect_from, is_recognized};
use crate::{Entry, Result, Weights, file};

/// The version of the operators.
pub const OPSET: i64 = 17;
/// The version of the file format.
pub const IR_VERSION: i64 = 8;

/// A computation and its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxGraph {
    /// What it is called.
    pub name: String,
    /// What goes in.
    pub input: Value,
    /// What comes out.
    pub output: Value,
    /// Whether input and output are f64 instead of f32.
    pub double: bool,
    /// The operations, each after those whose outputs it takes.
    pub nodes: Vec<Node>,
    /// The tensors that operations refer to by name. The metadata becomes the model's.
    pub weights: Weights,
}

/// A named tensor that is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// Its axes.
    pub axes: Vec<Axis>,
}

/// The length of an axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Axis {
    /// Always this.
    Fixed(usize),
    /// Whatever comes; axes of the same name have the same length. Without a name, no other has it.
    Any(String),
}

/// An operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// ONNX's name of the operator.
    pub operator: &'static str,
    /// Where it is in the network.
    pub name: String,
    /// The names of its inputs: the graph's, weights, other nodes' outputs.
    pub inputs: Vec<String>,
    /// The name of its output.
    pub output: String,
    /// What it is told besides.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// A constant that belongs to an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// A number or a choice.
    Int(i64),
    /// A size per axis.
    Ints(Vec<i64>),
    /// A real number.
    Float(f32),
    /// A choice.
    Text(&'static str),
}

impl Value {
    /// A value with these axes.
    pub fn new(name: impl Into<String>, axes: impl Into<Vec<Axis>>) -> Self {
        Self { name: name.into(), axes: axes.into() }
    }

    fn message(&self, data_type: i64) -> Message {
        let mut shape = Message::default();
        for axis in &self.axes {
            let mut dimension = Message::default();
            match axis {
                Axis::Fixed(length) => dimension.int(1, *length as i64),
                Axis::Any(name) => dimension.text(2, name),
            }
            shape.message(1, &dimension);
        }
        let (mut tensor, mut of_type, mut value) =
            (Message::default(), Message::default(), Message::default());
        tensor.int(1, data_type);
        tensor.message(2, &shape);
        of_type.message(1, &tensor);
        value.text(1, &self.name);
        value.message(2, &of_type);
        value
    }
}

impl Node {
    /// An operation without attributes.
    pub fn new<I: Into<String>>(
        operator: &'static str,
        name: impl Into<String>,
        inputs: impl IntoIterator<Item = I>,
        output: impl Into<String>,
    ) -> Self {
        let inputs = inputs.into_iter().map(Into::into).collect();
        Self { operator, name: name.into(), inputs, output: output.into(), attributes: Vec::new() }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Attribute>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    fn message(&self) -> Message {
        let mut node = Message::default();
        self.inputs.iter().for_each(|input| node.text(1, input));
        node.text(2, &self.output);
        node.text(3, &self.name);
        node.text(4, self.operator);
        for (name, value) in &self.attributes {
            node.message(5, &value.message(name));
        }
        node
    }
}

impl Attribute {
    fn message(&self, name: &str) -> Message {
        let mut attribute = Message::default();
        attribute.text(1, name);
        let kind = match self {
            Self::Float(number) => {
                attribute.float(2, *number);
                1
            }
            Self::Int(number) => {
                attribute.int(3, *number);
                2
            }
            Self::Text(text) => {
                attribute.text(4, text);
                3
            }
            Self::Ints(numbers) => {
                numbers.iter().for_each(|&number| attribute.int(8, number));
                7
            }
        };
        attribute.int(20, kind);
        attribute
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f32> for Attribute {
    fn from(number: f32) -> Self {
        Self::Float(number)
    }
}

impl From<&'static str> for Attribute {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<i64>> for Attribute {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Ints(numbers)
    }
}

impl From<[usize; 2]> for Attribute {
    fn from(sizes: [usize; 2]) -> Self {
        Self::Ints(sizes.iter().map(|&size| size as i64).collect())
    }
}

/// Writes a file, replacing what stood there only when the new one is complete.
///
/// # Errors
/// [`WeightsError::Write`](crate::WeightsError::Write) with the path; also if the file would exceed
/// 2 GiB, the most that a runtime reads.
pub fn write(path: impl AsRef<Path>, graph: &OnnxGraph) -> Result<()> {
    file::replace(path.as_ref(), |to| write_to(to, graph))
}

/// The bytes of a file.
///
/// # Errors
/// If the file would exceed 2 GiB.
pub fn to_bytes(graph: &OnnxGraph) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, graph)?;
    Ok(bytes)
}

/// ONNX's number of an element type.
fn data_type(entry: &Entry) -> i64 {
    match entry {
        Entry::F32(_) => FLOAT,
        Entry::F64(_) => DOUBLE,
        Entry::F16(_) => 10,
        Entry::I64(_) => 7,
        Entry::I32(_) => 6,
        Entry::U8(_) => 2,
    }
}

const FLOAT: i64 = 1;
const DOUBLE: i64 = 11;

/// The message `ModelProto`. Its one large part, the graph's weights, goes from tensors to the
/// file directly, so the lengths in front of it are worked out first.
fn write_to(to: &mut impl Write, graph: &OnnxGraph) -> io::Result<()> {
    const GRAPH: u32 = 7;
    const INITIALIZER: u32 = 5;
    const RAW_DATA: u32 = 9;
    const MOST: usize = i32::MAX as usize;

    // In the order of the fields' numbers, as protobuf's own writers have it.
    let mut start = Message::default();
    start.int(1, IR_VERSION);
    start.text(2, env!("CARGO_PKG_NAME"));
    start.text(3, env!("CARGO_PKG_VERSION"));
    let mut opset = Message::default();
    opset.text(1, ""); // the domain of the standard operators
    opset.int(2, OPSET);
    let mut end = Message::default();
    end.message(8, &opset);
    for (key, value) in &graph.weights.metadata {
        let mut pair = Message::default();
        pair.text(1, key);
        pair.text(2, value);
        end.message(14, &pair);
    }

    let element = if graph.double { DOUBLE } else { FLOAT };
    let (mut before, mut after) = (Message::default(), Message::default());
    graph.nodes.iter().for_each(|node| before.message(1, &node.message()));
    before.text(2, &graph.name);
    after.message(11, &graph.input.message(element));
    after.message(12, &graph.output.message(element));
    let (before, after, end) = (before.into_bytes(), after.into_bytes(), end.into_bytes());

    // Each weight as all that stands in front of its elements.
    let weights: Vec<(Vec<u8>, &Entry)> = graph
        .weights
        .iter()
        .map(|(name, entry)| {
            let mut tensor = Message::default();
            entry.shape().iter().for_each(|&length| tensor.int(1, length as i64));
            tensor.int(2, data_type(entry));
            tensor.text(8, name);
            let mut tensor = tensor.into_bytes();
            tag(&mut tensor, RAW_DATA);
            varint(&mut tensor, entry.bytes() as u64);
            let mut header = Vec::new();
            tag(&mut header, INITIALIZER);
            varint(&mut header, (tensor.len() + entry.bytes()) as u64);
            header.extend(tensor);
            (header, entry)
        })
        .collect();
    let in_weights = weights.iter().map(|(header, entry)| header.len() + entry.bytes()).sum::<usize>();
    let in_graph = before.len() + in_weights + after.len();
    let mut start = start.into_bytes();
    tag(&mut start, GRAPH);
    varint(&mut start, in_graph as u64);
    if start.len() + in_graph + end.len() > MOST {
        let problem = "an .onnx file of more than 2 GiB; save the weights as .safetensors";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }

    to.write_all(&start)?;
    to.write_all(&before)?;
    weights.iter().try_for_each(|(header, entry)| {
        to.write_all(header)?;
        entry.write(to)
    })?;
    to.write_all(&after)?;
    to.write_all(&end)
}
