//! Files of weights, read. That what is written can be read is in `written`.

use std::hint::black_box;

use residual_tensor::Tensor;
use residual_weights::{
    Entry, FormatError, Weights, inspect, npy,
    onnx::{self, Axis, Node, OnnxGraph, Value},
    pth, safetensors,
};

use crate::{Target, few_times_the_file, say};

/// `.safetensors`.
pub(crate) const SAFETENSORS: Target = Target {
    name: "safetensors",
    about: "a .safetensors file is read, and written again",
    run: |bytes, _| {
        let with_length = with_header_length(bytes);
        look_at(safetensors::read_bytes(bytes)).or_else(|reason| match with_length {
            Some(repaired) => look_at(safetensors::read_bytes(&repaired)),
            None => Err(reason),
        })
    },
    seeds: || vec![safetensors::to_bytes(&sample()).expect("a few tensors")],
    fixtures: Some(".safetensors"),
    most_memory: few_times_the_file,
};

/// `.pth` in both forms.
pub(crate) const PTH: Target = Target {
    name: "pth",
    about: "a .pth file, an archive or of the old form, is read",
    run: |bytes, _| look_at(pth::read_bytes(bytes)),
    seeds: || vec![pth::to_bytes(&sample()).expect("a few tensors")],
    fixtures: Some(".pth"),
    most_memory: few_times_the_file,
};

/// `.npy`.
pub(crate) const NPY: Target = Target {
    name: "npy",
    about: "a .npy file is read, and written again",
    run: |bytes, _| {
        let entry = npy::read_bytes(bytes).map_err(say)?;
        look_at_entry(&entry);
        let written = npy::to_bytes(&entry).expect("writing to memory");
        let again = npy::read_bytes(&written).expect("what was written");
        assert_eq!(npy::to_bytes(&again).expect("writing to memory"), written);
        Ok(())
    },
    seeds: || sample().iter().map(|(_, entry)| npy::to_bytes(entry).expect("a tensor")).collect(),
    fixtures: Some(".npy"),
    most_memory: few_times_the_file,
};

/// Any format, without its tensors and with them; ONNX is read by nothing else.
pub(crate) const INSPECT: Target = Target {
    name: "inspect",
    about: "a file of any format is inspected",
    run: |bytes, _| {
        let contents = inspect::inspect_bytes(bytes, true).map_err(say)?;
        let brief = inspect::inspect_bytes(bytes, false).expect("what was inspected with its statistics");
        assert_eq!((brief.elements(), brief.bytes()), (contents.elements(), contents.bytes()));
        assert!(brief.tensors.iter().all(|tensor| tensor.statistics.is_none()));
        Ok(())
    },
    seeds: || {
        let axes = [Axis::Any("N".into()), Axis::Fixed(3)];
        let graph = OnnxGraph {
            name: "tiny".into(),
            input: Value::new("x", axes.clone()),
            output: Value::new("y", axes),
            double: false,
            nodes: vec![Node::new("Gemm", "fc", ["x", "fc.weight"], "y").with("transB", 1)],
            weights: sample(),
        };
        vec![onnx::to_bytes(&graph).expect("a small graph"), pth::to_bytes(&sample()).expect("a few tensors")]
    },
    fixtures: Some(".onnx"),
    most_memory: few_times_the_file,
};

/// A tensor of each type, of several ranks.
pub(crate) fn sample() -> Weights {
    let mut weights = Weights::new();
    let doubles = (0..6).map(|i| f64::from(i) / 3.0).collect();
    weights.insert(
        "fc.weight",
        Tensor::from_vec([2, 3], vec![0.5f32, -1.0, 2.0, f32::NAN, 0.0, 1e-40]).expect("6"),
    );
    weights.insert("layer1.0.ä", Tensor::from_vec([1, 2, 3], doubles).expect("6"));
    weights.insert("bn1.num_batches_tracked", Tensor::scalar(i64::MIN));
    weights.insert("i32", Tensor::from_vec([2], vec![i32::MIN, 7]).expect("2"));
    weights.insert("flags", Tensor::from_vec([0, 4], Vec::<u8>::new()).expect("none"));
    weights.metadata.insert("classes".into(), "[\"a\"]".into());
    weights
}

/// Uses everything that was read.
fn look_at(read: Result<Weights, FormatError>) -> Result<(), String> {
    let weights = read.map_err(say)?;
    weights.iter().for_each(|(_, entry)| look_at_entry(entry));
    let _ = black_box(weights.check([("fc.weight", [10, 64])]));
    // A tensor may be called what this format cannot call it.
    if let Ok(bytes) = safetensors::to_bytes(&weights) {
        let again = safetensors::read_bytes(&bytes).expect("what was written");
        assert_eq!(safetensors::to_bytes(&again).expect("what was read"), bytes);
    }
    Ok(())
}

/// Goes through shape, strides and elements.
fn look_at_entry(entry: &Entry) {
    black_box((*entry == entry.clone(), entry.to_float::<f32>().to_vec().len()));
}

/// The same file with the length of its JSON header in front, if that was another.
pub(crate) fn with_header_length(bytes: &[u8]) -> Option<Vec<u8>> {
    let json = bytes.get(8..)?;
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    let spaces = json[values.byte_offset()..].iter().take_while(|&&byte| byte == b' ').count();
    let length = ((values.byte_offset() + spaces) as u64).to_le_bytes();
    (bytes[..8] != length).then(|| [&length, json].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_gets_its_length() {
        let repaired = with_header_length(b"\x01\0\0\0\0\0\0\0{\"a\":1}  data").unwrap();
        assert_eq!(repaired[..8], 9u64.to_le_bytes());
        assert_eq!(with_header_length(&repaired), None);
        assert_eq!(with_header_length(b"short"), None);
    }
}
