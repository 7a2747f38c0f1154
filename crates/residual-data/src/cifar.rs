//! CIFAR-10 and CIFAR-100 in their binary format (Krizhevsky 2009): records of one or two label
//! bytes, then 1024 red, 1024 green and 1024 blue bytes. Folders of CIFAR pictures are read by
//! [`ImageFolder`](crate::ImageFolder).

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{DataError, ImageShape, InMemory, Result, Split, error::io_error};

const SHAPE: ImageShape = ImageShape::new(3, 32, 32);
const PLANE: usize = 32 * 32;

/// What tells CIFAR-100 from CIFAR-10.
struct Format {
    name: &'static str,
    /// The folder that the official archive unpacks to.
    archive: &'static str,
    /// Bytes before the pixels; the last one is the label (CIFAR-100's first is the coarse one).
    label_bytes: usize,
    classes: &'static [&'static str],
    train: &'static [&'static str],
    test: &'static [&'static str],
}

/// What CIFAR-10's pictures show.
pub const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

static CIFAR10: Format = Format {
    name: "cifar10",
    archive: "cifar-10-batches-bin",
    label_bytes: 1,
    classes: &CIFAR10_CLASSES,
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
};

#[rustfmt::skip]
static CIFAR100: Format = Format {
    name: "cifar100",
    archive: "cifar-100-binary",
    label_bytes: 2,
    classes: &[
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
        "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
        "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
        "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
        "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
        "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
        "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
        "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ],
    train: &["train.bin"],
    test: &["test.bin"],
};

/// CIFAR-10 from the folder of `data_batch_1.bin` … `data_batch_5.bin` and `test_batch.bin`, or
/// the one above it. Validation is the test batch: there is no third part.
///
/// # Errors
/// [`DataError::Missing`] saying which files were expected, [`DataError::Format`] naming file
/// and record.
pub fn cifar10(dir: impl AsRef<Path>, split: Split) -> Result<InMemory> {
    read(&CIFAR10, dir.as_ref(), split)
}

/// CIFAR-100 with its 100 fine labels, from the folder of `train.bin` and `test.bin`, or the
/// one above it. Validation is the test file: there is no third part.
///
/// # Errors
/// [`DataError::Missing`] saying which files were expected, [`DataError::Format`] naming file
/// and record.
pub fn cifar100(dir: impl AsRef<Path>, split: Split) -> Result<InMemory> {
    read(&CIFAR100, dir.as_ref(), split)
}

fn read(format: &Format, dir: &Path, split: Split) -> Result<InMemory> {
    let (files, note) = match split {
        Split::Train => (format.train, ""),
        Split::Val => (format.test, " (the test batch)"),
        Split::Test => (format.test, ""),
    };
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for file in files {
        let path = locate(format, dir, file)?;
        append(format, &path, &mut pixels, &mut labels)?;
    }
    InMemory::new(format!("{} {split}{note}", format.name), format.classes, SHAPE, pixels, labels)
}

fn locate(format: &Format, dir: &Path, file: &str) -> Result<PathBuf> {
    let places = [dir.join(file), dir.join(format.archive).join(file)];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let pictures = if dir.join("train").is_dir() {
            format!(", or write folder:{} to read the pictures in train and test", dir.display())
        } else {
            String::new()
        };
        let expected =
            format!("the binary files {} and {}{pictures}", format.train.join(", "), format.test.join(", "));
        DataError::Missing { path: dir.join(file), expected }
    })
}

/// Appends the records of one file, planes turned into pixels.
fn append(format: &Format, path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<u8>) -> Result<()> {
    let record_bytes = format.label_bytes + 3 * PLANE;
    let refuse = |record: usize, reason: String| DataError::Format {
        path: path.into(),
        place: format!("record {record}"),
        reason,
    };
    let bytes = fs::read(path).map_err(io_error(path))?;
    let records = bytes.chunks_exact(record_bytes);
    if !records.remainder().is_empty() || bytes.is_empty() {
        let reason = format!(
            "has {} of its {record_bytes} bytes; the file is cut short or not in {}'s binary format: fetch it again",
            records.remainder().len(),
            format.name
        );
        return Err(refuse(records.len(), reason));
    }
    pixels.reserve(records.len() * 3 * PLANE);
    for (record, bytes) in records.enumerate() {
        let (head, planes) = bytes.split_at(format.label_bytes);
        let label = head[format.label_bytes - 1];
        if usize::from(label) >= format.classes.len() {
            let reason = format!("label {label} is not below {}: fetch the file again", format.classes.len());
            return Err(refuse(record, reason));
        }
        labels.push(label);
        pixels.extend((0..PLANE).flat_map(|i| [planes[i], planes[PLANE + i], planes[2 * PLANE + i]]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;

    /// A record whose planes are of one value each.
    fn record(labels: &[u8], rgb: [u8; 3]) -> Vec<u8> {
        let mut record = labels.to_vec();
        record.extend(rgb.iter().flat_map(|&value| [value; PLANE]));
        record
    }

    #[test]
    fn planes_become_pixels_and_the_fine_label_counts() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("cifar-100-binary");
        fs::create_dir(&archive).unwrap();
        fs::write(
            archive.join("train.bin"),
            [record(&[4, 0], [1, 2, 3]), record(&[1, 99], [4, 5, 6])].concat(),
        )
        .unwrap();
        let data = cifar100(folder.path(), Split::Train).unwrap();
        assert_eq!((data.len(), data.classes().len()), (2, 100));
        let sample = data.get(1).unwrap();
        assert_eq!(sample.label, 99);
        assert_eq!(sample.image.pixels()[..6], [4, 5, 6, 4, 5, 6]);
        assert!(matches!(data.get(2), Err(DataError::Index { index: 2, len: 2, .. })));
    }

    #[test]
    fn faults_name_file_and_record() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test_batch.bin");
        let good = record(&[3], [0; 3]);
        let message = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            cifar10(folder.path(), Split::Test).unwrap_err().to_string()
        };
        let cut = message(&[good.as_slice(), &good[..100]].concat());
        assert!(cut.contains("test_batch.bin, record 1: has 100 of its 3073 bytes"), "{cut}");
        let label = message(&[good, record(&[10], [0; 3])].concat());
        assert!(label.contains("test_batch.bin, record 1: label 10 is not below 10"), "{label}");
        let missing = cifar10(folder.path(), Split::Train).unwrap_err().to_string();
        assert!(missing.contains("data_batch_1.bin") && missing.contains("test_batch.bin"), "{missing}");
    }
}
