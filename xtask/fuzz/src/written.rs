//! Whatever can be written is read back as it was. The bytes become values first: names, tensors,
//! pictures. ONNX, of which the project reads no networks, is read by messages that its tests
//! declare from the format's definition.

use arbitrary::{Arbitrary, Result, Unstructured};
use prost::Message;
use residual_data::{ImageShape, Picture};
use residual_tensor::{Element, Layout, Tensor};
use residual_weights::{
    Entry, Weights, npy,
    onnx::{self, Axis, Node, OnnxGraph, Value},
    pth, safetensors,
};

use crate::{Target, pictures::put, say, seeds};

#[allow(dead_code)] // The tests of exported networks look at more of a file.
#[path = "../../../crates/residual-model/tests/onnx/model.rs"]
mod model;

/// All formats of weights.
pub(crate) const WEIGHTS: Target = Target {
    name: "weights-written",
    about: "any tensors are written in every format, and read back",
    run: |bytes, _| formats(&weights(&mut Unstructured::new(bytes)).map_err(say)?),
    seeds: || seeds(8, 300),
    fixtures: None,
    most_memory: |_| 16 << 20,
};

/// ONNX.
pub(crate) const ONNX: Target = Target {
    name: "onnx-written",
    about: "a graph of any names and tensors is written as ONNX, and decoded",
    run: |bytes, _| onnx_graph(&mut Unstructured::new(bytes)).map_err(say),
    seeds: || seeds(8, 300),
    fixtures: None,
    most_memory: |_| 16 << 20,
};

/// PNG.
pub(crate) const PNG: Target = Target {
    name: "png-written",
    about: "a picture of any pixels is written as PNG, and read back",
    run: |bytes, place| {
        let image = image(&mut Unstructured::new(bytes)).map_err(say)?;
        let read = Picture::open(put(place, "picture.png", &image.to_png())).expect("what was written");
        assert_eq!((read.shape(), read.pixels()), (image.shape(), image.pixels()));
        Ok(())
    },
    seeds: || seeds(4, 100),
    fixtures: None,
    most_memory: |_| 16 << 20,
};

/// Tensors of all types and small shapes.
fn weights(from: &mut Unstructured<'_>) -> Result<Weights> {
    let mut weights = Weights::new();
    for _ in 0..from.int_in_range(0..=5)? {
        let prefix = *from.choose(&["", "", "module.", "_orig_mod.", "layer1.0.", "state_dict"])?;
        let name: String = from.arbitrary()?;
        let rank = from.int_in_range(0..=4)?;
        let shape: Vec<usize> = (0..rank).map(|_| from.int_in_range(0..=4)).collect::<Result<_>>()?;
        let entry: Entry = match from.int_in_range(0..=4)? {
            0 => tensor::<f32>(from, shape)?.into(),
            1 => tensor::<f64>(from, shape)?.into(),
            2 => tensor::<i64>(from, shape)?.into(),
            3 => tensor::<i32>(from, shape)?.into(),
            _ => tensor::<u8>(from, shape)?.into(),
        };
        weights.insert(format!("{prefix}{name}"), entry);
    }
    for _ in 0..from.int_in_range(0..=2)? {
        weights.metadata.insert(from.arbitrary()?, from.arbitrary()?);
    }
    Ok(weights)
}

fn tensor<'a, T: Element + Arbitrary<'a>>(
    from: &mut Unstructured<'a>,
    shape: Vec<usize>,
) -> Result<Tensor<T>> {
    let elements = (0..shape.iter().product()).map(|_| from.arbitrary()).collect::<Result<_>>()?;
    let rank = shape.len();
    let tensor = Tensor::from_vec(shape, elements).expect("as many elements as the shape has");
    let channels_last = rank == 4 && from.arbitrary()?;
    Ok(if channels_last { tensor.to_layout(Layout::ChannelsLast) } else { tensor })
}

fn image(from: &mut Unstructured<'_>) -> Result<Picture> {
    let channels = *from.choose(&[1, 3])?;
    let [height, width] = [from.int_in_range(1..=40)?, from.int_in_range(1..=40)?];
    let pixels = (0..channels * height * width).map(|_| from.arbitrary()).collect::<Result<_>>()?;
    Ok(Picture::new(ImageShape::new(channels, height, width), pixels).expect("as many as the shape has"))
}

