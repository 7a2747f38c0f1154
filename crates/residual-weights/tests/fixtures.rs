//! Files that PyTorch, NumPy and safetensors wrote, against what these find in them.
//! `data/make.py` makes both.

use std::path::{Path, PathBuf};

use residual_weights::{Entry, FormatError, Weights, WeightsError, load, npy};
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn expected(kind: &str) -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(data("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[kind].as_object().unwrap().clone()
}

fn assert_equals(entry: &Entry, expected: &Value, what: &str) {
    let found = serde_json::json!({
        "dtype": entry.dtype(),
        "shape": entry.shape(),
        "elements": entry.to_float::<f64>().to_vec(),
    });
    assert_eq!(&found, expected, "{what}");
}

fn assert_all_tensors(weights: &Weights, what: &str) {
    let expected = expected("tensors");
    assert_eq!(weights.len(), expected.len(), "{what}");
    for (name, expected) in &expected {
        assert_equals(weights.get(name).unwrap(), expected, &format!("{name} of {what}"));
    }
}

#[test]
fn every_form_of_pth_gives_the_same_tensors() {
    for file in [
        "zip.pth",
        "zip_protocol5.pth",
        "legacy.pth",
        "deflated.pth",
        "zip64.pth",
        "checkpoint_zip.pth",    // nested, with the prefix `module.`
        "checkpoint_legacy.pth", // and numbers of NumPy beside
    ] {
        let weights = load(data(file)).unwrap();
        assert_all_tensors(&weights, file);
        assert_eq!(weights.names().next(), Some("float64"), "the order of {file}");
    }
}

#[test]
fn safetensors_gives_the_same_tensors_and_the_metadata() {
    let weights = load(data("plain.safetensors")).unwrap();
    assert_all_tensors(&weights, "plain.safetensors");
    assert_eq!(weights.metadata["format"], "pt");
}

#[test]
fn bytes_in_the_other_order_are_turned() {
    let weights = load(data("big_endian.pth")).unwrap();
    assert_equals(weights.get("float32").unwrap(), &expected("tensors")["float32"], "big_endian.pth");
}

#[test]
fn arrays_of_numpy() {
    for (name, expected) in &expected("arrays") {
        let entry = npy::read(data(&format!("{name}.npy"))).unwrap();
        assert_equals(&entry, expected, name);
    }
}

#[test]
fn arrays_are_written_as_numpy_writes_them() {
    for name in ["c_order", "scalar", "empty"] {
        let bytes = std::fs::read(data(&format!("{name}.npy"))).unwrap();
        let again = npy::to_bytes(&npy::read_bytes(&bytes).unwrap()).unwrap();
        assert_eq!(again, bytes, "{name}");
    }
}

#[test]
fn views_of_the_same_elements_share_memory() {
    let weights = load(data("zip.pth")).unwrap();
    let (Some(Entry::F32(row)), Some(Entry::F32(tied))) = (weights.get("row"), weights.get("tied")) else {
        panic!("both are f32");
    };
    assert!(row.shares_memory_with(tied));
}

#[test]
fn code_is_refused_by_name() {
    let error = load(data("network.pth")).unwrap_err();
    let WeightsError::Read { source: FormatError::Forbidden { name }, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(name, "torch.nn.modules.linear.Linear");
}

#[test]
fn a_checkpoint_without_tensors_says_what_it_holds() {
    let error = load(data("no_tensors.pth")).unwrap_err();
    let WeightsError::Read { source: FormatError::NoStateDict { keys }, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(keys, &["epoch", "lr"]);
    assert!(
        error.to_string().ends_with("no_tensors.pth: no state_dict in the checkpoint; it holds epoch, lr")
    );
}
