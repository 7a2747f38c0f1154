//! Files that are cut short, flipped or made up. Every reader answers with an error of one line,
//! or with samples that can be read; it never panics, and never believes a size that the file
//! cannot back.

use std::{fs, path::Path};

use proptest::prelude::*;
use residual_data::{Corrupt, DataSpec, ImageShape, Picture, Split};

/// What happens to a good file.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    Flip(Vec<(usize, u8)>),
    Replace(Vec<u8>),
    Append(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        prop::collection::vec((any::<usize>(), any::<u8>()), 1..8).prop_map(Damage::Flip),
        // Near the beginning, where the sizes are.
        prop::collection::vec((0usize..40, any::<u8>()), 1..8).prop_map(Damage::Flip),
        bytes().prop_map(Damage::Replace),
        bytes().prop_map(Damage::Append),
    ]
}

impl Damage {
    fn apply(&self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        match self {
            Self::Cut(at) => bytes.truncate(at % (good.len() + 1)),
            Self::Flip(places) => places.iter().for_each(|&(at, with)| bytes[at % good.len()] ^= with),
            Self::Replace(with) => bytes.clone_from(with),
            Self::Append(more) => bytes.extend(more),
        }
        bytes
    }
}

/// Opens the data set and reads all of it.
fn read_all(spec: &str, corrupt: Corrupt) {
    let spec: DataSpec = spec.parse().unwrap();
    let read = || {
        let data = spec.open(Split::Train, corrupt)?;
        for index in 0..data.len() {
            assert!(data.get(index)?.label < data.classes().len());
        }
        Ok::<(), residual_data::DataError>(())
    };
    if let Err(error) = read() {
        let message = error.to_string();
        assert!(!message.contains('\n') && message.len() < 1000, "{message}");
    }
}

fn cifar_record() -> Vec<u8> {
    (0..3073).map(|i| (i % 10) as u8).collect()
}

fn table() -> Vec<u8> {
    let pixels = vec!["17"; 2304].join(" ");
    format!("emotion,pixels,Usage\n3,{pixels},Training\n5,{pixels},PublicTest\n").into_bytes()
}

fn write_idx(dir: &Path, images: &[u8], labels: &[u8]) {
    fs::write(dir.join("train-images-idx3-ubyte"), images).unwrap();
    fs::write(dir.join("train-labels-idx1-ubyte"), labels).unwrap();
}

fn png() -> Vec<u8> {
    let shape = ImageShape::new(3, 9, 11);
    Picture::new(shape, (0..297).map(|i| (i * 5) as u8).collect()).unwrap().to_png()
}

/// A JPEG file of the same size, whose decoder is another.
fn jpeg() -> Vec<u8> {
    let mut file = Vec::new();
    let pixels: Vec<u8> = (0..297).map(|i| (i * 5) as u8).collect();
    image::codecs::jpeg::JpegEncoder::new(&mut file)
        .encode(&pixels, 11, 9, image::ExtendedColorType::Rgb8)
        .unwrap();
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn cifar_files(damage in damage(), hundred in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        for batch in 1..=5 {
            fs::write(dir.path().join(format!("data_batch_{batch}.bin")), cifar_record()).unwrap();
        }
        fs::write(dir.path().join("train.bin"), [&[0], cifar_record().as_slice()].concat()).unwrap();
        let victim = dir.path().join(if hundred { "train.bin" } else { "data_batch_3.bin" });
        fs::write(&victim, damage.apply(&fs::read(&victim).unwrap())).unwrap();
        let kind = if hundred { "cifar100" } else { "cifar10" };
        read_all(&format!("{kind}:{}", dir.path().display()), Corrupt::Refuse);
    }

    #[test]
    fn idx_files(damage in damage(), in_labels in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let mut images = vec![0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 9, 9, 9];
        images.resize(16 + 60, 7);
        let labels = vec![0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 0];
        if in_labels {
            write_idx(dir.path(), &images, &damage.apply(&labels));
        } else {
            write_idx(dir.path(), &damage.apply(&images), &labels);
        }
        read_all(&format!("idx:{}", dir.path().display()), Corrupt::Refuse);
    }

    #[test]
    fn tables(damage in damage()) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fer2013.csv"), damage.apply(&table())).unwrap();
        read_all(&format!("fer2013:{}", dir.path().display()), Corrupt::Refuse);
    }

    #[test]
    fn pictures(damage in damage(), skip in any::<bool>(), as_jpeg in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let class = dir.path().join("train").join("a");
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join("good.png"), png()).unwrap();
        // The name does not decide on the format.
        let good = if as_jpeg { jpeg() } else { png() };
        fs::write(class.join("bad.jpg"), damage.apply(&good)).unwrap();
        let corrupt = if skip { Corrupt::Skip } else { Corrupt::Refuse };
        read_all(&format!("folder:{}", dir.path().display()), corrupt);
    }

    #[test]
    fn specs(text in ".{0,40}", numbers in "faces:[a-z=,0-9]{0,20}") {
        for text in [text, numbers] {
            if let Ok(spec) = text.parse::<DataSpec>() {
                prop_assert_eq!(spec.to_string().parse::<DataSpec>().unwrap(), spec);
            }
        }
    }
}

#[test]
fn sizes_that_the_file_cannot_back_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    // 2³² − 1 pictures of as many rows and columns: the product overflows.
    let images = [&[0, 0, 8, 3][..], &[255; 12]].concat();
    write_idx(dir.path(), &images, &[0, 0, 8, 1, 255, 255, 255, 255]);
    let spec: DataSpec = format!("idx:{}", dir.path().display()).parse().unwrap();
    let message = spec.open(Split::Train, Corrupt::Refuse).err().unwrap().to_string();
    assert!(
        message.contains("announces [4294967295, 4294967295, 4294967295] bytes, but 0 follow"),
        "{message}"
    );

    // A PNG file that claims 60000 × 60000 pixels, with a valid checksum.
    let mut file = png();
    file[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let checksum = crc32(&file[12..29]);
    file[29..33].copy_from_slice(&checksum.to_be_bytes());
    let path = dir.path().join("huge.png");
    fs::write(&path, file).unwrap();
    let message = Picture::open(&path).unwrap_err().to_string();
    assert!(message.contains("huge.png"), "{message}");
    assert!(message.to_lowercase().contains("limit") || message.contains("exceed"), "{message}");
}

/// The checksum of PNG chunks (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
