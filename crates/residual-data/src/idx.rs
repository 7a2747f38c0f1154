//! IDX, the format of MNIST and its kin: a file of grey pictures (`…-images-idx3-ubyte`) and a
//! file of labels (`…-labels-idx1-ubyte`), unpacked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{DataError, ImageShape, InMemory, Result, Split, error::io_error};

/// A data set of IDX files from their folder. Validation is the test pair (`t10k-…` or
/// `test-…`): there is no third part. The classes are the numbers up to the largest label.
///
/// # Errors
/// [`DataError::Missing`] saying which files were expected, [`DataError::Format`] naming the
/// file and what is wrong with it.
pub fn idx(dir: impl AsRef<Path>, split: Split) -> Result<InMemory> {
    let dir = dir.as_ref();
    let (prefixes, note): (&[&str], _) = match split {
        Split::Train => (&["train"], ""),
        Split::Val => (&["t10k", "test"], " (the test files)"),
        Split::Test => (&["t10k", "test"], ""),
    };
    let (shape, pixels) = read_images(&locate(dir, prefixes, "images", 3)?)?;
    let label_path = locate(dir, prefixes, "labels", 1)?;
    let labels = read_labels(&label_path)?;
    if labels.len() * shape.elements() != pixels.len() {
        let images = pixels.len() / shape.elements();
        let reason =
            format!("has {} labels, but there are {images} pictures: fetch both files again", labels.len());
        return Err(DataError::Format { path: label_path, place: "header".into(), reason });
    }
    // All parts must agree on the classes, so that the training labels decide.
    let decisive = match split {
        Split::Train => labels.clone(),
        _ => locate(dir, &["train"], "labels", 1).map_or(Ok(labels.clone()), |path| read_labels(&path))?,
    };
    let classes = decisive.iter().max().map_or(0, |&largest| usize::from(largest) + 1);
    if let Some(record) = labels.iter().position(|&label| usize::from(label) >= classes) {
        let reason =
            format!("label {} is not among the {classes} classes of the training files", labels[record]);
        return Err(DataError::Format { path: label_path, place: format!("record {record}"), reason });
    }
    let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
    InMemory::new(format!("idx {split}{note}"), &names, shape, pixels, labels)
}

fn locate(dir: &Path, prefixes: &[&str], what: &str, axes: u8) -> Result<PathBuf> {
    let names: Vec<String> = prefixes
        .iter()
        .flat_map(|prefix| ["-", "."].map(|dot| format!("{prefix}-{what}{dot}idx{axes}-ubyte")))
        .collect();
    if let Some(name) = names.iter().find(|name| dir.join(name).is_file()) {
        return Ok(dir.join(name));
    }
    let packed = names.iter().find(|name| dir.join(format!("{name}.gz")).is_file());
    let expected = match packed {
        Some(name) => format!("it unpacked: run gunzip on {name}.gz"),
        None => format!("one of the files {}", names.join(", ")),
    };
    Err(DataError::Missing { path: dir.join(&names[0]), expected })
}

/// Shape and bytes of a file of pictures.
fn read_images(path: &Path) -> Result<(ImageShape, Vec<u8>)> {
    let (sizes, pixels) = read::<3>(path)?;
    let shape = ImageShape::new(1, sizes[1], sizes[2]);
    shape.check()?;
    Ok((shape, pixels))
}

fn read_labels(path: &Path) -> Result<Vec<u8>> {
    read::<1>(path).map(|(_, labels)| labels)
}

/// The lengths of the `AXES` axes and the bytes of an IDX file: a magic number (two zeros, 8 for
/// unsigned bytes, the number of axes), the lengths as big-endian 32-bit numbers, the bytes.
fn read<const AXES: usize>(path: &Path) -> Result<([usize; AXES], Vec<u8>)> {
    let refuse = |reason: String| DataError::Format { path: path.into(), place: "header".into(), reason };
    let mut bytes = fs::read(path).map_err(io_error(path))?;
    let header = 4 * (1 + AXES);
    if bytes.len() < header || bytes[..4] != [0, 0, 8, AXES as u8] {
        let reason = format!("not an IDX file of bytes with {AXES} axes: fetch it again, and unpack it");
        return Err(refuse(reason));
    }
    let sizes: [usize; AXES] = std::array::from_fn(|axis| {
        let at = 4 * (axis + 1);
        u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
    });
    let elements = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    if elements != Some(bytes.len() - header) || elements == Some(0) {
        let reason =
            format!("announces {sizes:?} bytes, but {} follow: fetch it again", bytes.len() - header);
        return Err(refuse(reason));
    }
    bytes.drain(..header);
    Ok((sizes, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;

    fn file(sizes: &[u32], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend(body);
        bytes
    }

    fn folder(labels: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let count = labels.len() as u32;
        let pixels: Vec<u8> = (0..count as u8 * 6).collect();
        for (prefix, dot) in [("train", "-"), ("t10k", ".")] {
            let images = format!("{prefix}-images{dot}idx3-ubyte");
            fs::write(folder.path().join(images), file(&[count, 2, 3], &pixels)).unwrap();
            let names = format!("{prefix}-labels{dot}idx1-ubyte");
            fs::write(folder.path().join(names), file(&[count], labels)).unwrap();
        }
        folder
    }

    #[test]
    fn pairs_are_read() {
        let folder = folder(&[4, 0, 9]);
        for split in [Split::Train, Split::Val, Split::Test] {
            let data = idx(folder.path(), split).unwrap();
            assert_eq!((data.len(), data.classes().len()), (3, 10));
            assert_eq!(data.shape(), Some(ImageShape::new(1, 2, 3)));
            assert_eq!(data.get(1).unwrap().image.pixels(), [6, 7, 8, 9, 10, 11]);
            assert_eq!(data.label(2).unwrap(), 9);
        }
    }

    #[test]
    fn faults_name_the_file() {
        let folder = folder(&[4, 0, 9]);
        let message = || idx(folder.path(), Split::Test).unwrap_err().to_string();
        let labels = folder.path().join("t10k-labels.idx1-ubyte");
        fs::write(&labels, file(&[3], &[1, 2, 10])).unwrap();
        assert!(message().contains("record 2: label 10 is not among the 10 classes"), "{}", message());
        fs::write(&labels, file(&[2], &[1, 2])).unwrap();
        assert!(message().contains("has 2 labels, but there are 3 pictures"), "{}", message());
        fs::write(&labels, file(&[u32::MAX], &[1, 2])).unwrap();
        assert!(message().contains("announces [4294967295] bytes, but 2 follow"), "{}", message());
        fs::rename(&labels, folder.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
        assert!(message().contains("gunzip"), "{}", message());
    }
}
