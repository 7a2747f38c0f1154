//! Files that PyTorch, NumPy and safetensors wrote, against what these find in them.
//! `data/make.py` makes both.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use residual_weights::{
    Entry, FormatError, Weights, WeightsError, inspect,
    inspect::{Format, Statistics},
    load, npy,
};
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
        "torchvision.pth",       // with an argparse.Namespace
        "torchvision_averaged.pth",
        "timm.pth",
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
fn lightning_names_tensors_by_the_attribute_that_holds_the_network() {
    let mut weights = load(data("lightning.ckpt")).unwrap();
    assert!(weights.strip_prefix("model."));
    assert_all_tensors(&weights, "lightning.ckpt");
}

#[test]
fn code_is_refused_by_name() {
    for file in ["network.pth", "network_within.pth"] {
        let error = load(data(file)).unwrap_err();
        let WeightsError::Read { source: FormatError::Object { name }, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(name, "torch.nn.modules.linear.Linear");
    }
}

#[test]
fn a_tensor_that_cannot_be_read_is_not_left_out_silently() {
    for (file, kind) in
        [("quantized.pth", "torch._utils._rebuild_qtensor"), ("complex.pth", "torch.ComplexFloatStorage")]
    {
        let error = load(data(file)).unwrap_err().to_string();
        assert!(error.contains(&format!("`w` holds {kind}; convert it")), "{error}");
    }
    let weights = load(data("complex_beside.pth")).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["w"], "what no tensor needs does not matter");
}

#[test]
fn inspecting_tells_what_is_beside_the_tensors() {
    let beside = |file: &str| {
        let contents = inspect(data(file), false).unwrap();
        (contents.key, contents.beside.into_iter().collect::<BTreeMap<_, _>>())
    };
    let (key, timm) = beside("timm.pth");
    assert_eq!(key.as_deref(), Some("state_dict_ema"));
    assert_eq!(timm["arch"], "resnet18");
    assert_eq!(timm["epoch"], "3");
    assert_eq!(timm["args"], "argparse.Namespace, not read");
    assert_eq!(timm["state_dict"], "a dictionary of 19");
    let (key, lightning) = beside("lightning.ckpt");
    assert_eq!(key.as_deref(), Some("state_dict"));
    assert_eq!(lightning["hyper_parameters"], "omegaconf.DictConfig, not read");
    let (key, numbers) = beside("no_tensors.pth");
    assert_eq!((key, numbers["lr"].as_str()), (None, "a list of 1"));
    assert!(inspect(data("network.pth"), false).is_err());
}

/// Names, shapes and numbers of elements are those of the file when it is read; types are the file's.
#[test]
fn inspecting_agrees_with_reading() {
    for file in ["zip.pth", "legacy.pth", "timm.pth", "torchvision_averaged.pth", "plain.safetensors"] {
        let (contents, weights) = (inspect(data(file), true).unwrap(), load(data(file)).unwrap());
        assert_eq!(contents.tensors.len(), weights.len(), "{file}");
        for (info, (name, entry)) in contents.tensors.iter().zip(weights.iter()) {
            let shape: Vec<u64> = entry.shape().iter().map(|&n| n as u64).collect();
            assert_eq!((&*info.name, &info.shape), (name, &shape), "{file}");
            assert_eq!(info.statistics, Statistics::of(entry), "{file}, {name}");
            if let Some(size) = ["float16", "bfloat16", "int8"].iter().position(|wide| *wide == name) {
                let (dtype, bytes) = [("f16", 12), ("bf16", 12), ("i8", 6)][size];
                assert_eq!((&*info.dtype, info.bytes), (dtype, bytes), "{file}");
            }
        }
    }
    let array = inspect(data("fortran_order.npy"), true).unwrap();
    assert_eq!((array.elements(), array.bytes(), array.format), (24, 192, Format::Npy));
    assert_eq!(array.tensors[0].statistics.unwrap().mean, 11.5);
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
