//! The ONNX form of an operation, as data. What a file looks like is not known here: `residual-weights`
//! writes it.

use residual_kernels::Conv2dGeometry;

/// An operator of ONNX with its inputs and attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// Its name in ONNX: `Conv`.
    pub name: &'static str,
    /// What it reads, in order.
    pub inputs: Vec<Operand>,
    /// Its attributes.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// Something that an operator reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// An input of the operation, by number.
    Input(usize),
    /// The result of the operator before.
    Previous,
    /// A state of the operation, by its name.
    State(&'static str),
    /// A constant list of integers, with a name.
    Integers(&'static str, Vec<i64>),
    /// A constant list of numbers of the network's precision, with a name and a shape.
    Numbers(&'static str, Vec<usize>, Vec<f64>),
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// An integer.
    Integer(i64),
    /// Several of them.
    Integers(Vec<i64>),
    /// A number.
    Number(f64),
    /// A choice.
    Text(&'static str),
}

impl Operator {
    /// An operator without attributes.
    pub fn new(name: &'static str, inputs: impl Into<Vec<Operand>>) -> Self {
        Self { name, inputs: inputs.into(), attributes: Vec::new() }
    }

    /// A convolution.
    pub(crate) fn convolution(inputs: impl Into<Vec<Operand>>, geometry: &Conv2dGeometry) -> Self {
        Self::new("Conv", inputs)
            .with("kernel_shape", geometry.kernel)
            .with("strides", geometry.stride)
            .with("pads", both_sides(geometry.padding))
            .with("dilations", geometry.dilation)
            .with("group", geometry.groups as i64)
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Attribute>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }
}

impl From<i64> for Attribute {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Attribute {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&'static str> for Attribute {
    fn from(value: &'static str) -> Self {
        Self::Text(value)
    }
}

impl<const N: usize> From<[usize; N]> for Attribute {
    fn from(values: [usize; N]) -> Self {
        Self::Integers(values.iter().map(|&value| value as i64).collect())
    }
}

/// Padding as ONNX has it: what comes before each axis, then what comes after.
pub(crate) fn both_sides([rows, columns]: [usize; 2]) -> [usize; 4] {
    [rows, columns, rows, columns]
}
