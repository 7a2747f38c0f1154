//! ONNX's messages (`onnx.proto`), as far as a residual network needs them: field numbers are the
//! format's.

use prost::Message;
use residual_tensor::Tensor;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, optional, tag = "1")]
    pub(crate) ir_version: Option<i64>,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opsets: Vec<Opset>,
}

impl Model {
    pub(crate) fn graph(&self) -> &Graph {
        self.graph.as_ref().unwrap()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Opset {
    #[prost(int64, optional, tag = "2")]
    pub(crate) version: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializers: Vec<Initializer>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) outputs: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) outputs: Vec<String>,
    #[prost(string, optional, tag = "3")]
    name: Option<String>,
    #[prost(string, optional, tag = "4")]
    operator: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(float, optional, tag = "2")]
    f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(crate) ints: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Initializer {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, optional, tag = "2")]
    data_type: Option<i32>,
    #[prost(string, optional, tag = "8")]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "9")]
    raw_data: Option<Vec<u8>>,
}

impl Initializer {
    /// Name and values of a tensor of f64.
    pub(crate) fn doubles(&self) -> Option<(&str, Tensor<f64>)> {
        let shape: Vec<usize> = self.dims.iter().map(|&n| n as usize).collect();
        let values = self.words().map(f64::from_le_bytes).collect();
        (self.data_type() == 11).then(|| (self.name(), Tensor::from_vec(shape, values).unwrap()))
    }

    /// Name and values of a tensor of i64.
    pub(crate) fn integers(&self) -> Option<(&str, Vec<i64>)> {
        (self.data_type() == 7).then(|| (self.name(), self.words().map(i64::from_le_bytes).collect()))
    }

    fn words(&self) -> impl Iterator<Item = [u8; 8]> {
        self.raw_data().as_chunks().0.iter().copied()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, optional, tag = "2")]
    of_type: Option<Type>,
}

impl Value {
    pub(crate) fn axes(&self) -> &[Dimension] {
        &self.tensor().shape.as_ref().unwrap().dimensions
    }

    pub(crate) fn element(&self) -> i32 {
        self.tensor().element()
    }

    fn tensor(&self) -> &TensorType {
        self.of_type.as_ref().unwrap().tensor.as_ref().unwrap()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, optional, tag = "1")]
    element: Option<i32>,
    #[prost(message, optional, tag = "2")]
    shape: Option<Dimensions>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimensions {
    #[prost(message, repeated, tag = "1")]
    dimensions: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    length: Option<i64>,
    #[prost(string, optional, tag = "2")]
    variable: Option<String>,
}

impl Dimension {
    pub(crate) fn fixed(length: i64) -> Self {
        Self { length: Some(length), variable: None }
    }

    pub(crate) fn any(name: &str) -> Self {
        Self { length: None, variable: Some(name.into()) }
    }
}
