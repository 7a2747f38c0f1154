//! ONNX files, looked at: what the network takes and gives, its operators and its constants. Not a
//! reader of networks: nothing here could run one. Graphs inside of operators (`If`, `Loop`) are
//! skipped.

use std::{
    collections::{BTreeMap, HashSet},
    io::{Read, Seek, SeekFrom},
};

use serde::Serialize;

use super::{
    Axis,
    wire::{Field, Reader, malformed},
};
use crate::{
    FormatError,
    budget::Budget,
    inspect::{Contents, Format, Statistics, TensorInfo},
    stored::{ByteOrder, MOST_AXES, Stored, checked_shape},
};

type Result<T> = std::result::Result<T, FormatError>;

/// The computation in an ONNX file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The graph's name.
    pub name: String,
    /// The program that wrote the file, and its version.
    pub producer: String,
    /// The version of the file format.
    pub ir_version: i64,
    /// The versions of the sets of operators, by domain; the standard's is called `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// What goes in.
    pub inputs: Vec<ValueInfo>,
    /// What comes out.
    pub outputs: Vec<ValueInfo>,
    /// How often each operator occurs.
    pub operators: BTreeMap<String, usize>,
}

/// What goes into a network or comes out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// The type of its elements, such as `f32`.
    pub dtype: String,
    /// The lengths of its axes, as far as the file says them.
    pub axes: Vec<Axis>,
}

/// ONNX's element types by number, with the bits of an element and how it is read here.
fn element_type(number: u64) -> (&'static str, u64, Option<Stored>) {
    match number {
        1 => ("f32", 32, Some(Stored::F32)),
        2 => ("u8", 8, Some(Stored::U8)),
        3 => ("i8", 8, Some(Stored::I8)),
        4 => ("u16", 16, None),
        5 => ("i16", 16, Some(Stored::I16)),
        6 => ("i32", 32, Some(Stored::I32)),
        7 => ("i64", 64, Some(Stored::I64)),
        8 => ("text", 0, None),
        9 => ("bool", 8, Some(Stored::Bool)),
        10 => ("f16", 16, Some(Stored::F16)),
        11 => ("f64", 64, Some(Stored::F64)),
        12 => ("u32", 32, None),
        13 => ("u64", 64, None),
        14 => ("c64", 64, None),
        15 => ("c128", 128, None),
        16 => ("bf16", 16, Some(Stored::Bf16)),
        17 => ("f8_e4m3fn", 8, None),
        18 => ("f8_e4m3fnuz", 8, None),
        19 => ("f8_e5m2", 8, None),
        20 => ("f8_e5m2fnuz", 8, None),
        21 => ("u4", 4, None),
        22 => ("i4", 4, None),
        _ => ("unknown", 0, None),
    }
}

/// Whether a file may be ONNX: its first field is the version of the format, which is small, and
/// the second another that a model has.
pub(crate) fn is_recognized(start: &[u8]) -> bool {
    matches!(*start, [0x08, 1..=31, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..])
}

pub(crate) fn inspect_from<R: Read + Seek>(
    from: &mut R,
    file_length: u64,
    statistics: bool,
) -> Result<Contents> {
    let mut contents = Contents::new(Format::Onnx);
    let mut network = Network::default();
    let mut constants = Vec::new();
    let mut budget = Budget::for_description(file_length);
    let mut version = String::new();
    let mut has_graph = false;
    Reader::new(from, &mut budget).message(file_length, |file, number, field| {
        match (number, field) {
            (1, Field::Varint(version)) => network.ir_version = version as i64,
            (2, Field::Delimited(length)) => network.producer = file.text(length)?,
            (3, Field::Delimited(length)) => version = file.text(length)?,
            (7, Field::Delimited(length)) => {
                has_graph = true;
                graph(file, length, &mut network, &mut constants)?;
            }
            (8, Field::Delimited(length)) => {
                let (domain, version) = opset(file, length)?;
                network.opsets.insert(domain, version);
            }
            (14, Field::Delimited(length)) => {
                let (key, value) = pair(file, length)?;
                contents.metadata.insert(key, value);
            }
            _ => {}
        }
        Ok(())
    })?;
    if !has_graph || network.opsets.is_empty() {
        return Err(FormatError::Truncated);
    }
    network.producer = format!("{} {version}", network.producer).trim().to_owned();
    contents.network = Some(network);

    let mut budget = Budget::for_tensors(file_length);
    for constant in constants {
        let info = constant.info()?;
        let statistics = if statistics { constant.statistics(from, &mut budget)? } else { None };
        contents.tensors.push(TensorInfo { statistics, ..info });
    }
    Ok(contents)
}

fn graph<R: Read + Seek>(
    file: &mut Reader<'_, R>,
    length: u64,
    network: &mut Network,
    constants: &mut Vec<Constant>,
) -> Result<()> {
    let mut inputs: Vec<ValueInfo> = Vec::new();
    file.message(length, |file, number, field| {
        match (number, field) {
            (1, Field::Delimited(length)) => {
                let operator = operator(file, length)?;
                *network.operators.entry(operator).or_default() += 1;
            }
            (2, Field::Delimited(length)) => network.name = file.text(length)?,
            (5, Field::Delimited(length)) => {
                file.spend::<Constant>()?;
                constants.push(constant(file, length)?);
            }
            (11 | 12, Field::Delimited(length)) => {
                file.spend::<ValueInfo>()?;
                let value = value(file, length)?;
                if number == 11 { &mut inputs } else { &mut network.outputs }.push(value);
            }
            _ => {}
        }
        Ok(())
    })?;
    // Old exporters list constants among the inputs.
    let names: HashSet<&str> = constants.iter().map(|constant| constant.name.as_str()).collect();
    inputs.retain(|input| !names.contains(input.name.as_str()));
    network.inputs = inputs;
    Ok(())
}

