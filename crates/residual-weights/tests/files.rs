//! Files as a whole: recognized by content, replaced atomically, errors that name the path.

use std::fs;

use residual_tensor::Tensor;
use residual_weights::{Weights, WeightsError, load, npy, pth, safetensors, save};

fn weights(value: f32) -> Weights {
    [("fc.weight", Tensor::full([2, 3], value)), ("fc.bias", Tensor::zeros([2]))].into_iter().collect()
}

#[test]
fn the_content_decides_and_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bin");
    safetensors::write(&path, &weights(1.0)).unwrap();
    assert_eq!(load(&path).unwrap(), weights(1.0));
    pth::write(&path, &weights(2.0)).unwrap();
    assert_eq!(load(&path).unwrap(), weights(2.0));
}

#[test]
fn the_extension_chooses_the_format_that_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.pth", "a.pt", "a.th", "a.safetensors"] {
        let path = folder.path().join(name);
        save(&path, &weights(1.0)).unwrap();
        assert_eq!(fs::read(&path).unwrap().starts_with(b"PK"), name != "a.safetensors", "{name}");
    }
    let error = save(folder.path().join("a.onnx"), &weights(1.0)).unwrap_err();
    assert!(error.to_string().ends_with("a.onnx: end the name in .safetensors or .pth"), "{error}");
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let message = |error: WeightsError| error.to_string().replace(&path.display().to_string(), "PATH");
    assert!(message(load(&path).unwrap_err()).starts_with("cannot open PATH: "));
    fs::write(&path, "hello").unwrap();
    assert_eq!(
        message(load(&path).unwrap_err()),
        "cannot read PATH: the content is neither safetensors, .pth, .npy nor ONNX"
    );
    npy::write(&path, &Tensor::<f32>::zeros([2]).into()).unwrap();
    assert!(message(load(&path).unwrap_err()).contains("one array without a name"));
    let bytes = safetensors::to_bytes(&weights(1.0)).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(
        message(load(&path).unwrap_err()),
        "cannot read PATH: the file is incomplete; copy or download it again"
    );
    let nowhere = folder.path().join("missing").join("x.pth");
    assert!(
        matches!(save(&nowhere, &weights(1.0)), Err(WeightsError::Write { path, .. }) if path == nowhere)
    );
}

#[test]
fn a_failed_write_leaves_what_was_there_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    save(&path, &weights(1.0)).unwrap();
    let mut broken = weights(2.0);
    broken.insert("__metadata__", Tensor::<f32>::zeros([1]));
    save(&path, &broken).unwrap_err();
    assert_eq!(load(&path).unwrap(), weights(1.0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_reader_finds_the_old_or_the_new_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    save(&path, &weights(0.0)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..100).for_each(|n| save(&path, &weights(n as f32)).unwrap()));
        while !writer.is_finished() {
            let found = load(&path).unwrap();
            let value = found.get("fc.weight").unwrap().to_float::<f32>().to_vec()[0];
            assert_eq!(found, weights(value));
        }
    });
    assert_eq!(load(&path).unwrap(), weights(99.0));
}

#[cfg(unix)]
#[test]
fn others_may_read_what_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, usual) = (folder.path().join("x.safetensors"), folder.path().join("usual"));
    save(&ours, &weights(1.0)).unwrap();
    fs::write(&usual, "").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&usual));
}

#[cfg(unix)]
#[test]
fn of_a_link_the_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    residual_weights::replace_file(&link, b"new").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"new");
}

#[test]
fn an_error_names_the_file_and_no_other() {
    let path = tempfile::tempdir().unwrap().path().join("gone/file");
    let error = residual_weights::replace_file(&path, b"new").unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot write {}: ", path.display())), "{error}");
    assert!(!error.contains(".partial"), "{error}");
}