/// Holds files bit by bit against what was written, which equality of values would not: no NaN
/// equals another.
fn formats(weights: &Weights) -> std::result::Result<(), String> {
    let bits = |weights: &Weights| safetensors::to_bytes(weights).map_err(say);
    let written = bits(weights)?; // Refused if a name has a meaning of its own in the format.
    let read = safetensors::read_bytes(&written).expect("what was written");
    assert!(same_order(weights, &read) && read.metadata == weights.metadata);
    assert_eq!(bits(&read).as_ref(), Ok(&written));

    let mut without_wrappers = weights.clone();
    without_wrappers.metadata.clear();
    while pth::WRAPPERS.iter().any(|wrapper| without_wrappers.strip_prefix(wrapper)) {}
    let archive = pth::to_bytes(weights).map_err(say)?;
    let read = pth::read_bytes(&archive).map_err(say)?;
    assert!(read.names().eq(without_wrappers.names()), "{:?}", read.names().collect::<Vec<_>>());
    assert_eq!(bits(&read), bits(&without_wrappers));

    for (name, entry) in weights.iter() {
        let read =
            npy::read_bytes(&npy::to_bytes(entry).expect("writing to memory")).expect("what was written");
        let [alone, read] = [entry, &read].map(|entry| bits(&Weights::from_iter([("", entry.clone())])));
        assert_eq!(alone, read, "{name}");
    }
    Ok(())
}

/// Whether names and shapes are the same; the order is that of the file, wide elements first.
fn same_order(weights: &Weights, read: &Weights) -> bool {
    weights.len() == read.len()
        && weights.iter().all(|(name, entry)| {
            read.get(name).is_some_and(|read| (read.shape(), read.dtype()) == (entry.shape(), entry.dtype()))
        })
}

fn onnx_graph(from: &mut Unstructured<'_>) -> Result<()> {
    let weights = weights(from)?;
    let axes = [Axis::Any(from.arbitrary()?), Axis::Fixed(from.int_in_range(0..=i64::MAX as usize)?)];
    let nodes = (0..from.int_in_range(0..=3)?).map(|_| {
        let inputs = [from.arbitrary::<String>()?, from.arbitrary()?];
        let node = Node::new("Conv", from.arbitrary::<String>()?, inputs, from.arbitrary::<String>()?);
        let pads: [u16; 2] = from.arbitrary()?;
        Ok(node.with("pads", pads.map(usize::from)).with("group", from.arbitrary::<i64>()?))
    });
    let nodes: Vec<Node> = nodes.collect::<Result<_>>()?;
    let graph = OnnxGraph {
        name: from.arbitrary()?,
        input: Value::new(from.arbitrary::<String>()?, axes),
        output: Value::new("y", []),
        double: from.arbitrary()?,
        nodes,
        weights,
    };
    let bytes = onnx::to_bytes(&graph).expect("a small graph");
    let model = model::Model::decode(&bytes[..]).expect("what was written");
    let decoded = model.graph();
    assert_eq!(decoded.nodes.len(), graph.nodes.len());
    for (decoded, node) in decoded.nodes.iter().zip(&graph.nodes) {
        assert_eq!((decoded.name(), decoded.operator()), (node.name.as_str(), node.operator));
        assert_eq!((&decoded.inputs, &decoded.outputs), (&node.inputs, &vec![node.output.clone()]));
        let [pads, group] = &decoded.attributes[..] else { panic!("two attributes") };
        assert_eq!(node.attributes[0].1, onnx::Attribute::Ints(pads.ints.clone()));
        assert_eq!(node.attributes[1].1, onnx::Attribute::Int(group.i()));
    }
    assert_eq!(decoded.initializers.len(), graph.weights.len());
    for (decoded, (name, entry)) in decoded.initializers.iter().zip(graph.weights.iter()) {
        let dims: Vec<i64> = entry.shape().iter().map(|&length| length as i64).collect();
        assert_eq!((decoded.name(), &decoded.dims), (name, &dims));
        // The bytes of a file of the one tensor, behind its header.
        let alone = safetensors::to_bytes(&Weights::from_iter([("", entry.clone())])).expect("one tensor");
        assert!(alone.ends_with(decoded.raw_data()), "{name}");
    }
    assert_eq!(decoded.inputs[0].axes().len(), 2);
    assert_eq!(decoded.inputs[0].element(), if graph.double { 11 } else { 1 });
    Ok(())
}