/// The operator of a node, with its domain if that is not the standard's.
fn operator<R: Read + Seek>(file: &mut Reader<'_, R>, length: u64) -> Result<String> {
    let (mut operator, mut domain) = (String::new(), String::new());
    file.message(length, |file, number, field| {
        match (number, field) {
            (4, Field::Delimited(length)) => operator = file.text(length)?,
            (7, Field::Delimited(length)) => domain = file.text(length)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(if domain.is_empty() { operator } else { format!("{domain}.{operator}") })
}

fn opset<R: Read + Seek>(file: &mut Reader<'_, R>, length: u64) -> Result<(String, i64)> {
    let (mut domain, mut version) = (String::new(), 0);
    file.message(length, |file, number, field| {
        match (number, field) {
            (1, Field::Delimited(length)) => domain = file.text(length)?,
            (2, Field::Varint(number)) => version = number as i64,
            _ => {}
        }
        Ok(())
    })?;
    Ok((if domain.is_empty() { "ai.onnx".to_owned() } else { domain }, version))
}

fn pair<R: Read + Seek>(file: &mut Reader<'_, R>, length: u64) -> Result<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    file.message(length, |file, number, field| {
        match (number, field) {
            (1, Field::Delimited(length)) => key = file.text(length)?,
            (2, Field::Delimited(length)) => value = file.text(length)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

/// A `ValueInfoProto`: its type is a message within two messages, and each axis is another.
fn value<R: Read + Seek>(file: &mut Reader<'_, R>, length: u64) -> Result<ValueInfo> {
    let mut value = ValueInfo::default();
    file.message(length, |file, number, field| {
        match (number, field) {
            (1, Field::Delimited(length)) => value.name = file.text(length)?,
            (2, Field::Delimited(length)) => {
                file.message(length, |file, number, field| match (number, field) {
                    (1, Field::Delimited(length)) => tensor_type(file, length, &mut value),
                    _ => Ok(()),
                })?
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(value)
}

fn tensor_type<R: Read + Seek>(file: &mut Reader<'_, R>, length: u64, value: &mut ValueInfo) -> Result<()> {
    file.message(length, |file, number, field| {
        match (number, field) {
            (1, Field::Varint(number)) => value.dtype = element_type(number).0.to_owned(),
            (2, Field::Delimited(length)) => {
                file.message(length, |file, number, field| match (number, field) {
                    (1, Field::Delimited(length)) => {
                        file.spend::<Axis>()?;
                        value.axes.push(axis(file, length)?);
                        Ok(())
                    }
                    _ => Ok(()),
                })?
            }
            _ => {}
        }
        Ok(())
    })
}

fn axis<R: Read + Seek>(file: &mut Reader<'_, R>, length: u64) -> Result<Axis> {
    let mut axis = Axis::Any(String::new());
    file.message(length, |file, number, field| {
        match (number, field) {
            (1, Field::Varint(length)) => {
                let length = usize::try_from(length).map_err(|_| malformed("an axis beyond memory"))?;
                axis = Axis::Fixed(length);
            }
            (2, Field::Delimited(length)) => axis = Axis::Any(file.text(length)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(axis)
}

/// A `TensorProto`, without its elements.
#[derive(Default)]
struct Constant {
    name: String,
    element_type: u64,
    shape: Vec<usize>,
    /// Where the elements are in the file, and how many bytes they take, if they lie there in the
    /// form that others call raw.
    raw: Option<(u64, u64)>,
}

fn constant<R: Read + Seek>(file: &mut Reader<'_, R>, length: u64) -> Result<Constant> {
    let mut constant = Constant::default();
    file.message(length, |file, number, field| {
        match (number, field) {
            (1, Field::Varint(length)) => constant.add_axis(length)?,
            (1, Field::Delimited(length)) => {
                file.varints(length, |length| constant.add_axis(length))?;
            }
            (2, Field::Varint(number)) => constant.element_type = number,
            (8, Field::Delimited(length)) => constant.name = file.text(length)?,
            // `float_data` and `double_data` are little-endian, too.
            (4 | 9 | 10, Field::Delimited(length)) => constant.raw = Some((file.position(), length)),
            _ => {}
        }
        Ok(())
    })?;
    Ok(constant)
}

impl Constant {
    fn add_axis(&mut self, length: u64) -> Result<()> {
        let length = usize::try_from(length).ok().filter(|_| self.shape.len() < MOST_AXES);
        self.shape.push(length.ok_or_else(|| malformed("a tensor that memory cannot hold"))?);
        Ok(())
    }

    fn info(&self) -> Result<TensorInfo> {
        checked_shape(&self.name, &self.shape)?;
        let (dtype, bits, _) = element_type(self.element_type);
        Ok(TensorInfo::new(&self.name, dtype, &self.shape, bits))
    }

    /// What the elements are like, if they are in the file as plain numbers.
    fn statistics<R: Read + Seek>(&self, from: &mut R, budget: &mut Budget) -> Result<Option<Statistics>> {
        let (Some(stored), Some((start, length))) = (element_type(self.element_type).2, self.raw) else {
            return Ok(None);
        };
        let shape = checked_shape(&self.name, &self.shape)?;
        if (shape.elements() * stored.size()) as u64 != length {
            return Err(malformed("a tensor whose shape does not fit its elements"));
        }
        budget.spend((shape.elements() * stored.size_in_memory()) as u64)?;
        from.seek(SeekFrom::Start(start))?;
        Ok(Statistics::of(&stored.read(&shape, ByteOrder::Little, from)?))
    }
}
