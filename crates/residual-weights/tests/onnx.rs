//! ONNX files are, byte for byte, those that ONNX's own library writes. What a network becomes is
//! tested where it is exported.

use std::path::Path;

use residual_tensor::Tensor;
use residual_weights::{
    Weights, inspect,
    inspect::{Format, Statistics},
    onnx::{self, Axis, Node, OnnxGraph, Value},
};

/// The graph that `data/make.py` has `onnx.helper` write.
fn tiny() -> OnnxGraph {
    let mut weights = Weights::new();
    weights.insert("w", Tensor::from_vec([2, 1, 1, 1], vec![0.5f32, -1.25]).unwrap());
    weights.insert("b", Tensor::from_vec([2], vec![0.125f64, 3.0]).unwrap());
    weights.insert("ends", Tensor::from_vec([2], vec![i64::MAX, -1]).unwrap());
    weights.metadata.insert("classes".into(), "[\"Haß\",\"Glück\"]".into());
    let any = |name: &str| Axis::Any(name.into());
    OnnxGraph {
        name: "tiny".into(),
        input: Value::new("x", [any("N"), Axis::Fixed(1), any("H"), Axis::Fixed(300)]),
        output: Value::new("y", [any("N"), Axis::Fixed(2)]),
        double: true,
        nodes: vec![
            Node::new("Conv", "conv1", ["x", "w", "b"], "conv1")
                .with("group", 1)
                .with("kernel_shape", [1, 1])
                .with("pads", vec![0, 0, 300, 0]),
            Node::new("BatchNormalization", "bn1", ["conv1", "b", "b", "b", "b"], "bn1")
                .with("epsilon", 1e-5f32),
            Node::new("Flatten", "flatten", ["bn1"], "y").with("axis", -1),
        ],
        weights,
    }
}

#[test]
fn bytes_are_those_of_the_onnx_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let theirs = std::fs::read(folder.join("tiny.onnx")).unwrap();
    // But for the version of this crate: field 3, a string of five letters.
    let (field, version) = (b"\x1a\x050.1.0", env!("CARGO_PKG_VERSION"));
    let at = theirs.windows(field.len()).position(|bytes| bytes == field).unwrap();
    let ours = [b"\x1a", [version.len() as u8].as_slice(), version.as_bytes()].concat();
    let expected = [&theirs[..at], &ours, &theirs[at + field.len()..]].concat();
    assert_eq!(residual_weights::onnx::to_bytes(&tiny()).unwrap(), expected);
}

#[test]
fn inspecting_tells_what_the_onnx_library_wrote() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny.onnx");
    let contents = inspect(path, true).unwrap();
    let OnnxGraph { input, output, nodes, weights, .. } = tiny();
    assert_eq!((contents.format, &contents.metadata), (Format::Onnx, &weights.metadata));
    let network = contents.network.unwrap();
    assert_eq!((&*network.name, &*network.producer), ("tiny", "residual-weights 0.1.0"));
    assert_eq!((network.ir_version, network.opsets["ai.onnx"]), (onnx::IR_VERSION, onnx::OPSET));
    for (found, expected) in [(&network.inputs[..], input), (&network.outputs[..], output)] {
        let [found] = found else { panic!("{found:?}") };
        assert_eq!((&found.name, &*found.dtype, &found.axes), (&expected.name, "f64", &expected.axes));
    }
    let operators: Vec<(&str, usize)> = network.operators.iter().map(|(name, &n)| (&**name, n)).collect();
    assert_eq!(operators, [("BatchNormalization", 1), ("Conv", 1), ("Flatten", 1)]);
    assert_eq!(nodes.len(), 3);
    assert_eq!(contents.tensors.len(), weights.len());
    for (info, (name, entry)) in contents.tensors.iter().zip(weights.iter()) {
        let shape: Vec<u64> = entry.shape().iter().map(|&n| n as u64).collect();
        assert_eq!((&*info.name, &*info.dtype, &info.shape), (name, entry.dtype(), &shape));
        assert_eq!(info.statistics, Statistics::of(entry));
    }
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.onnx");
    residual_weights::onnx::write(&path, &tiny()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), residual_weights::onnx::to_bytes(&tiny()).unwrap());
    let missing = folder.path().join("no/tiny.onnx");
    let error = residual_weights::onnx::write(&missing, &tiny()).unwrap_err().to_string();
    assert!(error.contains("no/tiny.onnx"), "{error}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}
